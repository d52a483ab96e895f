# SPDX-License-Identifier: Apache-2.0
"""Which of two talkers is heard, by their voices.

    voices = TalkerVoices(embed, VoicesConfig(), group_samples=1280)
    voices.hear(samples_N)                    # sound, as it comes
    voices.group(speaks=True, both=0.1)       # what was decided of the next group of frames
    voices.now                                # whose voice it is, at once: 0 or 1
    voices.talking(first)                     # whose it was, from a group on, as it looks now
    voices.remember()                         # this is what is true from now on

Several times a second the sound since speech began, a second of it at most, becomes a vector. At
once, each joins the nearer of two means so far. Looking back, all vectors of the last minute are
parted again: a hidden Markov model of two talkers whose voices are directions, fitted by
expectation and maximization, starting with the two least alike; where both are one voice, or hardly
anybody is the second, there is one talker. Talkers are numbered in the order in which they are
first heard, and keep their numbers.

Legend: N audio samples, D width of a vector, V vectors, C talkers, G groups of frames.

Source: the model is that of Landini et al. 2022, VBx, arXiv:2012.14952, with two talkers, means
without a prior, and likelihoods of directions (von Mises-Fisher) in place of PLDA. Ours: the rest.
"""

import math
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from evenear.config import config
from evenear.streaming.twotalkers.labels import unit_vector
from evenear.units import SAMPLE_RATE, Samples

__all__ = ["TalkerVoices", "VoicesConfig"]

_NUM_TALKERS = 2
_KEPT_SECONDS = 60.0
_ROUNDS, _MORE_ROUNDS = 6, 2
"""Of fitting two voices, until they are known and then."""
_REMEMBERED_EVERY = 4
"""Vectors after which voices are remembered, whether or not words were given to them."""
_PRIOR_SECONDS = 2.0
"""What a voice that is known counts, where it is hardly heard in the last minute."""
_SURE_LEAD = 0.3
"""From this lead on a voice is taken for a second talker's before all vectors are looked at."""


@config
class VoicesConfig:
    """How voices are told apart."""

    window_seconds: float = Field(default=1.0, gt=0)
    """Sound that makes a vector, at most."""
    first_groups: int = Field(default=2, ge=1)
    """The first vector is made so many groups after speech began."""
    every_groups: int = Field(default=2, ge=1)
    """The next ones so many groups after each other."""
    pause_groups: int = Field(default=3, ge=1)
    """After so many groups of silence, speech begins anew."""
    concentration: float = Field(default=10.0, gt=0)
    """How sure a second of sound makes: nats for a difference of cosines of 1."""
    change_cost: float = Field(default=4.0, ge=0)
    """Nats that a change of talkers must gain."""
    most_alike: float = Field(default=0.3, ge=-1, le=1)
    """Cosine of two means above which they are one voice."""
    least_seconds: float = Field(default=0.4, gt=0)
    """A talker is heard at least so long."""


class _Vector(NamedTuple):
    """A piece of sound."""

    middle: int
    """The group in its middle."""
    unit_D: NDArray[np.float64]
    seconds: float
    alone: float
    """The part of it in which only one talker speaks, as far as is known."""


class _Parted(NamedTuple):
    """Vectors that were parted."""

    chances_VC: NDArray[np.float64]
    """The probability of each talker."""
    sums_CD: NDArray[np.float64] | None
    """Of the vectors of each talker; None where there is one."""


