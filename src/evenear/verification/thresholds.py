# SPDX-License-Identifier: Apache-2.0
"""A threshold from one's own users, and who is turned away by it.

The threshold is the lowest at which at most the wanted share of non-target trials is accepted. It
is withheld where it would mean little, with the reason in words: too few speakers to say anything,
fewer non-target trials than the rate can be seen in, or scores that overlap so much that a stated
share of the right people would be turned away.

Rates of false rejects are listed for each group at that one threshold, since groups of equal EER
can fare differently there. Intervals resample speakers, on both sides jointly. They are percentile
intervals, and with few speakers too narrow.

Legend: N trials, S speakers, R draws.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evenear.errors import EvenearError
from evenear.metrics.trialscores import draws_of_speakers
from evenear.metrics.verification import ScoreOrder

__all__ = ["GroupRates", "Thresholding", "calibrate_threshold"]

_LEAST_SPEAKERS = 5
_NUM_DRAWS = 1000
_TAIL = 0.025


@dataclass(frozen=True)
class GroupRates:
    """False rejects of one group at the threshold; interval None where nothing can be said."""

    group: str
    speakers: int
    targets: int
    false_rejects: int
    low: float | None
    high: float | None

    @property
    def rate(self) -> float | None:
        """Share of targets that are turned away."""
        return self.false_rejects / self.targets if self.targets else None


@dataclass(frozen=True)
class Thresholding:
    """A threshold, or why there is none, and what happens at it."""

    threshold: float | None
    why_none: str | None
    false_accept_rate: float
    """As wanted."""
    eer: float
    speakers: int
    targets: int
    others: int
    groups: tuple[GroupRates, ...]
    """Everyone first; all at the threshold that was found, even if it is withheld."""


def calibrate_threshold(
    scores_N: np.ndarray,
    first_speakers: Sequence[str],
    second_speakers: Sequence[str],
    *,
    false_accept_rate: float = 0.01,
    most_false_rejects: float = 0.5,
    groups: Mapping[str, Mapping[str, str]] | None = None,
    rng: np.random.Generator,
) -> Thresholding:
    """Find the threshold for a rate of false accepts.

    Args:
        scores_N: Scores of trials; larger is more alike.
        first_speakers: The speaker on one side of each.
        second_speakers: The speaker on the other.
        false_accept_rate: Share of non-target trials that may be accepted.
        most_false_rejects: No threshold is given if more of the targets would be turned away.
        groups: What is known of speakers, by attribute: {"gender": {"ann": "female", …}}.
        rng: Where draws for intervals come from.

    Raises:
        EvenearError: A rate is out of range, or there are no targets or no non-targets.
    """
    if not (0.0 < false_accept_rate < 1.0 and 0.0 < most_false_rejects <= 1.0):
        raise EvenearError(
            "Rates lie between 0 and 1, got false accepts "
            f"{false_accept_rate} and at most {most_false_rejects} false rejects."
        )
    scores_N = np.asarray(scores_N, np.float64)
    names, sides_N = np.unique([*first_speakers, *second_speakers], return_inverse=True)
    first_N, second_N = sides_N.reshape(2, -1)
    is_target_N = first_N == second_N
    if is_target_N.all() or not is_target_N.any():
        raise EvenearError(
            "A threshold needs pairs of the same speaker and of different speakers, got "
            f"{int(is_target_N.sum())} and {int((~is_target_N).sum())}.",
            hint="Give two or more recordings of each of several people.",
        )
    curve = ScoreOrder(scores_N, is_target_N).curve()
    assert curve is not None
    threshold = curve.threshold_for_false_accepts(false_accept_rate)
    is_rejected_N = scores_N < threshold
    draws_RS = draws_of_speakers(len(names), _NUM_DRAWS, rng)
    tables = [("everyone", np.ones(len(names), bool))]
    for attribute, values in sorted((groups or {}).items()):
        for value in sorted(set(values.values())):
            member_S = np.array([values.get(name) == value for name in names])
            tables.append((f"{attribute}={value}", member_S))
    targets_N = np.flatnonzero(is_target_N)
    rows = tuple(
        _rates(label, member_S, first_N[targets_N], is_rejected_N[targets_N], draws_RS)
        for label, member_S in tables
    )
    num_others = int((~is_target_N).sum())
    everyone = rows[0].rate or 0.0
    why = _why_none(len(names), num_others, false_accept_rate, everyone, most_false_rejects)
    return Thresholding(
        threshold=None if why else float(threshold),
        why_none=why,
        false_accept_rate=false_accept_rate,
        eer=curve.eer,
        speakers=len(names),
        targets=int(is_target_N.sum()),
        others=num_others,
        groups=rows,
    )


def _why_none(
    speakers: int, others: int, rate: float, rejected: float, most_rejected: float
) -> str | None:
    if speakers < _LEAST_SPEAKERS:
        return (
            f"{speakers} speakers say too little about others: {_LEAST_SPEAKERS} or more are "
            "needed."
        )
    if others * rate < 1.0:
        return (
            f"A rate of {100 * rate:g} % false accepts cannot be seen in {others} pairs of "
            f"different speakers: {int(np.ceil(1 / rate))} or more are needed."
        )
    if rejected > most_rejected:
        return (
            "The scores of the same and of different speakers overlap too much: a threshold with "
            f"{100 * rate:g} % false accepts would turn away {100 * rejected:.0f} % of the right "
            f"people, more than {100 * most_rejected:g} %."
        )
    return None


def _rates(
    label: str,
    member_S: np.ndarray,
    speaker_N: np.ndarray,
    is_rejected_N: np.ndarray,
    draws_RS: np.ndarray,
) -> GroupRates:
    """False rejects of a group's targets, and the range over draws of its speakers."""
    targets_S = np.bincount(speaker_N, minlength=len(member_S)) * member_S
    rejects_S = np.bincount(speaker_N, is_rejected_N, minlength=len(member_S)) * member_S
    low = high = None
    has_targets_S = targets_S > 0
    if int(has_targets_S.sum()) >= 2:
        totals_R = draws_RS @ targets_S
        rates_R = (draws_RS @ rejects_S)[totals_R > 0] / totals_R[totals_R > 0]
        low, high = (float(q) for q in np.quantile(rates_R, [_TAIL, 1 - _TAIL]))
    return GroupRates(
        label,
        int(has_targets_S.sum()),
        int(targets_S.sum()),
        round(float(rejects_S.sum())),
        low,
        high,
    )
