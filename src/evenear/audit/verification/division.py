# SPDX-License-Identifier: Apache-2.0
"""Who is in which group of trials, which groups are large enough, and the threshold they share.

Groups come in twos: the speakers of a value, and the other speakers whose value is known. Before
them all stands everyone.

Legend: R draws, S speakers, G groups of trials.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from evenear.audit.statistics.multiplicity import check_resamples
from evenear.audit.tables.cohorts import Cohorts
from evenear.audit.verification.trialdraws import TrialGroup
from evenear.audit.verification.trials import Trials
from evenear.errors import CohortError
from evenear.metrics.verification import ScoreOrder

__all__ = ["Size", "check_settings", "divide", "large_groups", "reach", "shared_threshold"]


def check_settings(
    threshold: float | None,
    false_accept_rate: float | None,
    num_resamples: int,
    level: float,
    min_speakers: int,
) -> None:
    """Refuse settings that are out of range.

    Raises:
        CohortError: One is.
    """
    if min_speakers < 2:
        raise CohortError(f"A group needs at least 2 speakers, got min_speakers {min_speakers}.")
    if threshold is not None and false_accept_rate is not None:
        raise CohortError("Give a threshold or a share of false accepts, not both.")
    if threshold is not None and not math.isfinite(threshold):
        raise CohortError(
            f"The threshold must be a number that scores can reach, got {threshold}.",
            hint="Leave it out to take that of the equal error rate.",
        )
    if false_accept_rate is not None and not 0.0 < false_accept_rate < 1.0:
        raise CohortError(
            f"The share of false accepts must lie between 0 and 1, got {false_accept_rate}.",
            hint="0.01 is one in a hundred.",
        )
    if num_resamples < 100:
        raise CohortError(f"Intervals need at least 100 resamples, got {num_resamples}.")
    if not 0.5 <= level < 1.0:
        raise CohortError(f"The level of intervals must lie between 0.5 and 1, got {level}.")
    check_resamples(num_resamples, level)


class Size(NamedTuple):
    """How much a group rests on."""

    speakers: int
    targets: int
    others: int

    @classmethod
    def of(cls, group: TrialGroup, group_S: np.ndarray) -> "Size":
        """The size of a group of these speakers."""
        return cls(int(group_S.sum()), len(group.target_scores), len(group.nontarget_scores))


def divide(trials: Trials, cohorts: Cohorts) -> tuple[list[tuple[str, str]], list[np.ndarray]]:
    """Everyone; then for each value its speakers, and the others whose value is known.

    Raises:
        CohortError: A cohort divides utterances, not speakers.
    """
    names, groups = [("", "")], [np.ones(trials.speakers.height, dtype=bool)]
    for assignment in cohorts.assignments:
        if assignment.key != "speaker":
            raise CohortError(
                f"Trials are divided by speakers; {assignment.attribute!r} divides utterances.",
                hint="Give each speaker one value.",
            )
        joined = trials.speakers.select("speaker").join(
            assignment.frame, on="speaker", how="left", maintain_order="left"
        )
        values = joined["value"].to_list()
        known_S = np.array([value is not None for value in values])
        wanted = assignment.reported or sorted({value for value in values if value is not None})
        for value in wanted:
            member_S = np.array([one == value for one in values])
            names += [(assignment.attribute, value)] * 2
            groups += [member_S, known_S & ~member_S]
    return names, groups


def shared_threshold(
    trials: Trials, threshold: float | None, false_accept_rate: float | None
) -> tuple[float, str]:
    """The threshold that all groups share, and where it comes from, in words."""
    if threshold is not None:
        return threshold, "given"
    order = ScoreOrder(trials.frame["score"].to_numpy(), trials.frame["target"].to_numpy())
    curve = order.curve()
    assert curve is not None
    if false_accept_rate is not None:
        shared = curve.threshold_for_false_accepts(false_accept_rate)
        return shared, f"at most {100 * false_accept_rate:g} % false accepts over all trials"
    return curve.eer_threshold, "equal error rate over all trials"


def large_groups(sizes: Sequence[Size], min_speakers: int) -> list[int]:
    """Groups with enough speakers and both kinds of trials, inside and outside.

    Each group is followed by its others.
    """
    large = [one.speakers >= min_speakers and min(one.targets, one.others) > 0 for one in sizes]
    return [g for g in range(1, len(sizes), 2) if large[g] and large[g + 1]]


def reach(draws_R: np.ndarray, value: float, level: float) -> float:
    """Half the width of the symmetric interval."""
    apart_R = np.abs(draws_R - value)
    apart_R = apart_R[np.isfinite(apart_R)]
    return float(np.quantile(apart_R, level)) if len(apart_R) else math.inf