class TalkerVoices:
    """Follows the talkers of one stream.

    Args:
        embed: Makes a vector (D,) of 16 kHz sound.
        config: How voices are told apart.
        group_samples: Samples of a group of frames.
    """

    def __init__(
        self,
        embed: Callable[[NDArray[np.float32]], NDArray[np.float64]],
        config: VoicesConfig,
        *,
        group_samples: Samples,
    ) -> None:
        self._embed, self.config, self._group_samples = embed, config, group_samples
        self._sound_N = np.zeros(0, np.float32)
        self._first_sample: Samples = 0
        seconds = config.every_groups * group_samples / SAMPLE_RATE
        self._vectors: deque[_Vector] = deque(maxlen=round(_KEPT_SECONDS / seconds))
        self._sums: list[NDArray[np.float64]] = []
        """Of the vectors of each talker so far, each as long as its sound."""
        self._are_two = False
        """Whether looking back found two talkers, whose sums stand for their voices."""
        self._num_vectors = 0
        self.num_groups = 0
        self.now = 0
        """Whose voice was heard last."""
        self._lead = 0.0
        """How much more the last vectors speak for the second talker."""
        self._began: int | None = None
        """The group with which speech began."""
        self._silent_groups = 0
        self._overlapped = deque[float](
            maxlen=max(1, round(config.window_seconds * SAMPLE_RATE / group_samples))
        )

    @property
    def is_unknown(self) -> bool:
        """Whether speech began, and no vector of it was made."""
        since = self.num_groups - (self.num_groups if self._began is None else self._began)
        return since < self.config.first_groups

    @property
    def before(self) -> int:
        """Groups of speech before the last for which it was not known whose voice it is."""
        since = self.num_groups - (self._began or 0)
        is_first = self._began is not None and since == self.config.first_groups
        return self.config.first_groups - 1 if is_first else 0

    def hear(self, samples_N: NDArray[np.float32]) -> None:
        """Take sound; a little more than the longest window is kept."""
        window = round(self.config.window_seconds * SAMPLE_RATE)
        needed = max(0, self.num_groups * self._group_samples - window)
        kept_N = self._sound_N[max(0, needed - self._first_sample) :]
        self._first_sample += len(self._sound_N) - len(kept_N)
        self._sound_N = np.concatenate([kept_N, samples_N])

    def group(self, *, speaks: bool, both: float, heard_samples: Samples) -> None:
        """Take what was decided of the next group.

        Args:
            speaks: Whether anybody does.
            both: How sure it is that both do, from 0 to 1.
            heard_samples: Sound from the stream's start that may be listened to for it: what had
                been heard when it was decided.
        """
        self._overlapped.append(both)
        self.num_groups += 1
        self._silent_groups = 0 if speaks else self._silent_groups + 1
        if self._silent_groups >= self.config.pause_groups:
            self._began, self._lead = None, 0.0
        if not speaks:
            return
        if self._began is None:
            self._began = self.num_groups - 1
        since = self.num_groups - self._began - self.config.first_groups
        if since >= 0 and since % self.config.every_groups == 0:
            self._listen(heard_samples)

    def talking(self, first: int) -> NDArray[np.float64]:
        """The probability of each talker in the groups from `first` on, (C, G).

        Says whose voice it was where somebody spoke, not whether anybody did.
        """
        places = np.arange(first, self.num_groups)
        chances_VC = self._parted().chances_VC
        if not len(chances_VC) or not len(places):
            return np.repeat([[1.0], [0.0]], len(places), axis=1)
        middles_V = np.array([vector.middle for vector in self._vectors])
        nearest_G = np.abs(places[:, None] - middles_V).argmin(axis=1)
        return chances_VC[nearest_G].T

    def remember(self) -> None:
        """Take the voices for what they are now, looking back; they were given words."""
        parted = self._parted()
        if parted.sums_CD is not None:
            self._are_two, self._sums = True, list(parted.sums_CD)

    def _listen(self, heard_samples: Samples) -> None:
        """Make the next vector, and say whose it is at once."""
        assert self._began is not None
        window = round(self.config.window_seconds * SAMPLE_RATE)
        start = max(self._began * self._group_samples, heard_samples - window, self._first_sample)
        sound_N = self._sound_N[start - self._first_sample : heard_samples - self._first_sample]
        if len(sound_N) < self._group_samples:
            return
        unit_D = unit_vector(np.asarray(self._embed(np.ascontiguousarray(sound_N)), np.float64))
        length = len(sound_N) / SAMPLE_RATE
        groups = max(1, len(sound_N) // self._group_samples)
        both = float(np.mean(list(self._overlapped)[-groups:]))
        middle = (start + heard_samples) // 2 // self._group_samples
        self._vectors.append(_Vector(middle, unit_D, length, 1.0 - both))
        self._num_vectors += 1
        if self._num_vectors % _REMEMBERED_EVERY == 0:
            self.remember()
        if not self._sums:
            self._sums.append(length * unit_D)
            return
        alike = [float(unit_D @ unit_vector(own_D)) for own_D in self._sums]
        other = alike[1] if len(alike) > 1 else self.config.most_alike
        self._lead = 0.5 * self._lead + length * (other - alike[0])
        self.now = int(self._lead > 0)
        if both < 0.5 and (self.now < len(self._sums) or self._lead > _SURE_LEAD):
            self._join(length * unit_D)

    def _join(self, vector_D: NDArray[np.float64]) -> None:
        if self.now == len(self._sums):
            self._sums.append(vector_D)
        else:
            self._sums[self.now] = self._sums[self.now] + vector_D

    def _parted(self) -> _Parted:
        """The vectors so far, parted into two voices or one. Nothing is remembered of it."""
        if not self._vectors:
            return _Parted(np.zeros((0, _NUM_TALKERS)), None)
        config = self.config
        units_VD = np.array([vector.unit_D for vector in self._vectors])
        alone_V = np.array([vector.alone for vector in self._vectors])
        weights_V1 = (alone_V * [vector.seconds for vector in self._vectors])[:, None]
        prior_CD = np.zeros((_NUM_TALKERS, units_VD.shape[1]))
        if self._are_two:
            prior_CD = _PRIOR_SECONDS * np.array([unit_vector(sum_D) for sum_D in self._sums])
            means_CD = prior_CD / _PRIOR_SECONDS
        else:
            means_CD = _least_alike(units_VD, alone_V)
        chances_VC, sums_CD = np.zeros((len(units_VD), _NUM_TALKERS)), prior_CD
        for _ in range(_MORE_ROUNDS if self._are_two else _ROUNDS):
            scores_VC = config.concentration * (units_VD @ means_CD.T)
            chances_VC = _smoothed(scores_VC, config.change_cost)
            sums_CD = prior_CD + (chances_VC * weights_V1).T @ units_VD
            means_CD = np.array([unit_vector(sum_D) for sum_D in sums_CD])
        if self._are_two:
            return _Parted(chances_VC, sums_CD)
        step_seconds = config.every_groups * self._group_samples / SAMPLE_RATE
        heard_C = (chances_VC * alone_V[:, None]).sum(axis=0) * step_seconds
        is_one = float(means_CD[0] @ means_CD[1]) > config.most_alike
        if is_one or heard_C.min() < config.least_seconds:
            return _Parted(np.repeat([[1.0, 0.0]], len(units_VD), axis=0), None)
        if chances_VC[0, 1] > 0.5:  # whoever is heard first is the first
            chances_VC, sums_CD = chances_VC[:, ::-1], sums_CD[::-1]
        return _Parted(chances_VC, sums_CD)


def _least_alike(
    units_VD: NDArray[np.float64], alone_V: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The two vectors that point apart most, of those in which mostly one talker speaks."""
    places = np.flatnonzero(alone_V > 0.5)
    if len(places) < _NUM_TALKERS:
        places = np.arange(len(units_VD))
    alike = units_VD[places] @ units_VD[places].T
    one, other = np.unravel_index(int(alike.argmin()), alike.shape)
    return units_VD[places[[int(one), int(other)]]]


def _smoothed(scores_VC: NDArray[np.float64], cost: float) -> NDArray[np.float64]:
    """The probability of each state of a chain, whose changes cost so much, (V, 2).

    Forward and backward passes over the odds of the second state: two states need one number.
    """

    def passed_on(odds: float) -> float:
        return _log_sum(odds, -cost) - _log_sum(0.0, odds - cost)

    odds_V = (scores_VC[:, 1] - scores_VC[:, 0]).tolist()
    forward_V, before = [], 0.0
    for v, odds in enumerate(odds_V):
        before = odds + (passed_on(before) if v else 0.0)
        forward_V.append(before)
    behind, found_V = 0.0, []
    for odds, forward in zip(reversed(odds_V), reversed(forward_V), strict=True):
        found_V.append(forward + behind)
        behind = passed_on(odds + behind)
    second_V = 1.0 / (1.0 + np.exp(-np.clip(found_V[::-1], -700.0, 700.0)))
    return np.stack([1.0 - second_V, second_V], axis=1)


def _log_sum(one: float, other: float) -> float:
    """The logarithm of the sum of two numbers that are given by theirs."""
    most = max(one, other)
    return most + math.log1p(math.exp(min(one, other) - most))
