# SPDX-License-Identifier: Apache-2.0
"""What became of groups of speakers, with intervals that draw speakers once for before and after.

Every number is a function of the pooled word error rates of a few groups; speakers are drawn with
replacement, the same draw for both models, and percentiles of the draws make its interval.

Legend: R resamples, S speakers, G groups.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from evenear.audit import Table
from evenear.metrics.bootstrap import resample_speakers
from evenear.reproduction.claims import Judgement
from evenear.reproduction.statistics import Estimate
from evenear.seeding import rng_for

__all__ = ["Groups", "judged"]

_RESAMPLES = 2000


class Groups:
    """Errors of the same speakers under one or more models, by group.

    Args:
        tables: Results of each model on the same utterances.
        groups: The speakers of each group; a speaker may be in several.
        seed: Decides the draws.
    """

    def __init__(
        self, tables: Sequence[Table], groups: Mapping[str, Sequence[str]], *, seed: int = 0
    ) -> None:
        names = tables[0].speakers["speaker"].to_list()
        self.names = tuple(groups)
        self._inside_SG = np.array(
            [[speaker in set(groups[g]) for g in groups] for speaker in names], dtype=np.float64
        )
        self._words_S = tables[0].speakers["words"].to_numpy().astype(np.float64)
        self._errors = [table.speakers["errors"].to_numpy().astype(np.float64) for table in tables]
        self._seed = seed

    def rates(self, model: int) -> dict[str, float]:
        """Word error rate of each group under one model; NaN for a group of nobody."""
        ones_S = np.ones((1, len(self._words_S)))
        return dict(zip(self.names, self._rates(ones_S)[model][0].tolist(), strict=True))

    def estimate(self, statistic: Callable[[list[np.ndarray]], np.ndarray]) -> Estimate:
        """A number with its interval.

        Args:
            statistic: From the rates (R, G) of each model to a number for each draw, (R,).
        """
        size = len(self._words_S)
        value = float(statistic(self._rates(np.ones((1, size))))[0])
        rng = rng_for(self._seed, "repairs")
        draws = [
            statistic(self._rates(counts_RS))
            for counts_RS in resample_speakers(size, _RESAMPLES, rng)
        ]
        drawn_R = np.concatenate(draws)
        drawn_R = drawn_R[np.isfinite(drawn_R)]
        if len(drawn_R) < _RESAMPLES // 2 or not np.isfinite(value):
            return Estimate(value, None, None)
        low, high = np.quantile(drawn_R, [0.025, 0.975])
        return Estimate(value, float(low), float(high))

    def change(self, group: str) -> Estimate:
        """Relative change of a group's errors from the first model to the second."""
        g = self.names.index(group)

        def relative(rates: list[np.ndarray]) -> np.ndarray:
            with np.errstate(divide="ignore", invalid="ignore"):  # such draws are left out
                return rates[1][:, g] / rates[0][:, g] - 1.0

        return self.estimate(relative)

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
