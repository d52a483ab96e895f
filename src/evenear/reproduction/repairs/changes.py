# SPDX-License-Identifier: Apache-2.0
"""What became of groups of speakers, with intervals that draw speakers once for all models.

Every number is a function of the pooled word error rates of a few groups; speakers are drawn with
replacement, the same draw for all models, and percentiles of the draws make its interval. Of
several seeds the mean counts, and each draw also draws seeds with replacement: an interval then
holds both whom one happened to test on and what another seed would have made.

Rates of groups differ by chance, too: what is expected of that is taken out of their variance
(Lum, Zhang and Bower 2022, "De-biasing 'bias' measurement").

Legend: R resamples, S speakers, G groups, K seeds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evenear.audit import Table
from evenear.metrics.bootstrap import resample_speakers
from evenear.reproduction.claims import Judgement
from evenear.reproduction.statistics import Estimate
from evenear.seeding import rng_for

__all__ = ["Groups", "Sampled", "judged", "pooled"]

_RESAMPLES = 2000


@dataclass(frozen=True)
class Sampled:
    """A number, and what it is on each draw of speakers; NaN on draws that do not have it."""

    value: float
    drawn_R: np.ndarray

    @property
    def estimate(self) -> Estimate:
        """The number and its interval, which is unknown if half of the draws do not have it."""
        known_R = self.drawn_R[np.isfinite(self.drawn_R)]
        if len(known_R) < len(self.drawn_R) / 2 or not np.isfinite(self.value):
            return Estimate(self.value, None, None)
        low, high = np.quantile(known_R, [0.025, 0.975])
        return Estimate(self.value, float(low), float(high))


def pooled(seeds: Sequence[Sampled], *, seed: int = 0) -> Sampled:
    """The mean over seeds; each draw of speakers also draws as many seeds, with replacement."""
    drawn_KR = np.stack([one.drawn_R for one in seeds])
    count, size = drawn_KR.shape
    chosen_KR = rng_for(seed, "seeds of repairs").integers(count, size=(count, size))
    drawn_R = np.take_along_axis(drawn_KR, chosen_KR, axis=0).mean(axis=0)
    return Sampled(float(np.mean([one.value for one in seeds])), drawn_R)


class Groups:
    """Errors of the same speakers under one or more models, by group.

    Args:
        tables: Results of each model on the same utterances.
        groups: The speakers of each group; a speaker may be in several.
        seed: Decides the draws.
        num_resamples: How many there are.
    """

    def __init__(
        self,
        tables: Sequence[Table],
        groups: Mapping[str, Sequence[str]],
        *,
        seed: int = 0,
        num_resamples: int = _RESAMPLES,
    ) -> None:
        names = tables[0].speakers["speaker"].to_list()
        self.names = tuple(groups)
        self._inside_SG = np.array(
            [[speaker in set(groups[g]) for g in groups] for speaker in names], dtype=np.float64
        )
        self._words_S = tables[0].speakers["words"].to_numpy().astype(np.float64)
        self._errors = [table.speakers["errors"].to_numpy().astype(np.float64) for table in tables]
        self._seed, self._num_resamples = seed, num_resamples

    def rates(self, model: int) -> dict[str, float]:
        """Word error rate of each group under one model; NaN for a group of nobody."""
        ones_S = np.ones((1, len(self._words_S)))
        return dict(zip(self.names, self._rates(ones_S)[model][0].tolist(), strict=True))

    def sample(self, statistic: Callable[[list[np.ndarray]], np.ndarray]) -> Sampled:
        """A number, and its draws.

        Args:
            statistic: From the rates (R, G) of each model to a number for each draw, (R,).
        """
        return self._sampled(lambda counts_RS: statistic(self._rates(counts_RS)))

    def estimate(self, statistic: Callable[[list[np.ndarray]], np.ndarray]) -> Estimate:
        """A number with its interval; the statistic as for `sample`."""
        return self.sample(statistic).estimate

    def change(self, group: str) -> Sampled:
        """Relative change of a group's errors from the first model to the second."""
        g = self.names.index(group)

        def relative(rates: list[np.ndarray]) -> np.ndarray:
            with np.errstate(divide="ignore", invalid="ignore"):  # such draws are left out
                return rates[1][:, g] / rates[0][:, g] - 1.0

        return self.sample(relative)

    def variance_change(self, groups: Sequence[str]) -> Sampled:
        """Variance of the rates of some groups, less what chance adds to it: after less before."""
        places = [self.names.index(group) for group in groups]
        share = 1.0 - 1.0 / len(places)  # of the mean squared error, chance adds so much

        def corrected(counts_RS: np.ndarray) -> np.ndarray:
            before_R, after_R = (
                rates_RG[:, places].var(axis=1) - share * noise_RG[:, places].mean(axis=1)
                for rates_RG, noise_RG in zip(
                    self._rates(counts_RS)[:2], self._noise(counts_RS)[:2], strict=True
                )
            )
            return after_R - before_R

        return self._sampled(corrected)

    def _sampled(self, statistic: Callable[[np.ndarray], np.ndarray]) -> Sampled:
        size = len(self._words_S)
        rng = rng_for(self._seed, "repairs")
        drawn = [statistic(counts) for counts in resample_speakers(size, self._num_resamples, rng)]
        return Sampled(float(statistic(np.ones((1, size)))[0]), np.concatenate(drawn))

    def _noise(self, counts_RS: np.ndarray) -> list[np.ndarray]:
        """Squared standard errors (R, G) of the rates: a ratio of sums over speakers."""
        words_RG = counts_RS @ (self._inside_SG * self._words_S[:, None])
        speakers_RG = counts_RS @ self._inside_SG
        found = []
        for errors_S, rates_RG in zip(self._errors, self._rates(counts_RS), strict=True):
            squares = (errors_S**2, errors_S * self._words_S, self._words_S**2)
            a_RG, b_RG, c_RG = (counts_RS @ (self._inside_SG * each[:, None]) for each in squares)
            residuals_RG = a_RG - 2.0 * rates_RG * b_RG + rates_RG**2 * c_RG
            with np.errstate(divide="ignore", invalid="ignore"):
                spread_RG = speakers_RG / (speakers_RG - 1.0)
                found.append(residuals_RG * spread_RG / words_RG**2)
        return found

    def _rates(self, counts_RS: np.ndarray) -> list[np.ndarray]:
        words_RG = counts_RS @ (self._inside_SG * self._words_S[:, None])
        with np.errstate(divide="ignore", invalid="ignore"):
            return [
                counts_RS @ (self._inside_SG * errors_S[:, None]) / words_RG
                for errors_S in self._errors
            ]


def judged(estimate: Estimate | None, *, below: float = 0.0) -> Judgement:
    """Whether a number is surely below a bound, surely above it, or neither."""
    if estimate is None:
        return "not measured"
    if estimate.low is None or estimate.high is None:
        return "cannot tell"
    if estimate.high <= below:
        return "holds"
    return "does not hold" if estimate.low > below else "cannot tell"
