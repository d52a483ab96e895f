# SPDX-License-Identifier: Apache-2.0
"""How sure a pooled word error rate is: an interval that resamples speakers.

Errors of one speaker go together, so utterances are not independent and resampling them gives
intervals that are far too narrow. Here whole speakers are drawn with replacement, and the interval
is the symmetric studentized one on the logarithm of the rate: it is the interval of an audit
(`bootstrap`), so that the same rows, seed and number of draws have the same interval everywhere.

Legend: S speakers.

Source: see `bootstrap`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evenear.errors import CohortError
from evenear.metrics.bootstrap import Contrast, contrast_intervals

__all__ = ["Interval", "pooled_wer_interval"]


@dataclass(frozen=True)
class Interval:
    """A pooled rate and the range in which it lies with some confidence.

    `rate` is None where there are no words. `low` and `high` are None where nothing can be said:
    no words, no errors, or fewer than two speakers, because one speaker shows nothing of how
    speakers differ.
    """

    rate: float | None
    low: float | None
    high: float | None


def pooled_wer_interval(
    errors_by_speaker: ArrayLike,
    words_by_speaker: ArrayLike,
    *,
    rng: np.random.Generator,
    num_resamples: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Pooled word error rate with a studentized bootstrap interval over speakers.

        rate = sum of errors / sum of words

    Args:
        errors_by_speaker: Word errors of each speaker.
        words_by_speaker: Reference words of each speaker, in the same order.
        rng: Where the draws come from.
        num_resamples: How often speakers are drawn anew.
        level: Part of all samples of speakers whose interval should hold the true rate.

    Returns:
        An `Interval`; without `low` and `high` for fewer than two speakers, or without errors.

    Raises:
        CohortError: The two differ in length, or hold negative or infinite numbers, or
            `num_resamples` or `level` is out of range.
    """
    errors_S, words_S = _checked(errors_by_speaker, words_by_speaker, num_resamples, level)
    total_words = float(words_S.sum())
    if total_words == 0:
        return Interval(None, None, None)
    rate = float(errors_S.sum()) / total_words
    spoke_S = words_S > 0
    contrast = Contrast.of((1.0, (errors_S[spoke_S], words_S[spoke_S])))
    found = contrast_intervals([contrast], rng, num_resamples=num_resamples, level=level)
    _, low, high = found.ratio(0)
    return Interval(rate, low, high)


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
