# SPDX-License-Identifier: Apache-2.0
"""Error rates adjusted for what else differs: Poisson regression with a random effect per speaker.

    errors_j ~ Poisson(words_j * exp(x_j' beta + sigma * v_s)),    v_s ~ Normal(0, 1)

for utterance j of speaker s. exp(beta) is the ratio of error rates between two values of a column
with every other column held fixed; sigma says how much speakers differ beyond that.

A speaker's likelihood is a one-dimensional integral that needs only two sums over the speaker's
utterances, so a million utterances cost little more than their speakers. It is taken by adaptive
Gauss-Hermite quadrature around each speaker's mode; gradient and Hessian are exact up to the
quadrature (Louis' identity), and the maximum is found by a trust-region Newton method.

Two covariances come with the estimate: that of the model, and a sandwich over speakers, which
stays honest where utterances scatter more than Poisson (burst errors, skipped sentences).

Legend: N utterances (or sums over alike ones), P columns, S speakers, Q quadrature nodes.

Source: Z. Liu, I.-E. Veliche and F. Peng, "Model-based approach for measuring the fairness in ASR",
2022, https://arxiv.org/abs/2109.09061 (the model); D. Bates et al., "Fitting linear mixed-effects
models using lme4", 2015 (adaptive quadrature; our oracle); T. Louis, "Finding the observed
information matrix when using the EM algorithm", 1982.
Departs from the paper: sandwich covariance; quadrature in the place of Laplace's approximation.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import gammaln, stdtrit

from evenear.errors import CohortError

__all__ = ["MixedPoisson", "fit_mixed_poisson"]


@dataclass(frozen=True, eq=False)
class MixedPoisson:
    """A fitted model. Covariances are of (beta, sigma), or of beta alone where sigma is 0."""

    coefficients_P: np.ndarray
    sigma: float
    covariance: np.ndarray
    robust_covariance: np.ndarray
    log_likelihood: float
    num_speakers: int

    def ratio(
        self, contrast_P: np.ndarray, *, level: float = 0.95, robust: bool = True
    ) -> tuple[float, float, float]:
        """Exponential of a combination of coefficients, with its interval: estimate, low, high.

        Args:
            contrast_P: The combination; (0, 1, 0) is the second column alone.
            level: Coverage of the interval.
            robust: Take the sandwich covariance, not that of the model.
        """
        covariance = self.robust_covariance if robust else self.covariance
        width = len(self.coefficients_P)
        middle = float(contrast_P @ self.coefficients_P)
        variance = float(contrast_P @ covariance[:width, :width] @ contrast_P)
        freedom = max(self.num_speakers - width, 1)
        reach = float(stdtrit(freedom, (1.0 + level) / 2.0)) * math.sqrt(max(variance, 0.0))
        return math.exp(middle), math.exp(middle - reach), math.exp(middle + reach)


def fit_mixed_poisson(
    errors_N: np.ndarray,
    words_N: np.ndarray,
    columns_NP: np.ndarray,
    speakers_N: np.ndarray,
    *,
    num_nodes: int = 15,
) -> MixedPoisson:
    """Fit the model by maximum likelihood.

    Args:
        errors_N: Word errors.
        words_N: Reference words, more than 0.
        columns_NP: The design, with a column of ones for the intercept.
        speakers_N: Whole numbers from 0, the speaker of each row.
        num_nodes: Q; 15 gives 6 digits and more on word error counts.

    Raises:
        CohortError: Columns say the same thing, or there are too few rows for them, or the fit
            does not converge.
    """
    if np.linalg.matrix_rank(columns_NP) < columns_NP.shape[1]:
        raise CohortError(
            "Adjusting needs columns that do not determine each other, and enough utterances.",
            hint="Leave out a column, or one that is the same for every utterance.",
        )
    problem = _Problem.of(errors_N, words_N, columns_NP, speakers_N, num_nodes)
    fixed_P = _poisson_start(problem)
    if problem.excess(fixed_P) <= 0.0:
        return _finish(problem, fixed_P, 0.0)
    start = np.append(fixed_P, 0.5)
    found = minimize(
        lambda p: -problem.evaluate(p).value,
        start,
        jac=lambda p: -problem.evaluate(p).gradient,
        hess=lambda p: -problem.evaluate(p).hessian,
        method="trust-exact",
        options={"gtol": 1e-6 * max(1.0, float(errors_N.sum())) ** 0.5, "maxiter": 200},
    )
    if not np.all(np.isfinite(found.x)):
        raise CohortError("The adjustment did not converge.", hint="Adjust for fewer columns.")
    return _finish(problem, found.x[:-1], abs(float(found.x[-1])))


class _Evaluation(NamedTuple):
    value: float
    gradient: np.ndarray
    hessian: np.ndarray
    scores: np.ndarray


@dataclass(eq=False)
class _Problem:
    """The data, and the log-likelihood with its derivatives at any point."""

    errors_N: np.ndarray
    log_words_N: np.ndarray
    columns_NP: np.ndarray
    speakers_N: np.ndarray
    num_speakers: int
    nodes_Q: np.ndarray
    log_weights_Q: np.ndarray
    errors_S: np.ndarray
    constant: float
    _last: tuple[bytes, _Evaluation] | None = None

    @classmethod
    def of(
        cls,
        errors_N: np.ndarray,
        words_N: np.ndarray,
        columns_NP: np.ndarray,
        speakers_N: np.ndarray,
        num_nodes: int,
    ) -> "_Problem":
        nodes_Q, weights_Q = np.polynomial.hermite.hermgauss(num_nodes)
        errors_N = errors_N.astype(np.float64)
        num_speakers = int(speakers_N.max()) + 1
        return cls(
            errors_N,
            np.log(words_N.astype(np.float64)),
            columns_NP.astype(np.float64),
            speakers_N,
            num_speakers,
            math.sqrt(2.0) * nodes_Q,
            np.log(weights_Q) + nodes_Q**2 + 0.5 * math.log(2.0),
            np.bincount(speakers_N, weights=errors_N, minlength=num_speakers),
            float(-gammaln(errors_N + 1.0).sum()),
        )

    def sums(self, values_N: np.ndarray) -> np.ndarray:
        """Sums over each speaker."""
        return np.bincount(self.speakers_N, weights=values_N, minlength=self.num_speakers)

    def column_sums(self, values_N: np.ndarray) -> np.ndarray:
        """Sums over each speaker of every column times a value, (S, P)."""
        return np.stack([self.sums(values_N * column_N) for column_N in self.columns_NP.T], axis=1)

    def excess(self, fixed_P: np.ndarray) -> float:
        """Curvature of the log-likelihood at sigma = 0: positive if speakers differ."""
        expected_S = self.sums(np.exp(self.columns_NP @ fixed_P + self.log_words_N))
        return float(((self.errors_S - expected_S) ** 2 - expected_S).sum())

    def evaluate(self, point: np.ndarray) -> _Evaluation:
        """Log-likelihood, gradient, Hessian and scores of each speaker at (beta, sigma)."""
        key = point.tobytes()
        if self._last is None or self._last[0] != key:
            self._last = (key, self._evaluate(point[:-1], float(point[-1])))
        return self._last[1]

    def _evaluate(self, fixed_P: np.ndarray, sigma: float) -> _Evaluation:
        linear_N = self.columns_NP @ fixed_P + self.log_words_N
        rate_N = np.exp(np.minimum(linear_N, 500.0))
        expected_S = self.sums(rate_N)
        value_S, weights_SQ, effects_SQ = self._posterior(expected_S, sigma)
        factor_SQ = np.exp(sigma * effects_SQ)
        slope_SQ = effects_SQ * (self.errors_S[:, None] - expected_S[:, None] * factor_SQ)

        def mean(values_SQ: np.ndarray) -> np.ndarray:
            return (weights_SQ * values_SQ).sum(axis=1)

        factor_S, slope_S = mean(factor_SQ), mean(slope_SQ)
        spread_S = mean(factor_SQ**2) - factor_S**2
        cross_S = mean(effects_SQ * factor_SQ) + mean(factor_SQ * slope_SQ) - factor_S * slope_S
        bend_S = mean(slope_SQ**2) - slope_S**2 - expected_S * mean(effects_SQ**2 * factor_SQ)
        pulls_SP = self.column_sums(rate_N)
        scores_SP = self.column_sums(self.errors_N) - pulls_SP * factor_S[:, None]
        weighted_NP = self.columns_NP * (rate_N * factor_S[self.speakers_N])[:, None]
        size = len(fixed_P) + 1
        hessian = np.empty((size, size))
        hessian[:-1, :-1] = (pulls_SP.T * spread_S) @ pulls_SP - self.columns_NP.T @ weighted_NP
        hessian[:-1, -1] = hessian[-1, :-1] = -(pulls_SP * cross_S[:, None]).sum(axis=0)
        hessian[-1, -1] = bend_S.sum()
        scores = np.column_stack([scores_SP, slope_S])
        value = float(value_S.sum() + self.errors_N @ linear_N) + self.constant
        return _Evaluation(value, scores.sum(axis=0), hessian, scores)

    def _posterior(
        self, expected_S: np.ndarray, sigma: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Log of each speaker's integral, and nodes of v with their posterior weights."""
        mode_S, width_S = self._modes(expected_S, sigma)
        effects_SQ = mode_S[:, None] + width_S[:, None] * self.nodes_Q
        log_joint_SQ = (
            self.errors_S[:, None] * sigma * effects_SQ
            - expected_S[:, None] * np.exp(np.minimum(sigma * effects_SQ, 500.0))
            - 0.5 * effects_SQ**2
            - 0.5 * math.log(2.0 * math.pi)
        )
        log_terms_SQ = log_joint_SQ + self.log_weights_Q + np.log(width_S)[:, None]
        peak_S = log_terms_SQ.max(axis=1)
        value_S = peak_S + np.log(np.exp(log_terms_SQ - peak_S[:, None]).sum(axis=1))
        return value_S, np.exp(log_terms_SQ - value_S[:, None]), effects_SQ

    def _modes(self, expected_S: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
        """Where each integrand peaks and how wide it is, by Newton steps on a concave function."""
        mode_S = np.zeros_like(expected_S)
        for _ in range(100):
            factor_S = expected_S * np.exp(np.minimum(sigma * mode_S, 500.0))
            slope_S = sigma * (self.errors_S - factor_S) - mode_S
            curve_S = sigma**2 * factor_S + 1.0
            step_S = np.clip(slope_S / curve_S, -2.0, 2.0)
            mode_S = mode_S + step_S
            if np.abs(step_S).max(initial=0.0) < 1e-10:
                break
        factor_S = expected_S * np.exp(np.minimum(sigma * mode_S, 500.0))
        return mode_S, 1.0 / np.sqrt(sigma**2 * factor_S + 1.0)


def _poisson_start(problem: _Problem) -> np.ndarray:
    """Coefficients without speaker effects, by iterated weighted least squares."""
    columns_NP, log_words_N = problem.columns_NP, problem.log_words_N
    rate_N = problem.errors_N + 0.1
    fixed_P = np.zeros(columns_NP.shape[1])
    for _ in range(100):
        linear_N = np.log(rate_N) - log_words_N
        target_N = linear_N + (problem.errors_N - rate_N) / rate_N
        weighted_NP = columns_NP * rate_N[:, None]
        new_P = np.linalg.solve(columns_NP.T @ weighted_NP, weighted_NP.T @ target_N)
        moved = np.abs(new_P - fixed_P).max()
        fixed_P = new_P
        rate_N = np.exp(np.clip(columns_NP @ fixed_P + log_words_N, -30.0, 30.0))
        if moved < 1e-10:
            break
    return fixed_P


def _finish(problem: _Problem, fixed_P: np.ndarray, sigma: float) -> MixedPoisson:
    found = problem.evaluate(np.append(fixed_P, sigma))
    size = len(fixed_P) if sigma == 0.0 else len(fixed_P) + 1
    information = -found.hessian[:size, :size]
    scores = found.scores[:, :size]
    if not np.isfinite(information).all() or np.linalg.cond(information) > 1e14:
        raise CohortError(
            "The adjustment did not converge: some value of a column has no errors at all, or "
            "columns nearly determine each other.",
            hint="Adjust for fewer columns.",
        )
    covariance = np.linalg.inv(information)
    num_speakers = problem.num_speakers
    middle = scores.T @ scores * num_speakers / max(num_speakers - 1, 1)
    return MixedPoisson(
        coefficients_P=fixed_P,
        sigma=sigma,
        covariance=covariance,
        robust_covariance=covariance @ middle @ covariance,
        log_likelihood=found.value,
        num_speakers=num_speakers,
    )
