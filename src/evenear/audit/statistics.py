# SPDX-License-Identifier: Apache-2.0
"""Gaps: how much worse a recognizer is for a cohort, and how sure one may be.

    gap = (WER(cohort) - WER(base)) / WER(base)

with the base everyone else whose value is known ("rest"), or everyone whose value is known
("overall"). Every row carries speakers, words, an interval that resamples speakers, and a p-value
adjusted for all cohorts that were tried. Cohorts below a minimum size are listed without numbers.

With `confirm_fraction`, the direction of each gap is taken from some speakers and every number from
the others. A gap is `confirmed` if its adjusted p-value is at most 1 - level: over all rows of an
audit, the chance of any false confirmation is at most that.

Source: the gap is that of P. Dheram et al., "Toward fairness in speech recognition: discovery and
mitigation of performance disparities", 2022, https://arxiv.org/abs/2207.11345, with the rest in
the place of their best cohort (our reading).
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from evenear.audit.bootstrap import Contrast, ContrastIntervals, contrast_intervals
from evenear.audit.cohorts import Cohorts
from evenear.audit.gap import Base, Gap, Gaps, Overall
from evenear.audit.multiplicity import max_t_p_values, permuted_statistics
from evenear.audit.splits import split_speakers
from evenear.audit.sums import CohortSums, cohort_sums, whole_sums
from evenear.audit.table import Table
from evenear.errors import CohortError
from evenear.seeding import rng_for

__all__ = ["gaps", "overall"]


def gaps(
    table: Table,
    cohorts: Cohorts,
    *,
    to: Base = "rest",
    confirm_fraction: float = 0.0,
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
        seed: Decides the split, the draws and the permutations.
        num_resamples: Draws of speakers for the intervals, and as many permutations.
        level: Coverage of each interval; 1 - level is the chance of any false confirmation.
        min_speakers: Cohorts with fewer are listed without numbers.
        min_words: Cohorts with fewer reference words are listed without numbers.

    Raises:
        CohortError: A setting is out of range, or there is nothing to compare.
    """
    _check(cohorts, to, num_resamples, level)
    discovered: dict[tuple[str, str], float] = {}
    measured = table
    if confirm_fraction:
        discover, measured = split_speakers(table, confirm_fraction=confirm_fraction, seed=seed)
        discovered = {_name(one): _plain_gap(one, to) for one in cohort_sums(discover, cohorts)}
    found = cohort_sums(measured, cohorts)
    large = [one.speakers >= min_speakers and one.words >= min_words for one in found]
    shown = [one for one, is_large in zip(found, large, strict=True) if is_large]
    numbers = _Numbers.of(shown, to, seed, num_resamples, level)
    tests = _tests(measured, shown, numbers, discovered, seed)
    rows = iter(_rows(shown, to, numbers, tests, level))
    return Gaps(
        overall=overall(measured, seed=seed, num_resamples=num_resamples, level=level),
        rows=tuple(
            _with_discovery(next(rows) if is_large else _suppressed(one), discovered)
            for one, is_large in zip(found, large, strict=True)
        ),
        to=to,
        level=level,
        seed=seed,
        num_resamples=num_resamples,
        num_tried=len(shown),
        p_value_method=tests.method,
        confirm_fraction=confirm_fraction,
        min_speakers=min_speakers,
        min_words=min_words,
        name=table.name,
        normalizer=table.normalizer,
        warnings=table.warnings,
    )


def overall(
    table: Table, *, seed: int = 0, num_resamples: int = 1000, level: float = 0.95
) -> Overall:
    """Pooled word error rate of the whole table, with its interval over speakers."""
    errors_S, words_S = whole_sums(table)
    rng = rng_for(seed, "overall")
    contrast = _contrast([(errors_S, words_S, 1.0)])
    found = contrast_intervals([contrast], rng, num_resamples=num_resamples, level=level)
    return Overall(
        speakers=table.num_speakers,
        utterances=table.num_utterances,
        words=table.words,
        errors=table.errors,
        wer=table.wer,
        low=_rate(found.lows_K[0]),
        high=_rate(found.highs_K[0]),
    )


class _Numbers(NamedTuple):
    """Rates and gaps of the cohorts that are shown, on the scale of logarithms."""

    rates: ContrastIntervals
    gaps: ContrastIntervals

    @classmethod
    def of(
        cls, shown: Sequence[CohortSums], to: Base, seed: int, num_resamples: int, level: float
    ) -> "_Numbers":
        rates = [_contrast([(one.errors_S, one.words_S, 1.0)]) for one in shown]
        gaps = [
            _contrast([(one.errors_S, one.words_S, 1.0), (*_base(one, to), -1.0)]) for one in shown
        ]
        draws = [rng_for(seed, "gaps"), rng_for(seed, "gaps")]
        return cls(
            contrast_intervals(rates, draws[0], num_resamples=num_resamples, level=level),
            contrast_intervals(gaps, draws[1], num_resamples=num_resamples, level=level),
        )


