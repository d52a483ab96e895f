# SPDX-License-Identifier: Apache-2.0
"""Two speaker verifiers on the same trials: who gained, and did any group get worse?

    change     = rate_after(group) - rate_before(group)
    gap change = change(group) - change(others)

in shares of trials: 0.02 is 2 points. EER and minDCF are each taken at the best threshold of the
group under that verifier, false rejects and accepts at the threshold that each verifier shares over
all groups. Both heard the same trials, so draws of speakers are paired, and what is hard for both
cancels. Everyone can gain and a group still fall behind: so a row says whether it changed, and
whether it changed otherwise than the others.

Intervals are those of `groups`. P-values compare the studentized change with the largest of all
groups and measures in each draw, centered (max-T); changes and gap changes are a family each.

Legend: R draws, S speakers, G groups of trials, M measures, K changes.

Source: M. Bisani and H. Ney, "Bootstrap estimates for confidence intervals in ASR performance
evaluation", ICASSP 2004 (paired systems); P. Westfall and S. Young, "Resampling-Based Multiple
Testing", 1993.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from evenear.audit.statistics.multiplicity import max_t_p_values
from evenear.audit.tables.cohorts import Cohorts
from evenear.audit.verification.division import (
    Size,
    check_settings,
    divide,
    large_groups,
    reach,
    shared_threshold,
)
from evenear.audit.verification.trialdraws import (
    EER,
    FALSE_ACCEPT,
    FALSE_REJECT,
    MIN_DCF,
    group_trials,
)
from evenear.audit.verification.trials import Trials
from evenear.errors import TableError
from evenear.seeding import rng_for

__all__ = ["GroupChange", "MeasuredChange", "VerificationChanges", "compare_verification"]

_TESTED = (EER, FALSE_REJECT, FALSE_ACCEPT)
_FORMULA = (
    "change = rate after - rate before; gap change = change of the group - change of the others; "
    "EER and minDCF at own thresholds, false rejects and accepts at that of each verifier"
)


@dataclass(frozen=True, kw_only=True)
class MeasuredChange:
    """One measure of a group under two verifiers."""

    before: float
    after: float
    change: float
    change_low: float
    change_high: float
    p_adjusted: float | None = None
    """Of the change, among all groups and measures; None for minDCF."""
    gap_change: float | None = None
    """How much more it changed than for the others; None for everyone."""
    gap_change_low: float | None = None
    gap_change_high: float | None = None
    gap_p_adjusted: float | None = None


@dataclass(frozen=True, kw_only=True)
class GroupChange:
    """One group under two verifiers. Measures of a suppressed group are None."""

    attribute: str
    value: str
    speakers: int
    target_trials: int
    nontarget_trials: int
    eer: MeasuredChange | None = None
    min_dcf: MeasuredChange | None = None
    false_reject: MeasuredChange | None = None
    false_accept: MeasuredChange | None = None
    got_worse: bool = False
    """Whether EER, false rejects or false accepts are confirmed to have risen."""
    fell_behind: bool = False
    """Whether one of them is confirmed to have risen against that of the others."""
    suppressed: bool = False


@dataclass(frozen=True, kw_only=True)
class VerificationChanges:
    """All groups under two verifiers, and how they were compared."""

    overall: GroupChange
    rows: tuple[GroupChange, ...]
    before: str
    after: str
    threshold_before: float
    threshold_after: float
    threshold_from: str
    p_target: float
    level: float
    seed: int
    num_resamples: int
    min_speakers: int
    warnings: tuple[str, ...] = ()

    @property
    def formula(self) -> str:
        """What changes are, to be shown beside them."""
        return _FORMULA

    @property
    def got_worse(self) -> tuple[GroupChange, ...]:
        """Groups of which a measure is confirmed to have risen."""
        return tuple(row for row in self.rows if row.got_worse)

    @property
    def fell_behind(self) -> tuple[GroupChange, ...]:
        """Groups of which a measure is confirmed to have risen against that of the others."""
        return tuple(row for row in self.rows if row.fell_behind)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON values, `overall` and `cohorts` first."""
        values = asdict(self)
        overall, rows = values.pop("overall"), values.pop("rows")
        return {"overall": overall, "cohorts": list(rows), "formula": self.formula, **values}


