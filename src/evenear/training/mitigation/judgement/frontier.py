# SPDX-License-Identifier: Apache-2.0
"""The frontier of a repair as an SVG drawing: everyone's errors against those of the cohort.

Down and to the left is better for both. A point to the left of and below another dominates it;
the line joins the points that none dominates. Numbers stand in a table beside the drawing.
"""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

__all__ = ["Mark", "draw_frontier", "undominated"]

_WIDTH, _HEIGHT = 720.0, 420.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 120.0, 16.0, 48.0
_STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


class Mark(NamedTuple):
    """One model on the plane."""

    label: str
    overall: float
    cohort: float
    kind: str = "own"
    """"before", "chosen", or "own" for any other."""


class _Axis(NamedTuple):
    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> list[float]:
        step = next((s for s in _STEPS if (self.high - self.low) / s <= 6.5), _STEPS[-1])
        first = -int(-self.low // step)
        return [k * step for k in range(first, int(self.high / step) + 1)]


def undominated(marks: Sequence[Mark]) -> list[Mark]:
    """The marks that no other beats on one axis without losing on the other, by overall errors."""
    best = [
        one
        for one in marks
        if not any(
            other.overall <= one.overall
            and other.cohort <= one.cohort
            and (other.overall, other.cohort) != (one.overall, one.cohort)
            for other in marks
        )
    ]
    return sorted(best, key=lambda one: one.overall)


def draw_frontier(marks: Sequence[Mark], *, x_label: str, y_label: str, caption: str = "") -> str:
    """Draw marks; whatever text they bring is escaped.

    Args:
        marks: What to draw, one at least.
        x_label: What lies along the horizontal axis.
        y_label: What lies along the vertical axis.
        caption: Written into the drawing, where it must never be parted from it.
    """
    x = _axis([one.overall for one in marks], _LEFT, _WIDTH - _RIGHT)
    y = _axis([one.cohort for one in marks], _HEIGHT - _BOTTOM, _TOP)
    body = _grid(x, y)
    line = [f"{x.at(one.overall)} {y.at(one.cohort)}" for one in undominated(marks)]
    body += f'<path class="front" d="M{"L".join(line)}"/>'
    for one in sorted(marks, key=lambda mark: mark.kind != "own"):
        body += (
            f'<circle class="{escape(one.kind)}" cx="{x.at(one.overall)}" '
            f'cy="{y.at(one.cohort)}" r="{5 if one.kind == "own" else 7}"/>'
            f'<text x="{x.at(one.overall) + 10}" y="{y.at(one.cohort)}" dy="4">'
            f"{escape(one.label)}</text>"
        )
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    body += f'<text class="name" x="{middle}" y="{_HEIGHT - 8}">{escape(x_label)}</text>'
    turned = f"rotate(-90 14 {_HEIGHT / 2})"
    body += (
        f'<text class="name" x="14" y="{_HEIGHT / 2}" transform="{turned}">{escape(y_label)}</text>'
    )
    if caption:
        body += f'<text class="caption" x="{_LEFT + 8}" y="{_TOP + 14}">{escape(caption)}</text>'
    return (
        f'<svg class="frontier" viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" role="img" '
        f'aria-label="{escape(y_label)} against {escape(x_label)}">{body}</svg>'
    )


def _axis(values: Sequence[float], start: float, end: float) -> _Axis:
    low, high = min(values), max(values)
    margin = max(0.08 * (high - low), 0.002)
    return _Axis(low - margin, high + margin, start, end)


def _grid(x: _Axis, y: _Axis) -> str:
    body = ""
    for value in x.ticks():
        at = x.at(value)
        body += f'<path class="grid" d="M{at} {_TOP:.0f}V{_HEIGHT - _BOTTOM:.0f}"/>'
        body += f'<text class="x" x="{at}" y="{_HEIGHT - _BOTTOM + 16}">{_percent(value)}</text>'
    for value in y.ticks():
        at = y.at(value)
        body += f'<path class="grid" d="M{_LEFT:.0f} {at}H{_WIDTH - _RIGHT:.0f}"/>'
        body += f'<text class="y" x="{_LEFT - 6}" y="{at}" dy="4">{_percent(value)}</text>'
    return body


def _percent(value: float) -> str:
    return f"{100 * value:.1f}".removesuffix(".0")
