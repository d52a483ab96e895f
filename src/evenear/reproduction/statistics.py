# SPDX-License-Identifier: Apache-2.0
"""Differences between recognizers, with intervals that resample speakers and average over seeds.

All recognizers heard the same utterances, so speakers are drawn once for all of them: whatever a
speaker does to every recognizer cancels in a difference. A recognizer is trained from several
seeds; its errors on a speaker are the mean over them. Percentiles of the draws make the interval.

What the interval does not hold is how much a recognizer changes with its seed: the rates of single
seeds are given beside it, and a difference that one of them turns around is not to be trusted.

Legend: R resamples, S speakers.

Source: M. Bisani and H. Ney, "Bootstrap estimates for confidence intervals in ASR performance
evaluation", ICASSP 2004.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evenear.errors import CohortError
from evenear.metrics.bootstrap import resample_speakers
from evenear.seeding import rng_for

__all__ = ["Difference", "Estimate", "SpeakerErrors", "Speakers", "by_speaker"]

_Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval; the bounds are None where there are too few speakers."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Difference:
    """How much more a recognizer errs than another one."""

    relative: Estimate
    """Of the other's rate: -0.1 is a tenth fewer errors."""
    absolute: Estimate
    """Of words: -0.01 is an error less in a hundred words."""
    relative_by_seed: tuple[float, ...]
    """The same of each pair of runs of one seed."""


@dataclass(frozen=True)
class SpeakerErrors:
    """Errors of one recognizer on each of S speakers under one condition."""

    errors_by_seed: tuple[_Vector, ...]
    words_S: _Vector

    @property
    def mean_errors(self) -> _Vector:
        """Errors on each speaker, averaged over seeds."""
        return np.mean(self.errors_by_seed, axis=0)

    @property
    def rates(self) -> tuple[float, ...]:
        """The pooled rate of each seed."""
        return tuple(float(errors_S.sum() / self.words_S.sum()) for errors_S in self.errors_by_seed)

    @classmethod
    def pooled(cls, parts: Sequence["SpeakerErrors"]) -> "SpeakerErrors":
        """Several conditions as one."""
        by_seed = zip(*(part.errors_by_seed for part in parts), strict=True)
        return cls(
            tuple(np.sum(list(errors), axis=0) for errors in by_seed),
            np.sum([part.words_S for part in parts], axis=0),
        )


class Speakers:
    """One set of draws of speakers, used for every number.

    Args:
        num_speakers: S.
        seed: What the draws depend on.
        num_resamples: R.
    """

    def __init__(self, num_speakers: int, *, seed: int = 0, num_resamples: int = 4000) -> None:
        if num_speakers < 1:
            raise CohortError("Comparing recognizers needs at least one test speaker, got none.")
        rng = rng_for(seed, "reproduction", num_speakers)
        self.counts_RS = np.concatenate(list(resample_speakers(num_speakers, num_resamples, rng)))
        self.num_speakers = num_speakers

    def rate(self, one: SpeakerErrors) -> Estimate:
        """A pooled word error rate."""
        return self._estimate(self._rates(one))

    def difference(self, one: SpeakerErrors, other: SpeakerErrors) -> Difference:
        """How much more `one` errs than `other`."""
        own_R, others_R = self._rates(one), self._rates(other)
        with np.errstate(divide="ignore", invalid="ignore"):
            relative_R = own_R / others_R - 1.0
        return Difference(
            self._estimate(relative_R),
            self._estimate(own_R - others_R),
            tuple(
                a / b - 1.0 if b else float("nan")
                for a, b in zip(one.rates, other.rates, strict=False)
            ),
        )

    def change_of_gain(
        self,
        one: SpeakerErrors,
        other: SpeakerErrors,
        one_harder: SpeakerErrors,
        other_harder: SpeakerErrors,
    ) -> Estimate:
        """How much more `one` gains over `other`, in errors per word, where listening is harder."""
        easy_R = self._rates(other) - self._rates(one)
        hard_R = self._rates(other_harder) - self._rates(one_harder)
        return self._estimate(hard_R - easy_R)

    def _rates(self, one: SpeakerErrors) -> _Vector:
        """The pooled rate: first of the speakers as they are, then of each draw."""
        errors_S, words_S = one.mean_errors, one.words_S
        with np.errstate(divide="ignore", invalid="ignore"):
            drawn_R = (self.counts_RS @ errors_S) / (self.counts_RS @ words_S)
            return np.concatenate([[errors_S.sum() / words_S.sum()], drawn_R])

    def _estimate(self, values_R: _Vector) -> Estimate:
        drawn_R = values_R[1:][np.isfinite(values_R[1:])]
        if self.num_speakers < 2 or not len(drawn_R):
            return Estimate(float(values_R[0]), None, None)
        low, high = np.percentile(drawn_R, [2.5, 97.5])
        return Estimate(float(values_R[0]), float(low), float(high))


def by_speaker(
    rows: Iterable[tuple[str, int, int]], speakers: Sequence[str]
) -> tuple[_Vector, _Vector]:
    """Errors and words of each speaker, from (speaker, errors, words) of utterances."""
    place: Mapping[str, int] = {speaker: k for k, speaker in enumerate(speakers)}
    errors_S, words_S = np.zeros(len(speakers)), np.zeros(len(speakers))
    for speaker, errors, words in rows:
        errors_S[place[speaker]] += errors
        words_S[place[speaker]] += words
    return errors_S, words_S
