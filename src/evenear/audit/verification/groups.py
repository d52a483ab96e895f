# SPDX-License-Identifier: Apache-2.0
"""How evenly a speaker verifier serves groups of speakers: EER, cost, rejects and accepts.

A group's trials are those with both speakers in it: its false accepts are between people who are
alike, which is the hard case. Two questions are answered for each group, beside all other speakers:

- how well could it be told apart (EER and minDCF, each at the group's own best threshold), and
- what happens to it at the one threshold that is deployed (false rejects, false accepts). Groups of
  equal EER can fare very differently here.

Differences are absolute, group less others, in shares of trials. Intervals draw speakers on both
sides jointly and are symmetric: estimate +- the quantile of |draw - estimate|. P-values compare the
studentized difference with the largest of all groups and measures in each draw, centered (max-T).

Between the groups of an attribute: the standard deviation of EERs (of the population, unweighted,
as in the source) and the fairness discrepancy rate 1 - (max |difference of false accepts| + max
|difference of false rejects|) / 2 at the shared threshold.

Legend: R draws, S speakers, G groups of trials, M measures, K differences.

Source: M. Jin et al., "Adversarial reweighting for speaker verification fairness", 2022,
https://arxiv.org/abs/2207.07776 (EER of groups, their standard deviation); T. de Freitas Pereira
and S. Marcel, "Fairness in biometrics: a figure of merit to assess biometric verification systems",
2021, https://arxiv.org/abs/2011.02395 (discrepancy rate; intervals are ours).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

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
from evenear.audit.verification.grouperrors import (
    GroupErrors,
    Measured,
    VerificationAudit,
    VerificationSpread,
)
from evenear.audit.verification.trialdraws import (
    EER,
    FALSE_ACCEPT,
    FALSE_REJECT,
    MIN_DCF,
    group_trials,
)
from evenear.audit.verification.trials import Trials
from evenear.seeding import rng_for

__all__ = ["audit_verification"]


def audit_verification(
    trials: Trials,
    cohorts: Cohorts | Sequence[str] = (),
    *,
    threshold: float | None = None,
    false_accept_rate: float | None = None,
    p_target: float = 0.01,
    seed: int = 0,
    num_resamples: int = 500,
    level: float = 0.95,
    min_speakers: int = 10,
) -> VerificationAudit:
    """Measure every group of speakers.

    Args:
        trials: The trials of one verifier.
        cohorts: Cohorts of speakers, or names of attributes; every attribute if empty.
        threshold: The deployed threshold; that of the overall EER if None.
        false_accept_rate: Take the threshold that accepts this share of all non-target trials.
        p_target: How probable a target is, for minDCF.
        seed: Decides the draws.
        num_resamples: Draws of speakers.
        level: Coverage of intervals.
        min_speakers: Groups with fewer speakers are listed without numbers.

    Raises:
        CohortError: There is nothing to compare, or a setting is out of range.
        TableError: There is no such attribute.
    """
    check_settings(threshold, false_accept_rate, num_resamples, level, min_speakers)
    if not isinstance(cohorts, Cohorts):
        cohorts = trials.cohorts_by(*cohorts)
    names, groups = divide(trials, cohorts)
    shared, words = shared_threshold(trials, threshold, false_accept_rate)
    grouped = group_trials(trials, groups)
    sizes = [Size.of(one, group_S) for one, group_S in zip(grouped.groups, groups, strict=True)]
    shown = large_groups(sizes, min_speakers)
    measured = grouped.only([0, *(row for g in shown for row in (g, g + 1))])
    found = _Found(
        measured.measures(shared, p_target),
        measured.draws(shared, p_target, rng_for(seed, "verification"), num_resamples),
        level,
    )
    return VerificationAudit(
        overall=_row(("everyone", "all"), sizes[0], _measured(found, 0, {}), level),
        rows=_rows(names, sizes, found, shown),
        spreads=_spreads(names, shown, found),
        threshold=shared,
        threshold_from=words,
        p_target=p_target,
        level=level,
        seed=seed,
        num_resamples=num_resamples,
        min_speakers=min_speakers,
        name=trials.name,
        warnings=(*trials.warnings, *_backwards(found)),
    )


def _backwards(found: "_Found") -> tuple[str, ...]:
    if found.measures_GM[0, EER] <= 0.5:
        return ()
    return (
        "Targets score lower than non-targets. Scores must be larger for the same speaker: if "
        "these are distances, change their sign.",
    )


class _Found(NamedTuple):
    """Measures of all groups, as they are and in every draw."""

    measures_GM: np.ndarray
    draws_RGM: np.ndarray
    level: float


def _measured(found: _Found, group: int, p_values: dict[int, float]) -> list[Measured]:
    """All measures of a group, with differences to the group that follows it."""
    measured = []
    others = group + 1 if group else group
    for m in range(found.measures_GM.shape[1]):
        value, draws_R = found.measures_GM[group, m], found.draws_RGM[:, group, m]
        difference = value - found.measures_GM[others, m]
        value_reach = reach(draws_R, value, found.level)
        apart_R = draws_R - found.draws_RGM[:, others, m]
        difference_reach = reach(apart_R, difference, found.level)
        measured.append(
            Measured(
                value=float(value),
                low=float(max(0.0, value - value_reach)),
                high=float(min(1.0, value + value_reach)),
                difference=float(difference),
                difference_low=float(difference - difference_reach),
                difference_high=float(difference + difference_reach),
                p_adjusted=p_values.get(m),
            )
        )
    return measured


def _p_values(found: _Found, shown: Sequence[int]) -> dict[int, dict[int, float]]:
    """Max-T p-values of differences in EER, false rejects and false accepts, over all groups."""
    keys = [(g, m) for g in shown for m in (EER, FALSE_REJECT, FALSE_ACCEPT)]
    if not keys:
        return {}
    measures_GM, draws_RGM = found.measures_GM, found.draws_RGM
    rows, columns = (np.array(part) for part in zip(*keys, strict=True))
    observed_K = measures_GM[rows, columns] - measures_GM[rows + 1, columns]
    null_RK = draws_RGM[:, rows, columns] - draws_RGM[:, rows + 1, columns] - observed_K
    errors_K = np.nanstd(null_RK, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        p_values_K = max_t_p_values(np.abs(observed_K / errors_K), np.abs(null_RK / errors_K))
    by_group: dict[int, dict[int, float]] = {}
    for (g, m), p_value in zip(keys, p_values_K, strict=True):
        if math.isfinite(p_value):
            by_group.setdefault(g, {})[m] = float(p_value)
    return by_group


def _rows(
    names: Sequence[tuple[str, str]], sizes: Sequence[Size], found: _Found, shown: Sequence[int]
) -> tuple[GroupErrors, ...]:
    p_values = _p_values(found, shown)
    return tuple(
        _row(
            names[g],
            sizes[g],
            _measured(found, g, p_values.get(g, {})) if g in shown else [],
            found.level,
        )
        for g in range(1, len(sizes), 2)
    )


def _row(name: tuple[str, str], size: Size, measured: list[Measured], level: float) -> GroupErrors:
    """A row; without measures, a suppressed one."""
    return GroupErrors(
        attribute=name[0],
        value=name[1],
        speakers=size.speakers,
        target_trials=size.targets,
        nontarget_trials=size.others,
        eer=measured[EER] if measured else None,
        min_dcf=measured[MIN_DCF] if measured else None,
        false_reject=measured[FALSE_REJECT] if measured else None,
        false_accept=measured[FALSE_ACCEPT] if measured else None,
        confirmed=any((one.p_adjusted or 1.0) <= 1.0 - level for one in measured),
        suppressed=not measured,
    )


def _spreads(
    names: Sequence[tuple[str, str]], shown: Sequence[int], found: _Found
) -> tuple[VerificationSpread, ...]:
    spreads = []
    for attribute in dict.fromkeys(names[g][0] for g in shown):
        groups = [g for g in shown if names[g][0] == attribute]
        if len(groups) < 2:
            continue
        here_1GM, draws_RGM = found.measures_GM[None, groups], found.draws_RGM[:, groups]
        deviation, rate = _deviation(here_1GM)[0], _discrepancy_rate(here_1GM)[0]
        deviation_reach = reach(_deviation(draws_RGM), deviation, found.level)
        rate_reach = reach(_discrepancy_rate(draws_RGM), rate, found.level)
        spreads.append(
            VerificationSpread(
                attribute=attribute,
                groups=len(groups),
                eer_deviation=float(deviation),
                eer_deviation_low=float(max(0.0, deviation - deviation_reach)),
                eer_deviation_high=float(deviation + deviation_reach),
                discrepancy_rate=float(rate),
                discrepancy_rate_low=float(rate - rate_reach),
                discrepancy_rate_high=float(min(1.0, rate + rate_reach)),
            )
        )
    return tuple(spreads)


def _deviation(measures_RGM: np.ndarray) -> np.ndarray:
    return measures_RGM[:, :, EER].std(axis=1)


def _discrepancy_rate(measures_RGM: np.ndarray) -> np.ndarray:
    apart_RM = measures_RGM.max(axis=1) - measures_RGM.min(axis=1)
    return 1.0 - 0.5 * (apart_RM[:, FALSE_ACCEPT] + apart_RM[:, FALSE_REJECT])
