# SPDX-License-Identifier: Apache-2.0
"""How speakers scatter around a rate, as far as all of them show it.

A cohort's own scatter says little where few of its speakers carry it: one who says half of all
words, or ten among whom nobody happens to be one of the few that a recognizer loses. Then what is
seen is mostly too small. All speakers of a comparison show more, under a model in which they
scatter alike, in relation to their rate r:

    variance of errors_s = kappa2 * (r * w_s) ** 2 + r * w_s

(speakers differ by the squared coefficient of variation kappa2, and a speaker's errors are at least
as uncertain as a Poisson count). The model gives each contrast of log rates a variance v0, which is
averaged with that of its own scatter, v, by what both are worth in degrees of freedom:

    moderated = (d0 * v0 + d * v) / (d0 + d),    reach = t(level, d0 + d) * sqrt(moderated)

With m_s what speaker s adds to v0, and k the kurtosis of all speakers under the model,

    d = 2 * (sum_s m_s) ** 2 / ((k - 1) * sum_s m_s ** 2).

This is the least reach of an interval; where speakers are many and alike it changes little.

Legend: S speakers, K contrasts, T terms of a contrast.

Source: G. Smyth, "Linear models and empirical Bayes methods for assessing differential expression
in microarray experiments", 2004 (variances moderated by degrees of freedom); R. Bell and
D. McCaffrey, "Bias reduction in standard errors for linear regression with multi-stage samples",
2002 (degrees of freedom under a working model). The model, the fixed d0, and taking the wider of
two intervals are our reading; `benchmarks/audit_planted.py` measures what they do.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["FREEDOM", "Scatter"]

FREEDOM = 10.0
"""d0, the degrees of freedom that all speakers together are worth."""


class Scatter(NamedTuple):
    """The model's variance of each of K contrasts, and how much it counts."""

    variance_K: np.ndarray
    share_K: np.ndarray
    """d0 / (d0 + d); 0 where all speakers say nothing."""

    @classmethod
    def of(
        cls, contrasts: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], freedom: float
    ) -> "Scatter":
        """Fit the model to all speakers of each contrast.

        Args:
            contrasts: Errors and words of each speaker in each term, both (S, T), and the signs of
                the terms, (T,).
            freedom: d0.
        """
        found_K2 = np.array([_fit(*contrast, freedom) for contrast in contrasts])
        return cls(*found_K2.reshape(-1, 2).T)

    def reach(self, errors_K: np.ndarray, level: float, freedom: float) -> np.ndarray:
        """Half the width of each moderated interval, from the contrasts' own standard errors."""
        from scipy.special import stdtrit  # of the audit alone: recognizing speech does without

        moderated_K = self.share_K * self.variance_K + (1.0 - self.share_K) * errors_K**2
        known_K = self.share_K > 0.0
        freedom_K = freedom / np.where(known_K, self.share_K, 1.0)
        quantile_K = stdtrit(freedom_K, (1.0 + level) / 2.0)
        return np.where(known_K, quantile_K * np.sqrt(moderated_K), 0.0)


def _fit(
    errors_ST: np.ndarray, words_ST: np.ndarray, signs_T: np.ndarray, freedom: float
) -> tuple[float, float]:
    """The model's variance of one contrast, and its share."""
    errors_T, words_T = errors_ST.sum(axis=0), words_ST.sum(axis=0)
    if not (errors_T > 0).all():
        return 0.0, 0.0
    expected_ST = errors_T / words_T * words_ST
    heard = words_ST > 0
    residuals, expected = (errors_ST - expected_ST)[heard], expected_ST[heard]
    if len(residuals) < 4:
        return 0.0, 0.0
    weights = np.minimum(expected, expected.mean())
    excess = (residuals / expected) ** 2 - 1.0 / expected
    kappa2 = max(0.0, float((weights * excess).sum() / weights.sum()))
    squares = residuals**2 / (kappa2 * expected**2 + expected)
    if not squares.any():
        return 0.0, 0.0
    kurtosis = max(3.0, float((squares**2).mean() / squares.mean() ** 2))
    parts_ST = words_ST / words_T
    model_S = kappa2 * (signs_T * parts_ST).sum(axis=1) ** 2 + (parts_ST / errors_T).sum(axis=1)
    variance = float(model_S.sum())
    own = 2.0 * variance**2 / ((kurtosis - 1.0) * float((model_S**2).sum()))
    return variance, freedom / (freedom + own)