class _Tests(NamedTuple):
    method: str
    single_K: np.ndarray
    adjusted_K: np.ndarray
    agrees_K: np.ndarray


def _tests(
    table: Table,
    shown: Sequence[CohortSums],
    numbers: _Numbers,
    discovered: dict[tuple[str, str], float],
    seed: int,
) -> _Tests:
    """Test each cohort: two-sided, or in the direction that discovery speakers gave it."""
    if all(one.known.by_speaker for one in shown) and shown:
        method = "permutation"
        num_resamples = len(numbers.gaps.studentized_RK)
        observed_K, null_RK = permuted_statistics(
            shown, whole_sums(table), rng_for(seed, "permutation"), num_permutations=num_resamples
        )
    else:
        method = "bootstrap"
        with np.errstate(divide="ignore", invalid="ignore"):
            observed_K = numbers.gaps.estimates_K / numbers.gaps.errors_K
        null_RK = numbers.gaps.studentized_RK
    if discovered:
        signs_K = np.array([np.sign(discovered.get(_name(one), 0.0)) for one in shown])
        observed_K, null_RK = observed_K * signs_K, null_RK * signs_K
    else:
        observed_K, null_RK = np.abs(observed_K), np.abs(null_RK)
    single_K = np.array(
        [max_t_p_values(observed_K[[k]], null_RK[:, [k]])[0] for k in range(len(shown))]
    )
    return _Tests(method, single_K, max_t_p_values(observed_K, null_RK), observed_K > 0)


def _rows(
    shown: Sequence[CohortSums], to: Base, numbers: _Numbers, tests: _Tests, level: float
) -> list[Gap]:
    rows = []
    for k, one in enumerate(shown):
        base_errors_S, base_words_S = _base(one, to)
        adjusted = _number(tests.adjusted_K[k])
        rows.append(
            Gap(
                attribute=one.attribute,
                value=one.value,
                found_by=one.known.found_by,
                speakers=one.speakers,
                utterances=one.utterances,
                words=one.words,
                errors=one.errors,
                wer=_divide(one.errors, one.words),
                low=_rate(numbers.rates.lows_K[k]),
                high=_rate(numbers.rates.highs_K[k]),
                base_wer=_divide(base_errors_S.sum(), base_words_S.sum()),
                gap=_number(_plain_gap(one, to)),
                gap_low=_relative(numbers.gaps.lows_K[k]),
                gap_high=_relative(numbers.gaps.highs_K[k]),
                p_value=_number(tests.single_K[k]),
                p_adjusted=adjusted,
                confirmed=None
                if adjusted is None
                else bool(tests.agrees_K[k]) and adjusted <= 1.0 - level,
            )
        )
    return rows


def _suppressed(one: CohortSums) -> Gap:
    return Gap(
        attribute=one.attribute,
        value=one.value,
        found_by=one.known.found_by,
        speakers=one.speakers,
        utterances=one.utterances,
        suppressed=True,
    )


def _with_discovery(row: Gap, discovered: dict[tuple[str, str], float]) -> Gap:
    if row.suppressed:
        return row
    return replace(
        row, discovered_gap=_number(discovered.get((row.attribute, row.value), math.nan))
    )


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


def _contrast(terms: Sequence[tuple[np.ndarray, np.ndarray, float]]) -> Contrast:
    return Contrast(
        np.stack([errors_S for errors_S, _, _ in terms], axis=1),
        np.stack([words_S for _, words_S, _ in terms], axis=1),
        np.array([sign for _, _, sign in terms]),
    )


def _base(one: CohortSums, to: Base) -> tuple[np.ndarray, np.ndarray]:
    if to == "rest":
        return one.rest
    return one.known.errors_S, one.known.words_S


def _plain_gap(one: CohortSums, to: Base) -> float:
    base_errors_S, base_words_S = _base(one, to)
    wer = _divide(one.errors, one.words)
    base_wer = _divide(base_errors_S.sum(), base_words_S.sum())
    if wer is None or not base_wer:
        return math.nan
    return wer / base_wer - 1.0


def _name(one: CohortSums) -> tuple[str, str]:
    return one.attribute, one.value


def _divide(numerator: float, denominator: float) -> float | None:
    return float(numerator) / float(denominator) if denominator else None


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _rate(logarithm: float) -> float | None:
    return math.exp(logarithm) if math.isfinite(logarithm) else None


def _relative(logarithm: float) -> float | None:
    return math.expm1(logarithm) if math.isfinite(logarithm) else None
