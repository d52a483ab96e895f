# SPDX-License-Identifier: Apache-2.0
"""Gaps: how much worse a recognizer is for a cohort, and how sure one may be.

    gap = (WER(cohort) - WER(base)) / WER(base)

with the base everyone else whose value is known ("rest"), or everyone whose value is known
("overall"). Every row carries speakers, words, an interval that resamples speakers, and a p-value
adjusted for all cohorts that were tried. Cohorts below a minimum size, or with a rest below it, are
listed without numbers.

With `confirm_fraction`, the direction of each gap is taken from some speakers and every number from
the others. A gap is `confirmed` if its adjusted p-value is at most 1 - level: over all rows of an
audit, the chance of any false confirmation is at most that. Estimate, interval and test rest on the
same utterances (those with words), and a gap is never confirmed against the sign of its statistic.

Legend: R resamples, S speakers, K cohorts.

Source: the gap is that of P. Dheram et al., "Toward fairness in speech recognition: discovery and
mitigation of performance disparities", 2022, https://arxiv.org/abs/2207.11345, with the rest in
the place of their best cohort (our reading).
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from evenear.audit.statistics.adjustment import adjusted_ratios
from evenear.audit.statistics.caveats import caveats, without_values
from evenear.audit.statistics.multiplicity import check_resamples, critical_value, max_t_p_values
from evenear.audit.statistics.power import detectable_gap
from evenear.audit.statistics.results import Base, Gap, Gaps, Overall, Spread
from evenear.audit.statistics.significance import significance
from evenear.audit.statistics.spread import rate_errors, shrink, spread_between
from evenear.audit.statistics.sums import CohortSums, cohort_sums, whole_sums
from evenear.audit.statistics.zeros import without_errors
from evenear.audit.tables.cohorts import Cohorts
from evenear.audit.tables.splits import split_speakers
from evenear.audit.tables.table import Table
from evenear.errors import CohortError
from evenear.metrics.bootstrap import Contrast, ContrastIntervals, contrast_intervals
from evenear.metrics.intervals import pooled_wer_interval
from evenear.metrics.scatter import FREEDOM
from evenear.seeding import rng_for

__all__ = ["gaps", "overall"]


def gaps(
    table: Table,
    cohorts: Cohorts,
    *,
    to: Base = "rest",
    confirm_fraction: float = 0.0,
    adjust_for: Sequence[str] = (),
    strata: str | None = None,
    seed: int = 0,
    num_resamples: int = 1000,
    level: float = 0.95,
    min_speakers: int = 10,
    min_words: int = 500,
) -> Gaps:
    """Measure the gap of every cohort.

    Args:
        table: Results of one recognizer.
        cohorts: Who belongs to which cohort.
        to: Compare with the "rest" or with "overall".
        confirm_fraction: Share of the speakers that every number comes from, when directions are
            to come from the others; 0 uses all speakers for everything.
        adjust_for: Columns to hold fixed in the adjusted ratios; see `adjusted_ratios`.
        strata: A column of speakers, such as the recording site: speakers are drawn, and trade
            places, only within the same value of it.
        seed: Decides the split, the draws and the permutations.
        num_resamples: Draws of speakers for the intervals, and as many permutations.
        level: Coverage of each interval; 1 - level is the chance of any false confirmation.
        min_speakers: Cohorts with fewer, or with fewer in the rest, are listed without numbers.
        min_words: The same for reference words.

    Raises:
        CohortError: A setting is out of range, or there is nothing to compare.
    """
    _check(cohorts, to, num_resamples, level)
    measured, discovered = table, None
    if confirm_fraction:
        discover, measured = split_speakers(table, confirm_fraction=confirm_fraction, seed=seed)
        discovered = {one.name: one.gap(to) for one in cohort_sums(discover, cohorts)}
    how = _How(to, seed, num_resamples, level, _strata(measured, strata))
    found = cohort_sums(measured, cohorts)
    shown = [one for one in found if one.is_large(min_speakers, min_words)]
    rows = _measured(measured, shown, discovered, how)
    methods = sorted({row.tested_by for row in rows.values() if row.tested_by})
    failures = _adjust(rows, measured, cohorts, adjust_for, how)
    return Gaps(
        overall=overall(measured, seed=seed, num_resamples=num_resamples, level=level),
        rows=tuple(rows.get(one.name) or _suppressed(one) for one in found),
        spreads=_spreads(shown, how),
        to=to,
        level=level,
        seed=seed,
        num_resamples=num_resamples,
        num_tried=len(shown),
        p_value_method=" and ".join(methods) or "permutation",
        confirm_fraction=confirm_fraction,
        adjusted_for=tuple(adjust_for),
        strata=strata,
        min_speakers=min_speakers,
        min_words=min_words,
        without_values=without_values(measured, cohorts),
        name=table.name,
        normalizer=table.normalizer,
        warnings=(*table.warnings, *caveats(measured, cohorts), *failures),
    )


def overall(
    table: Table, *, seed: int = 0, num_resamples: int = 1000, level: float = 0.95
) -> Overall:
    """Pooled word error rate of the whole table, with its interval over speakers."""
    found = pooled_wer_interval(
        *whole_sums(table), seed=seed, num_resamples=num_resamples, level=level
    )
    return Overall(
        speakers=table.num_speakers,
        utterances=table.spoken.height,
        words=table.words,
        errors=table.errors,
        wer=table.wer,
        low=found.low,
        high=found.high,
    )


class _How(NamedTuple):
    """Settings that every step needs."""

    to: Base
    seed: int
    num_resamples: int
    level: float
    strata_S: np.ndarray | None

    def intervals(
        self, contrasts: Sequence[Contrast], *, freedom: float = 0.0
    ) -> ContrastIntervals:
        """Estimates and intervals, always from the same draws."""
        return contrast_intervals(
            contrasts,
            rng_for(self.seed, "gaps"),
            num_resamples=self.num_resamples,
            level=self.level,
            strata_S=self.strata_S,
            freedom=freedom,
        )


def _strata(table: Table, strata: str | None) -> np.ndarray | None:
    """A whole number for each speaker, or None; unknown values are a stratum of their own."""
    if strata is None:
        return None
    table.require_attribute(strata)
    values = table.frame.select("speaker", strata).unique()
    if values.height != table.num_speakers:
        raise CohortError(
            f"Strata need one value of {strata!r} for each speaker; some speakers have several.",
            hint="Take a column that belongs to speakers, such as the recording site.",
        )
    return values.sort("speaker")[strata].cast(pl.String).fill_null("").rank("dense").to_numpy()


def _measured(
    table: Table,
    shown: Sequence[CohortSums],
    discovered: Mapping[tuple[str, str], float | None] | None,
    how: _How,
) -> dict[tuple[str, str], Gap]:
    """Rows by name, adjusted ratios left out."""
    contrasts = how.intervals(
        [Contrast.of((1.0, one.own), (-1.0, one.base(how.to))) for one in shown],
        freedom=FREEDOM,
    )
    tests = _tests(table, shown, discovered, how)
    names = [one.name for one in shown]
    rows = dict(zip(names, _rows(shown, contrasts, tests, how), strict=True))
    _shrink(rows, shown)
    for name in names if discovered is not None else ():
        rows[name] = replace(rows[name], discovered_gap=(discovered or {}).get(name))
    return rows


class _Tests(NamedTuple):
    methods_K: tuple[str, ...]
    single_K: np.ndarray
    adjusted_K: np.ndarray
    signs_K: np.ndarray
    """Direction of each statistic; 0 where it is not the one that was asked for."""
    detectable_K: np.ndarray


def _tests(
    table: Table,
    shown: Sequence[CohortSums],
    discovered: Mapping[tuple[str, str], float | None] | None,
    how: _How,
) -> _Tests:
    """Test each cohort: two-sided, or in the direction that discovery speakers gave it."""
    found = significance(
        shown,
        whole_sums(table),
        seed=how.seed,
        num_resamples=how.num_resamples,
        strata_S=how.strata_S,
    )
    signs_K = np.sign(np.nan_to_num(found.observed_K))
    if discovered is None:
        observed_K, null_RK = np.abs(found.observed_K), np.abs(found.null_RK)
    else:
        wanted_K = np.array([np.sign(discovered.get(one.name) or 0.0) for one in shown])
        observed_K, null_RK = found.observed_K * wanted_K, found.null_RK * wanted_K
        signs_K = np.where(signs_K == wanted_K, signs_K, 0.0)
    single_K = np.full(len(shown), np.nan)
    for k in range(len(shown)):
        single_K[k] = max_t_p_values(observed_K[[k]], null_RK[:, [k]])[0]
    adjusted_K = max_t_p_values(observed_K, null_RK)
    critical = critical_value(null_RK, how.level)
    detectable_K = _detectable(shown, critical, how)
    return _Tests(found.methods_K, single_K, adjusted_K, signs_K, detectable_K)


def _detectable(shown: Sequence[CohortSums], critical: float, how: _How) -> np.ndarray:
    """The gap that each cohort would show at the bar in use; tests are against the rest."""
    beside = how.intervals([Contrast.of((1.0, one.own), (-1.0, one.rest)) for one in shown])
    found_K = np.array(
        [
            detectable_gap(
                beside.studentized_RK[:, k], beside.drawn_errors_RK[:, k], critical=critical
            )
            for k in range(len(shown))
        ]
    )
    if how.to == "rest" or not np.isfinite(found_K).any():
        return found_K
    found_K[~np.isfinite(found_K)] = np.nan
    shares_K = np.array([one.words / one.known.words_S.sum() for one in shown])
    return (1.0 + found_K) / (1.0 + shares_K * found_K) - 1.0


def _rows(
    shown: Sequence[CohortSums], contrasts: ContrastIntervals, tests: _Tests, how: _How
) -> list[Gap]:
    rates = how.intervals([Contrast.of((1.0, one.own)) for one in shown])
    rows = []
    for k, one in enumerate(shown):
        adjusted = _known(tests.adjusted_K[k])
        row = Gap(
            words=one.words,
            errors=one.errors,
            insertions=one.kinds[0],
            deletions=one.kinds[1],
            substitutions=one.kinds[2],
            wer=one.wer,
            low=rates.ratio(k)[1],
            high=rates.ratio(k)[2],
            base_wer=one.base_wer(how.to),
            gap=one.gap(how.to),
            gap_low=contrasts.relative(k)[1],
            gap_high=contrasts.relative(k)[2],
            p_value=_known(tests.single_K[k]),
            p_adjusted=adjusted,
            tested_by=None if adjusted is None else tests.methods_K[k],
            detectable_gap=_known(tests.detectable_K[k]),
            **_size(one),
        )
        row = without_errors(row, one, how.level)
        is_sure = adjusted is not None and adjusted <= 1.0 - how.level
        agrees = bool(tests.signs_K[k] == np.sign(row.size) != 0.0)
        rows.append(replace(row, confirmed=None if adjusted is None else is_sure and agrees))
    return rows


def _shrink(rows: dict[tuple[str, str], Gap], shown: Sequence[CohortSums]) -> None:
    for cohorts in _by_attribute(shown).values():
        errors_SK = np.stack([one.errors_S for one in cohorts], axis=1)
        words_SK = np.stack([one.words_S for one in cohorts], axis=1)
        rates_K = errors_SK.sum(axis=0) / words_SK.sum(axis=0)
        shrunken_K = shrink(rates_K, rate_errors(errors_SK, words_SK))
        for one, rate in zip(cohorts, shrunken_K, strict=True):
            rows[one.name] = replace(rows[one.name], shrunken_wer=_known(rate))


def _adjust(
    rows: dict[tuple[str, str], Gap],
    table: Table,
    cohorts: Cohorts,
    adjust_for: Sequence[str],
    how: _How,
) -> list[str]:
    """Fill in adjusted ratios; say which attributes could not be adjusted, and why."""
    failures = []
    for assignment in cohorts.assignments if adjust_for else ():
        name = assignment.attribute
        values = [value for attribute, value in rows if attribute == name]
        columns = [column for column in adjust_for if column != name]
        try:
            found = adjusted_ratios(
                table, assignment, columns, to=how.to, values=values, level=how.level
            )
        except CohortError as error:
            failures.append(f"{name} could not be adjusted: {error.message}")
            continue
        for value, ratio, low, high in found:
            rows[name, value] = replace(
                rows[name, value], adjusted_ratio=ratio, adjusted_low=low, adjusted_high=high
            )
    return failures


def _spreads(shown: Sequence[CohortSums], how: _How) -> tuple[Spread, ...]:
    found = [
        spread_between(
            cohorts,
            rng_for(how.seed, "spread", attribute),
            num_resamples=how.num_resamples,
            level=how.level,
        )
        for attribute, cohorts in _by_attribute(shown).items()
    ]
    return tuple(one for one in found if one is not None)


def _suppressed(one: CohortSums) -> Gap:
    return Gap(suppressed=True, **_size(one))


def _size(one: CohortSums) -> dict[str, Any]:
    """What is known of any cohort, however small."""
    return {
        "attribute": one.attribute,
        "value": one.value,
        "found_by": one.known.found_by,
        "speakers": one.speakers,
        "utterances": one.utterances,
        "silent_utterances": one.silent_utterances,
        "silent_errors": one.silent_errors,
    }


def _by_attribute(shown: Sequence[CohortSums]) -> dict[str, list[CohortSums]]:
    groups: dict[str, list[CohortSums]] = defaultdict(list)
    for one in shown:
        groups[one.attribute].append(one)
    return groups


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _check(cohorts: Cohorts, to: Base, num_resamples: int, level: float) -> None:
    if to not in ("rest", "overall"):
        raise CohortError(f"A cohort is compared with 'rest' or 'overall', not with {to!r}.")
    if not cohorts.assignments:
        raise CohortError(
            "There are no cohorts to measure.",
            hint="Name attributes of the table with `cohorts_by`, or let cohorts be found.",
        )
    if num_resamples < 100:
        raise CohortError(f"Intervals need at least 100 resamples, got {num_resamples}.")
    if not 0.5 <= level < 1.0:
        raise CohortError(f"The level of intervals must lie between 0.5 and 1, got {level}.")
    check_resamples(num_resamples, level)
