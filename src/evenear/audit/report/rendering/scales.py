# SPDX-License-Identifier: Apache-2.0
"""Where numbers lie on the page: places along an axis, in percent of its width.

Gaps are drawn on a logarithmic axis of error ratios: half the errors and twice the errors lie
equally far from no gap, and the intervals, which are symmetric there, look it. Rates are drawn on a
plain axis from zero.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Scale", "Tick", "difference_scale", "gap_scale", "rate_scale"]

_RATIOS = (
    0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.6, 0.75, 0.8, 0.9,
    1.0, 1.1, 1.25, 1.5, 1.75, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0,
)  # fmt: skip
_NEAREST = 0.15
"""Ticks are at least this share of the axis apart, so that their labels fit on a phone."""
_WIDEST = math.log(60.0)


@dataclass(frozen=True)
class Tick:
    """A number on an axis and its place."""

    value: float
    place: float


@dataclass(frozen=True)
class Scale:
    """An axis from `low` to `high`, in the units of `ratio` (logarithms) or of the number."""

    low: float
    high: float
    logarithmic: bool
    ticks: tuple[Tick, ...] = ()

    def place(self, value: float) -> float:
        """Percent of the axis to the left of a value; values beyond it lie at its ends."""
        if self.logarithmic:
            value = math.log1p(value) if value > -1.0 else -math.inf
        share = (value - self.low) / (self.high - self.low)
        return round(100.0 * min(1.0, max(0.0, share)), 2)

    def holds(self, value: float) -> bool:
        """Whether a value lies on the axis rather than beyond its ends."""
        if self.logarithmic:
            value = math.log1p(value) if value > -1.0 else -math.inf
        return self.low - 1e-9 <= value <= self.high + 1e-9


def gap_scale(gaps: Iterable[float | None]) -> Scale:
    """An axis for relative gaps and their bounds, with no gap in sight."""
    logs = [math.log1p(gap) for gap in gaps if gap is not None and -1.0 < gap < math.inf]
    low = max(min([*logs, -math.log(1.3)]), -_WIDEST)
    high = min(max([*logs, math.log(1.3)]), _WIDEST)
    margin = 0.04 * (high - low)
    low, high = low - margin, high + margin
    scale = Scale(low, high, logarithmic=True)
    inside = [ratio for ratio in _RATIOS if low <= math.log(ratio) <= high]
    ratios = _thinned(inside, _NEAREST * (high - low))
    return Scale(low, high, True, _ticks(scale, [ratio - 1.0 for ratio in ratios]))


def rate_scale(rates: Iterable[float | None]) -> Scale:
    """An axis for word error rates, from zero."""
    high = 1.04 * max([0.01, *(rate for rate in rates if rate is not None and rate < math.inf)])
    step = _nice_step(high / 5.0)
    steps = range(int(high / step) + 1)
    return Scale(0.0, high, False, _ticks(Scale(0.0, high, False), [k * step for k in steps]))


def difference_scale(differences: Iterable[float | None]) -> Scale:
    """A plain axis for differences of rates, with zero in its middle part."""
    known = [abs(one) for one in differences if one is not None and math.isfinite(one)]
    reach = 1.04 * max([0.005, *known])
    step = _nice_step(reach / 2.0)
    steps = range(-int(reach / step), int(reach / step) + 1)
    return Scale(
        -reach, reach, False, _ticks(Scale(-reach, reach, False), [k * step for k in steps])
    )


def _ticks(scale: Scale, values: Sequence[float]) -> tuple[Tick, ...]:
    return tuple(Tick(value, scale.place(value)) for value in values)


def _thinned(ratios: list[float], nearest: float) -> list[float]:
    """The ratios that leave room for their labels, going outward from 1, which always stays."""
    kept = [1.0]
    for ratio in sorted(ratios, key=lambda one: abs(math.log(one))):
        if all(abs(math.log(ratio / other)) >= nearest for other in kept):
            kept.append(ratio)
    return sorted(kept)


def _nice_step(step: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(nice * power for nice in (1.0, 2.0, 2.5, 5.0, 10.0) if nice * power >= step * 0.999)
