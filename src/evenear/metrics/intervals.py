# SPDX-License-Identifier: Apache-2.0
"""How sure a pooled word error rate is: an interval that resamples speakers.

Errors of one speaker go together, so utterances are not independent and resampling them gives
intervals that are far too narrow. Here whole speakers are drawn with replacement, and the interval
is the symmetric studentized one of `evenear.metrics.bootstrap`. `evenear evaluate` and
`evenear audit` both show this interval, from the same draws: the same rows give the same bounds.

A rate without any error has no scatter to resample. Its upper bound is that of a Poisson count of
0, -log((1 - level) / 2) / words: about 3.7 / words at 95 %.

Legend: S speakers, K cohorts.

Source: M. Bisani and H. Ney, "Bootstrap estimates for confidence intervals in ASR performance
evaluation", ICASSP 2004; Z. Liu and F. Peng, "Statistical testing on ASR performance via blockwise
bootstrap", 2019, https://arxiv.org/abs/1912.09508 (blocks of speakers); J. Hanley and A.
Lippman-Hand, "If nothing goes wrong, is everything all right?", 1983 (no errors).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evenear.errors import CohortError
from evenear.metrics.bootstrap import Contrast, contrast_intervals
from evenear.seeding import rng_for

__all__ = ["Interval", "cohort_wer_intervals", "pooled_wer_interval"]


@dataclass(frozen=True)
class Interval:
    """A pooled rate and the range in which it lies with some confidence.

    `rate` is None where there are no words. `low` and `high` are None where nothing can be said:
    no words, or fewer than two speakers, because one speaker shows nothing of how speakers differ.
    """

    rate: float | None
    low: float | None
    high: float | None


def pooled_wer_interval(
    errors_by_speaker: ArrayLike,
    words_by_speaker: ArrayLike,
    *,
    seed: int = 0,
    num_resamples: int = 1000,
    level: float = 0.95,
) -> Interval:
    """Pooled word error rate with its interval over speakers.

        rate = sum of errors / sum of words

    Args:
        errors_by_speaker: Word errors of each speaker.
        words_by_speaker: Reference words of each speaker, in the same order. Take speakers in the
            order of their names: then the same speakers give the same interval.
        seed: Decides the draws.
        num_resamples: How often speakers are drawn anew.
        level: Part of all samples of speakers whose interval should hold the true rate.

    Returns:
        An `Interval`; without `low` and `high` for fewer than two speakers with words.

    Raises:
        CohortError: The two differ in length, or hold negative or infinite numbers, or
            `num_resamples` or `level` is out of range.
    """
    errors_S, words_S = _checked(errors_by_speaker, words_by_speaker, num_resamples, level)
    errors, words = float(errors_S.sum()), float(words_S.sum())
    if words == 0.0:
        return Interval(None, None, None)
    if (words_S > 0).sum() < 2:
        return Interval(errors / words, None, None)
    if errors == 0.0:
        return Interval(0.0, 0.0, min(1.0, -math.log((1.0 - level) / 2.0) / words))
    found = contrast_intervals(
        [Contrast.of((1.0, (errors_S, words_S)))],
        rng_for(seed, "overall"),
        num_resamples=num_resamples,
        level=level,
    )
    _, low, high = found.ratio(0)
    return Interval(errors / words, low, high)


def cohort_wer_intervals(
    errors_SK: ArrayLike,
    words_SK: ArrayLike,
    *,
    seed: int = 0,
    num_resamples: int = 1000,
    level: float = 0.95,
) -> list[Interval]:
    """Pooled word error rates of K cohorts with their intervals, from draws of all S speakers.

    Args:
        errors_SK: Word errors of each speaker in each cohort.
        words_SK: Their reference words; 0 where a speaker is not in it. Take speakers in the order
            of their names.
        seed: Decides the draws.
        num_resamples: How often speakers are drawn anew.
        level: Part of all samples of speakers whose interval should hold the true rate.
    """
    errors_SK, words_SK = np.asarray(errors_SK, np.float64), np.asarray(words_SK, np.float64)
    columns = list(zip(errors_SK.T, words_SK.T, strict=True))
    if not len(errors_SK):
        return [Interval(None, None, None) for _ in columns]
    found = contrast_intervals(
        [Contrast.of((1.0, column)) for column in columns],
        rng_for(seed, "gaps"),
        num_resamples=num_resamples,
        level=level,
    )
    intervals = []
    for k, (errors_S, words_S) in enumerate(columns):
        if errors_S.any() and (words_S > 0).sum() > 1:
            _, low, high = found.ratio(k)
            intervals.append(Interval(float(errors_S.sum() / words_S.sum()), low, high))
        else:  # nothing to draw
            intervals.append(pooled_wer_interval(errors_S, words_S, level=level))
    return intervals


def _checked(
    errors_by_speaker: ArrayLike, words_by_speaker: ArrayLike, num_resamples: int, level: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Errors and words of each speaker, if an interval can be drawn from them."""
    errors_S = _counts("errors", errors_by_speaker)
    words_S = _counts("words", words_by_speaker)
    if len(errors_S) != len(words_S):
        raise CohortError(
            f"Errors and words must be of the same speakers, got {len(errors_S)} and "
            f"{len(words_S)} of them."
        )
    if not (0.0 < level < 1.0) or num_resamples < 1:
        raise CohortError(
            "An interval needs a level between 0 and 1 and at least one resample, got "
            f"level {level} and {num_resamples} resamples."
        )
    return errors_S, words_S


def _counts(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """One number per speaker, checked."""
    values_S = np.asarray(values, dtype=np.float64)
    if values_S.ndim != 1:
        raise CohortError(
            f"The {name} must be one number per speaker, got an array of shape {values_S.shape}."
        )
    if not np.isfinite(values_S).all() or (values_S < 0).any():
        raise CohortError(f"The {name} of each speaker must be finite and not negative.")
    return values_S