def compare_verification(
    before: Trials,
    after: Trials,
    cohorts: Cohorts | Sequence[str] = (),
    *,
    thresholds: tuple[float, float] | None = None,
    p_target: float = 0.01,
    seed: int = 0,
    num_resamples: int = 500,
    level: float = 0.95,
    min_speakers: int = 10,
) -> VerificationChanges:
    """Compare two verifiers on the trials that both scored.

    Args:
        before: The trials of the first.
        after: Those of the second.
        cohorts: Cohorts of speakers, or names of attributes; every attribute if empty.
        thresholds: The deployed threshold of each; those of their overall EER if None.
        p_target: How probable a target is, for minDCF.
        seed: Decides the draws.
        num_resamples: Draws of speakers.
        level: Coverage of intervals.
        min_speakers: Groups with fewer speakers are listed without numbers.

    Raises:
        TableError: They have no trial in common, or disagree on labels or speakers.
        CohortError: There is nothing to compare, or a setting is out of range.
    """
    first, second, warnings = _paired(before, after)
    for threshold in thresholds or (None,):
        check_settings(threshold, None, num_resamples, level, min_speakers)
    if not isinstance(cohorts, Cohorts):
        cohorts = first.cohorts_by(*cohorts)
    names, groups = divide(first, cohorts)
    shared = [
        shared_threshold(one, None if thresholds is None else thresholds[k], None)
        for k, one in enumerate((first, second))
    ]
    grouped = [group_trials(one, groups) for one in (first, second)]
    sizes = [Size.of(one, group_S) for one, group_S in zip(grouped[0].groups, groups, strict=True)]
    shown = large_groups(sizes, min_speakers)
    wanted = [0, *(row for g in shown for row in (g, g + 1))]
    sides = []
    for (threshold, _), one in zip(shared, grouped, strict=True):
        kept, rng = one.only(wanted), rng_for(seed, "verification")
        sides.append(
            (
                kept.measures(threshold, p_target),
                kept.draws(threshold, p_target, rng, num_resamples),
            )
        )
    found = _Found(sides[0][0], sides[1][0], sides[1][1] - sides[0][1], level)
    p_values = found.p_values(shown)
    rows = [
        _row(names[g], sizes[g], found.measured(g, p_values) if g in (0, *shown) else [], level)
        for g in (0, *range(1, len(sizes), 2))
    ]
    return VerificationChanges(
        overall=replace(rows[0], attribute="everyone", value="all"),
        rows=tuple(rows[1:]),
        before=before.name,
        after=after.name,
        threshold_before=shared[0][0],
        threshold_after=shared[1][0],
        threshold_from=shared[0][1],
        p_target=p_target,
        level=level,
        seed=seed,
        num_resamples=num_resamples,
        min_speakers=min_speakers,
        warnings=warnings,
    )


def _paired(before: Trials, after: Trials) -> tuple[Trials, Trials, tuple[str, ...]]:
    """Both on the trials that they share, in the same order; a trial may be scored repeatedly."""
    keys = ["enrol", "test", "nth"]
    frames = [
        one.frame.with_columns(pl.int_range(pl.len()).over("enrol", "test").alias("nth"))
        for one in (before, after)
    ]
    both = frames[0].join(frames[1].rename({"score": "other_score"}), on=keys, suffix="_other")
    if both.height == 0:
        raise TableError(
            f"{before.name} and {after.name} have no trial in common: no row of both has the same "
            "enrol and test.",
            hint="Score the same list of trials with both, and keep its ids.",
        )
    for name in ("target", "enrol_speaker", "test_speaker"):
        other = both.filter(pl.col(name) != pl.col(f"{name}_other"))
        if other.height:
            raise TableError(
                f"{before.name} and {after.name} must agree on {name} of the trials that both "
                f"have; {other.height:,} differ, such as {other['enrol'][0]!r} against "
                f"{other['test'][0]!r}.",
                hint="Score the same list of trials with both.",
            )
    left_out = [one.frame.height - both.height for one in (before, after)]
    warnings = [*before.warnings, *(line for line in after.warnings if line not in before.warnings)]
    if any(left_out):
        warnings.append(
            f"{left_out[0]:,} trials of {before.name} and {left_out[1]:,} of {after.name} are not "
            "in the other, and were left out."
        )
    names = pl.concat([both["enrol_speaker"], both["test_speaker"]]).unique()
    speakers = before.speakers.filter(pl.col("speaker").is_in(names.implode()))
    kept = before.frame.columns
    first = replace(before, frame=both.select(kept), speakers=speakers)
    frame = both.with_columns(pl.col("other_score").alias("score")).select(kept)
    return first, replace(after, frame=frame, speakers=speakers), tuple(warnings)


