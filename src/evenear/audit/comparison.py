# SPDX-License-Identifier: Apache-2.0
"""Two recognizers on the same utterances: who gained, and did anybody get worse?

    change     = (WER_after(cohort) - WER_before(cohort)) / WER_before(cohort)
    gap change = (1 + gap_after) / (1 + gap_before) - 1

Both systems heard the same speakers, so draws of speakers are paired and what is hard for both
cancels. The test of a change swaps the two systems' results speaker by speaker (if nothing changed,
it does not matter which is which), with max-T over all cohorts.

A gap can also shrink because the better cohort got worse. So every row shows both levels, and
`got_worse` lists who lost.

Legend: R resamples, S speakers, K cohorts.

Source: M. Bisani and H. Ney, "Bootstrap estimates for confidence intervals in ASR performance
evaluation", ICASSP 2004 (paired systems); R. A. Fisher, "The Design of Experiments", 1935 (sign
permutation).
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from evenear.audit.bootstrap import Contrast, contrast_intervals
from evenear.audit.cohorts import Assignment, Cohorts
from evenear.audit.gap import FORMULAS, Base
from evenear.audit.multiplicity import check_resamples, max_t_p_values
from evenear.audit.sums import CohortSums, cohort_sums
from evenear.audit.table import Table
from evenear.errors import TableError
from evenear.seeding import rng_for

__all__ = ["EVERYONE", "Change", "Changes", "compare"]

EVERYONE = "everyone"
"""Attribute of the row of the whole table."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One cohort under two recognizers. Numbers of a suppressed cohort are None."""

    attribute: str
    value: str
    speakers: int
    utterances: int
    words: int | None = None
    wer_before: float | None = None
    wer_after: float | None = None
    change: float | None = None
    change_low: float | None = None
    change_high: float | None = None
    p_adjusted: float | None = None
    gap_before: float | None = None
    gap_after: float | None = None
    gap_change: float | None = None
    gap_change_low: float | None = None
    gap_change_high: float | None = None
    confirmed: bool | None = None
    """Whether the change is real at the family-wise level of the comparison."""
    suppressed: bool = False

    @property
    def size(self) -> float:
        """The change; infinite where errors came from none, 0 where nothing is known."""
        if self.change is None and self.wer_before == 0.0 and self.wer_after:
            return math.inf
        return self.change or 0.0


