# SPDX-License-Identifier: Apache-2.0
"""Two recognizers on the same utterances: who gained, and did anybody get worse?

    change     = (WER_after(cohort) - WER_before(cohort)) / WER_before(cohort)
    gap change = (1 + gap_after) / (1 + gap_before) - 1

Both systems heard the same speakers, so draws of speakers are paired and what is hard for both
cancels. The test of a change swaps the two systems' results speaker by speaker (if nothing changed,
it does not matter which is which), with max-T over all cohorts.

Everyone can gain and a gap still widen. The test of a gap change asks whether the ratio of errors
after to errors before is the cohort's own: it is the test of gaps (`significance`) with errors
before in the place of words, so that what all cohorts gained alike counts for nothing. It has a
family of its own.

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

from evenear.audit.statistics.multiplicity import check_resamples, max_t_p_values
from evenear.audit.statistics.results import FORMULAS, Base
from evenear.audit.statistics.significance import significance
from evenear.audit.statistics.sums import CohortSums, cohort_sums, whole_sums
from evenear.audit.tables.cohorts import Assignment, Cohorts
from evenear.audit.tables.pairing import paired
from evenear.audit.tables.table import Table
from evenear.metrics.bootstrap import Contrast, contrast_intervals
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
    gap_p_adjusted: float | None = None
    gap_confirmed: bool | None = None
    """Whether the gap change is real (in its direction) at that level; None if it cannot be
    tested."""
    suppressed: bool = False

    @property
    def size(self) -> float:
        """The change; infinite where errors came from none, 0 where nothing is known."""
        if self.change is None and self.wer_before == 0.0 and self.wer_after:
            return math.inf
        return self.change or 0.0

    @property
    def gap_size(self) -> float:
        """The gap change; infinite where a gap came from none, 0 where nothing is known."""
        grew = bool(self.wer_after) and self.gap_before is not None
        shrank = bool(self.wer_before) and self.gap_after is not None
        if grew == shrank:
            return self.gap_change or 0.0
        return math.inf if grew else -1.0


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

    @property
    def fell_behind(self) -> tuple[Change, ...]:
        """Cohorts whose gap certainly grew: its change is confirmed, and against them."""
        return tuple(row for row in self.rows if row.gap_confirmed and row.gap_size > 0.0)

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
    among: int = 1,
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
        among: How many comparisons this is one of; adjusted p-values are multiplied by that
            (Bonferroni), so that the chance of any false confirmation holds for all together.

    Raises:
        TableError: The two have no utterance in common, were scored on other references,
            or name other speakers.
        CohortError: There are too few resamples to confirm anything at this level.
    """
    check_resamples(num_resamples, 1.0 - (1.0 - level) / among)
    first, second, warnings = paired(before, after)
    everyone = Assignment(EVERYONE, first.speakers.select("speaker", pl.lit("all").alias("value")))
    cohorts = Cohorts((everyone,)) + cohorts
    pairs = list(zip(cohort_sums(first, cohorts), cohort_sums(second, cohorts), strict=True))
    large = [old.attribute == EVERYONE or old.is_large(min_speakers, min_words) for old, _ in pairs]
    shown = [pair for pair, is_large in zip(pairs, large, strict=True) if is_large]
    totals = whole_sums(second)[0], whole_sums(first)[0]
    settings = {"seed": seed, "num_resamples": num_resamples, "level": level, "among": among}
    measured = iter(_rows(shown, totals, to, settings))
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


def _rows(
    shown: Sequence[tuple[CohortSums, CohortSums]],
    totals: tuple[np.ndarray, np.ndarray],
    to: Base,
    settings: dict[str, Any],
) -> list[Change]:
    """Rows of everyone (first) and of the cohorts."""
    seed, num_resamples, level = settings["seed"], settings["num_resamples"], settings["level"]
    draws = {"num_resamples": num_resamples, "level": level}
    changes = contrast_intervals(
        [Contrast.of((1.0, new.own), (-1.0, old.own)) for old, new in shown],
        rng_for(seed, "compare"),
        **draws,
    )
    gaps = contrast_intervals(
        [
            Contrast.of((1.0, new.own), (-1.0, new.base(to)), (-1.0, old.own), (1.0, old.base(to)))
            for old, new in shown[1:]
        ],
        rng_for(seed, "compare"),
        **draws,
    )
    p_values_K = np.minimum(settings["among"] * _swap_tests(shown, seed, num_resamples), 1.0)
    rows = [
        _row(pair, changes.relative(k), p_values_K[k], level=level) for k, pair in enumerate(shown)
    ]
    statistics_K, gap_p_values_K = _gap_tests(shown[1:], totals, seed, num_resamples)
    gap_p_values_K = np.minimum(settings["among"] * gap_p_values_K, 1.0)
    return [
        rows[0],
        *(
            _with_gap(
                row, pair, to, gaps.relative(k), (statistics_K[k], gap_p_values_K[k]), level=level
            )
            for k, (row, pair) in enumerate(zip(rows[1:], shown[1:], strict=True))
        ),
    ]


def _gap_tests(
    shown: Sequence[tuple[CohortSums, CohortSums]],
    totals: tuple[np.ndarray, np.ndarray],
    seed: int,
    num_resamples: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Statistics of the gap changes and their adjusted p-values."""
    if not shown:
        return np.empty(0), np.empty(0)
    found = significance(
        [_errors_over_errors(old, new) for old, new in shown],
        totals,
        seed=seed,
        num_resamples=num_resamples,
    )
    return found.observed_K, max_t_p_values(np.abs(found.observed_K), np.abs(found.null_RK))


def _errors_over_errors(old: CohortSums, new: CohortSums) -> CohortSums:
    """A cohort whose "rate" is that of its errors after to its errors before."""
    known = replace(new.known, words_S=old.known.errors_S)
    return replace(new, words_S=old.errors_S, known=known)


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
    pair: tuple[CohortSums, CohortSums], change: _Known, p_value: float, *, level: float
) -> Change:
    """One row, its gap left out."""
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
    )
    if math.isnan(p_value):
        return row
    is_sure = bool(p_value <= 1.0 - level) and row.size != 0.0
    return replace(row, p_adjusted=float(p_value), confirmed=is_sure)


def _with_gap(
    row: Change,
    pair: tuple[CohortSums, CohortSums],
    to: Base,
    gap_change: _Known,
    test: tuple[float, float],
    *,
    level: float,
) -> Change:
    """The row with its gaps; a verdict never goes against the sign of its statistic."""
    old, new = pair
    row = replace(
        row,
        gap_before=old.gap(to),
        gap_after=new.gap(to),
        gap_change=gap_change[0],
        gap_change_low=gap_change[1],
        gap_change_high=gap_change[2],
    )
    statistic, p_value = test
    if math.isnan(p_value):
        return row
    agrees = np.sign(statistic) == np.sign(row.gap_size) != 0.0
    return replace(
        row,
        gap_p_adjusted=float(p_value),
        gap_confirmed=bool(agrees and p_value <= 1.0 - level),
    )


def _suppressed(old: CohortSums) -> Change:
    return Change(
        attribute=old.attribute,
        value=old.value,
        speakers=old.speakers,
        utterances=old.utterances,
        suppressed=True,
    )