class _Found(NamedTuple):
    """Measures of all groups under both, and how they change in every draw."""

    before_GM: np.ndarray
    after_GM: np.ndarray
    changes_RGM: np.ndarray
    level: float

    @property
    def change_GM(self) -> np.ndarray:  # noqa: N802
        return self.after_GM - self.before_GM

    def p_values(self, shown: Sequence[int]) -> dict[tuple[int, int, bool], float]:
        """By group, measure, and whether it is that of a gap change; each kind is a family."""
        plain = [(g, m) for g in (0, *shown) for m in _TESTED]
        gaps = [(g, m) for g in shown for m in _TESTED]
        found = {}
        for is_gap, keys in ((False, plain), (True, gaps)):
            if not keys:
                continue
            rows, columns = (np.array(part) for part in zip(*keys, strict=True))
            observed_K, drawn_RK = self._changes(rows, columns, is_gap=is_gap)
            null_RK = drawn_RK - observed_K
            with np.errstate(divide="ignore", invalid="ignore"):
                errors_K = np.nanstd(null_RK, axis=0)
                p_values_K = max_t_p_values(
                    np.abs(observed_K / errors_K), np.abs(null_RK / errors_K)
                )
            for (g, m), p_value in zip(keys, p_values_K, strict=True):
                if math.isfinite(p_value):
                    found[g, m, is_gap] = float(p_value)
        return found

    def _changes(
        self, rows: np.ndarray, columns: np.ndarray, *, is_gap: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Changes or gap changes of some groups and measures, as they are and in every draw."""
        observed_K = self.change_GM[rows, columns]
        drawn_RK = self.changes_RGM[:, rows, columns]
        if not is_gap:
            return observed_K, drawn_RK
        return (
            observed_K - self.change_GM[rows + 1, columns],
            drawn_RK - self.changes_RGM[:, rows + 1, columns],
        )

    def measured(
        self, group: int, p_values: dict[tuple[int, int, bool], float]
    ) -> list[MeasuredChange]:
        """All measures of a group."""
        found = []
        for m in range(self.before_GM.shape[1]):
            change, low, high = self._interval(group, m, is_gap=False)
            gap = self._interval(group, m, is_gap=True) if group else (None, None, None)
            found.append(
                MeasuredChange(
                    before=float(self.before_GM[group, m]),
                    after=float(self.after_GM[group, m]),
                    change=change,
                    change_low=low,
                    change_high=high,
                    p_adjusted=p_values.get((group, m, False)),
                    gap_change=gap[0],
                    gap_change_low=gap[1],
                    gap_change_high=gap[2],
                    gap_p_adjusted=p_values.get((group, m, True)),
                )
            )
        return found

    def _interval(self, group: int, m: int, *, is_gap: bool) -> tuple[float, float, float]:
        change_1, drawn_R1 = self._changes(np.array([group]), np.array([m]), is_gap=is_gap)
        half = reach(drawn_R1[:, 0], change_1[0], self.level)
        return float(change_1[0]), float(change_1[0] - half), float(change_1[0] + half)


def _row(
    name: tuple[str, str], size: Size, measured: list[MeasuredChange], level: float
) -> GroupChange:
    """A row; without measures, a suppressed one."""
    tested = [measured[m] for m in _TESTED] if measured else []
    return GroupChange(
        attribute=name[0],
        value=name[1],
        speakers=size.speakers,
        target_trials=size.targets,
        nontarget_trials=size.others,
        eer=measured[EER] if measured else None,
        min_dcf=measured[MIN_DCF] if measured else None,
        false_reject=measured[FALSE_REJECT] if measured else None,
        false_accept=measured[FALSE_ACCEPT] if measured else None,
        got_worse=any(_is_sure(one.p_adjusted, level) and one.change > 0.0 for one in tested),
        fell_behind=any(
            _is_sure(one.gap_p_adjusted, level) and (one.gap_change or 0.0) > 0.0 for one in tested
        ),
        suppressed=not measured,
    )


def _is_sure(p_value: float | None, level: float) -> bool:
    return p_value is not None and p_value <= 1.0 - level