@dataclass(frozen=True, kw_only=True)
class Changes:
    """All cohorts under two recognizers, and how they were compared."""

    overall: Change
    rows: tuple[Change, ...]
    before: str
    after: str
    to: Base
    level: float
    seed: int
    num_resamples: int
    warnings: tuple[str, ...] = ()

    @property
    def formula(self) -> str:
        """The formulas of change and gap, to be shown beside them."""
        return (
            "change = (WER(after) - WER(before)) / WER(before); "
            f"{FORMULAS[self.to]}; gap change = (1 + gap after) / (1 + gap before) - 1"
        )

    @property
    def got_worse(self) -> tuple[Change, ...]:
        """Cohorts that certainly lost: their change is confirmed, and for the worse."""
        return tuple(row for row in self.rows if row.confirmed and row.size > 0.0)

    def may_be_worse(self, margin: float = 0.0) -> tuple[Change, ...]:
        """Cohorts of which a loss beyond `margin` cannot be ruled out, the too small included."""
        return tuple(
            row for row in self.rows if row.change_high is None or row.change_high > margin
        )

    def to_frame(self) -> pl.DataFrame:
        """The rows as a polars frame."""
        return pl.DataFrame([asdict(row) for row in self.rows], infer_schema_length=None)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON values, `overall` and `cohorts` first."""
        values = asdict(self)
        rows, overall = values.pop("rows"), values.pop("overall")
        return {"overall": overall, "cohorts": list(rows), "formula": self.formula, **values}


def compare(
    before: Table,
    after: Table,
    cohorts: Cohorts,
    *,
    to: Base = "rest",
    seed: int = 0,
    num_resamples: int = 1000,
    level: float = 0.95,
    min_speakers: int = 10,
    min_words: int = 500,
) -> Changes:
    """Compare two recognizers on the utterances that both have.

    Args:
        before: Results of the first.
        after: Results of the second.
        cohorts: Who belongs to which cohort.
        to: What gaps are relative to.
        seed: Decides draws and permutations.
        num_resamples: Draws of speakers, and as many permutations.
        level: Coverage of the intervals; 1 - level is the chance of any false confirmation.
        min_speakers: Cohorts with fewer, or with fewer in the rest, are listed without numbers.
        min_words: The same for reference words.

    Raises:
        TableError: The two have no utterance in common, were scored on other references,
            or name other speakers.
        CohortError: There are too few resamples to confirm anything at this level.
    """
    check_resamples(num_resamples, level)
    first, second, warnings = _paired(before, after)
    everyone = Assignment(EVERYONE, first.speakers.select("speaker", pl.lit("all").alias("value")))
    cohorts = Cohorts((everyone,)) + cohorts
    pairs = list(zip(cohort_sums(first, cohorts), cohort_sums(second, cohorts), strict=True))
    large = [old.attribute == EVERYONE or old.is_large(min_speakers, min_words) for old, _ in pairs]
    shown = [pair for pair, is_large in zip(pairs, large, strict=True) if is_large]
    measured = iter(_rows(shown, to, seed, num_resamples, level))
    rows = [
        next(measured) if is_large else _suppressed(old)
        for (old, _), is_large in zip(pairs, large, strict=True)
    ]
    return Changes(
        overall=rows[0],
        rows=tuple(rows[1:]),
        before=before.name,
        after=after.name,
        to=to,
        level=level,
        seed=seed,
        num_resamples=num_resamples,
        warnings=(*before.warnings, *after.warnings, *warnings),
    )


def _paired(before: Table, after: Table) -> tuple[Table, Table, list[str]]:
    """Both tables reduced to the utterances that both have."""
    counts = after.frame.select(
        "utterance_id",
        pl.col("errors").alias("_errors"),
        pl.col("words").alias("_words"),
        pl.col("speaker").alias("_speaker"),
    )
    both = before.frame.join(counts, on="utterance_id", how="inner", maintain_order="left")
    if both.height == 0:
        raise TableError(
            f"{before.name} and {after.name} have no utterance in common: "
            f"{before.frame['utterance_id'][0]!r} against {after.frame['utterance_id'][0]!r}.",
            hint="Utterance ids must be written alike in both.",
        )
    other = both.filter(pl.col("words") != pl.col("_words"))
    if other.height:
        raise TableError(
            f"The two must be scored on the same references; {other.height} of {both.height} "
            f"utterances have other word counts, such as {other['utterance_id'][0]!r}.",
            hint="Read both with the same normalizer and the same references.",
        )
    _check_speakers(both)
    both = both.drop("_speaker")
    lost = before.num_utterances + after.num_utterances - 2 * both.height
    warnings = (
        [f"{lost:,} utterances are in one of the two only and were left out."] if lost else []
    )
    first = both.drop("_errors", "_words")
    second = both.with_columns(pl.col("_errors").alias("errors")).drop("_errors", "_words")
    return Table(first, before.normalizer), Table(second, after.normalizer), warnings


def _check_speakers(both: pl.DataFrame) -> None:
    """Refuse utterances that two speakers said; who has no name is named by the utterance."""
    id_ = pl.col("utterance_id")
    other = both.filter(
        pl.col("speaker") != pl.col("_speaker"),
        *(
            (pl.col(name) != id_) & (pl.col(name) != pl.concat_str(pl.lit("speaker of "), id_))
            for name in ("speaker", "_speaker")
        ),
    )
    if other.height:
        first = other.row(0, named=True)
        raise TableError(
            f"An utterance must have one speaker in both; {other.height} of {both.height} do not, "
            f"such as {first['utterance_id']!r}: {first['speaker']!r} and {first['_speaker']!r}.",
            hint="Give both tables a column utterance_id: rows without one are paired by number.",
        )


def _rows(
    shown: Sequence[tuple[CohortSums, CohortSums]],
    to: Base,
    seed: int,
    num_resamples: int,
    level: float,
) -> list[Change]:
    """Rows of everyone (first) and of the cohorts."""
    settings = {"num_resamples": num_resamples, "level": level}
    changes = contrast_intervals(
        [Contrast.of((1.0, new.own), (-1.0, old.own)) for old, new in shown],
        rng_for(seed, "compare"),
        **settings,
    )
    gaps = contrast_intervals(
        [
            Contrast.of((1.0, new.own), (-1.0, new.base(to)), (-1.0, old.own), (1.0, old.base(to)))
            for old, new in shown[1:]
        ],
        rng_for(seed, "compare"),
        **settings,
    )
    p_values_K = _swap_tests(shown, seed, num_resamples)
    return [
        _row(
            pair,
            to,
            changes.relative(k),
            gaps.relative(k - 1) if k else None,
            None if math.isnan(p_values_K[k]) else float(p_values_K[k]),
            level=level,
        )
        for k, pair in enumerate(shown)
    ]


def _swap_tests(
    shown: Sequence[tuple[CohortSums, CohortSums]], seed: int, num_resamples: int
) -> np.ndarray:
    """Adjusted p-values of the changes: everyone's alone, the cohorts' together.

    Gains are summed before they are scaled: sums of whole numbers are exact, so that swaps that
    give the same change as observed count as no less extreme.
    """
    gains_SK = np.stack([new.errors_S - old.errors_S for old, new in shown], axis=1)
    scale_K = np.sqrt((gains_SK**2).sum(axis=0))
    scale_K[scale_K == 0.0] = np.nan
    rng = rng_for(seed, "swap")
    null_RK = np.empty((num_resamples, len(shown)))
    block = max(1, (1 << 23) // len(gains_SK))
    for start in range(0, num_resamples, block):
        size = min(block, num_resamples - start)
        signs_RS = 2.0 * rng.integers(0, 2, size=(size, len(gains_SK))) - 1.0
        null_RK[start : start + size] = np.abs(signs_RS @ gains_SK) / scale_K
    observed_K = np.abs(gains_SK.sum(axis=0)) / scale_K
    return np.concatenate(
        [
            max_t_p_values(observed_K[:1], null_RK[:, :1]),
            max_t_p_values(observed_K[1:], null_RK[:, 1:]),
        ]
    )


_Known = tuple[float | None, float | None, float | None]


def _row(
    pair: tuple[CohortSums, CohortSums],
    to: Base,
    change: _Known,
    gap_change: _Known | None,
    p_value: float | None,
    *,
    level: float,
) -> Change:
    """One row; the row of everyone has no gap."""
    old, new = pair
    row = Change(
        attribute=old.attribute,
        value=old.value,
        speakers=old.speakers,
        utterances=old.utterances,
        words=old.words,
        wer_before=old.wer,
        wer_after=new.wer,
        change=new.errors / old.errors - 1.0 if old.errors else None,
        change_low=change[1],
        change_high=change[2],
        p_adjusted=p_value,
        confirmed=None if p_value is None else p_value <= 1.0 - level,
    )
    if gap_change is None:
        return row
    return replace(
        row,
        gap_before=old.gap(to),
        gap_after=new.gap(to),
        gap_change=gap_change[0],
        gap_change_low=gap_change[1],
        gap_change_high=gap_change[2],
    )


def _suppressed(old: CohortSums) -> Change:
    return Change(
        attribute=old.attribute,
        value=old.value,
        speakers=old.speakers,
        utterances=old.utterances,
        suppressed=True,
    )
