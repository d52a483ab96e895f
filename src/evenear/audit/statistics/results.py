# SPDX-License-Identifier: Apache-2.0
"""What an audit says: one `Gap` per cohort, all of them with what they rest on in `Gaps`.

Plain values, frozen, ready for JSON. What cannot be said is None, never NaN.
"""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import polars as pl

from evenear.errors import CohortError, nearest_names

__all__ = ["FORMULAS", "Base", "Gap", "Gaps", "Overall", "Spread"]

Base = Literal["rest", "overall"]

FORMULAS: dict[Base, str] = {
    "rest": "gap = (WER(cohort) - WER(rest)) / WER(rest); "
    "rest = all other speech whose value of this attribute is known",
    "overall": "gap = (WER(cohort) - WER(all)) / WER(all); "
    "all = all speech whose value of this attribute is known",
}
"""The gap that is printed beside every number."""


@dataclass(frozen=True, kw_only=True)
class Overall:
    """The whole table, or the part of it that numbers come from."""

    speakers: int
    utterances: int
    words: int
    errors: int
    wer: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Gap:
    """One cohort and how it fares. Numbers of a suppressed cohort are None."""

    attribute: str
    value: str
    found_by: str = "given"
    speakers: int
    utterances: int
    words: int | None = None
    errors: int | None = None
    insertions: int | None = None
    deletions: int | None = None
    substitutions: int | None = None
    """These three make the errors; None where the table does not tell them apart."""
    wer: float | None = None
    low: float | None = None
    high: float | None = None
    base_wer: float | None = None
    """WER of what the cohort is compared with."""
    gap: float | None = None
    gap_low: float | None = None
    gap_high: float | None = None
    p_value: float | None = None
    """Of this cohort alone, as if no other had been tried."""
    p_adjusted: float | None = None
    """Of this cohort among all that were tried."""
    confirmed: bool | None = None
    """Whether the gap is real (in its direction) at the family-wise level of the audit; None if
    that cannot be tested, because neither side has errors or there is only one."""
    tested_by: str | None = None
    """"permutation" of speakers, or "sign flips" where the attribute changes within speakers."""
    suppressed: bool = False
    """Whether the cohort, or the rest, is too small to say anything about."""
    discovered_gap: float | None = None
    """The gap among discovery speakers, if there was a split."""
    shrunken_wer: float | None = None
    """WER pulled toward the attribute's mean as far as noise demands: for ranking."""
    detectable_gap: float | None = None
    """The smallest gap that this audit would confirm four times out of five in such a cohort, at
    the bar that all cohorts together set; None if no gap would do."""
    adjusted_ratio: float | None = None
    """Ratio of error rates after adjusting for other columns (mixed-effects Poisson)."""
    adjusted_low: float | None = None
    adjusted_high: float | None = None
    silent_utterances: int = 0
    """Utterances whose reference has no words: they are in no count above, and in no rate."""
    silent_errors: int = 0
    """Words that were recognized in them."""

    @property
    def size(self) -> float:
        """The gap; infinite where only this cohort has errors, 0 where nothing is known."""
        if self.gap is None and self.base_wer == 0.0 and self.wer:
            return math.inf
        return self.gap or 0.0


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Variance of WER between the cohorts of one attribute, unweighted, as rates (not percent)."""

    attribute: str
    cohorts: int
    variance: float
    """As observed, noise and all."""
    corrected_variance: float
    """With the noise taken out; 0 if noise explains everything."""
    corrected_low: float
    corrected_high: float
    standard_deviation: float
    """Square root of the corrected variance: the typical distance from the mean, in WER."""
    best_wer: float
    worst_wer: float


@dataclass(frozen=True, kw_only=True)
class Gaps:
    """All cohorts of an audit, and how they were measured."""

    overall: Overall
    rows: tuple[Gap, ...]
    spreads: tuple[Spread, ...] = ()
    """How unevenly each attribute is served, with noise taken out."""
    to: Base
    level: float
    seed: int
    num_resamples: int
    num_tried: int
    """Cohorts that the adjusted p-values account for."""
    p_value_method: str
    """"permutation", "sign flips" or both, as the attributes vary."""
    confirm_fraction: float
    """Share of the speakers that numbers come from; 0 if all of them give everything."""
    adjusted_for: tuple[str, ...] = ()
    """Columns held fixed in the adjusted ratios."""
    strata: str | None = None
    """Column within whose values speakers were drawn and permuted."""
    min_speakers: int
    min_words: int
    without_values: tuple[str, ...] = ()
    """Attributes of which no value is known: they have no rows."""
    name: str = "results"
    normalizer: str = "basic"
    warnings: tuple[str, ...] = ()

    @property
    def formula(self) -> str:
        """The formula of the gap, to be shown beside it."""
        return FORMULAS[self.to]

    @property
    def attributes(self) -> tuple[str, ...]:
        """Attributes of the rows, in order."""
        return tuple(dict.fromkeys(row.attribute for row in self.rows))

    @property
    def worst(self) -> Gap | None:
        """The confirmed cohort with the largest positive gap, or None if none is confirmed."""
        found = [row for row in self.rows if row.confirmed and row.size > 0.0]
        return max(found, key=lambda row: row.size, default=None)

    def of(self, attribute: str) -> tuple[Gap, ...]:
        """Rows of one attribute.

        Raises:
            CohortError: There is no such attribute.
        """
        if attribute not in self.attributes:
            raise CohortError(
                f"No cohorts of {attribute!r} were measured.",
                hint=nearest_names(attribute, self.attributes),
            )
        return tuple(row for row in self.rows if row.attribute == attribute)

    def to_frame(self) -> pl.DataFrame:
        """The rows as a polars frame, a column for each field of `Gap`."""
        kinds = {"str": pl.String, "int": pl.Int64, "float": pl.Float64, "bool": pl.Boolean}
        schema = {one.name: kinds[_first_word(str(one.type))] for one in fields(Gap)}
        return pl.DataFrame([asdict(row) for row in self.rows], schema=schema)

    def _repr_html_(self) -> str:
        """A table of the cohorts, for a notebook."""
        shown = ["attribute", "value", "speakers", "words", "wer", "gap", "gap_low", "gap_high"]
        return self.to_frame().select(*shown, "p_adjusted", "confirmed")._repr_html_()

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON values, `overall` and `cohorts` first."""
        values = asdict(self)
        rows, overall = list(values.pop("rows")), values.pop("overall")
        return {"overall": overall, "cohorts": rows, "formula": self.formula, **values}


def _first_word(annotation: str) -> str:
    return annotation.removeprefix("<class '").split("'")[0].split(" ")[0]
