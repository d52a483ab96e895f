# SPDX-License-Identifier: Apache-2.0
"""Training curves as small SVG drawings, one for each variant, all on the same axes.

Word error rate on held-out speakers falls to the right; the reference's curves lie behind in gray,
so that each drawing is a comparison.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from evenear.reproduction.results import REFERENCE, Curve, Variant

__all__ = ["Panel", "panels"]

_WIDTH, _HEIGHT = 320.0, 190.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 40.0, 8.0, 8.0, 24.0


@dataclass(frozen=True)
class Panel:
    """One drawing."""

    title: str
    svg: str
    """Made of numbers only: safe to put into a page as it is."""


@dataclass(frozen=True)
class _Axes:
    last: float
    high: float

    def at(self, update: float, wer: float) -> str:
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * update / self.last
        y = _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1.0 - min(wer, self.high) / self.high)
        return f"{x:.1f} {y:.1f}"


def panels(variants: Sequence[Variant]) -> list[Panel]:
    """A drawing for each variant that was evaluated while it trained."""
    points = [
        (update, wer)
        for variant in variants
        for curve in variant.curves
        for update, wer in _points(curve)
    ]
    if not points:
        return []
    high = min(1.2, max(0.1, *(wer for _, wer in points)))
    axes = _Axes(last=max(1.0, *(float(update) for update, _ in points)), high=high)
    behind = next((v.curves for v in variants if v.name == REFERENCE), ())
    return [_panel(variant, behind, axes) for variant in variants]


def _panel(variant: Variant, behind: Sequence[Curve], axes: _Axes) -> Panel:
    body = _grid(axes)
    if variant.name != REFERENCE:
        body += "".join(_line(curve, "behind", axes) for curve in behind)
    body += "".join(_line(curve, "own", axes) for curve in variant.curves)
    svg = (
        f'<svg class="curve" viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" role="img" '
        f'aria-label="Word error rate on held-out speakers by update">{body}</svg>'
    )
    return Panel(variant.label, svg)


def _grid(axes: _Axes) -> str:
    step = next(s for s in (0.02, 0.05, 0.1, 0.2, 0.5) if axes.high / s <= 6.5)
    body = ""
    for k in range(int(axes.high / step) + 1):
        _, y = axes.at(0.0, k * step).split()
        body += f'<path class="grid" d="M{_LEFT:.0f} {y}H{_WIDTH - _RIGHT:.0f}"/>'
        body += f'<text x="{_LEFT - 5:.0f}" y="{y}" dy="4" class="y">{100 * k * step:.0f}</text>'
    base = f"{_HEIGHT - 6:.0f}"
    body += f'<text x="{_LEFT:.0f}" y="{base}">0</text>'
    return body + f'<text x="{_WIDTH - _RIGHT:.0f}" y="{base}" class="y">{axes.last:,.0f}</text>'


def _line(curve: Curve, kind: str, axes: _Axes) -> str:
    places = [axes.at(update, wer) for update, wer in _points(curve)]
    return f'<path class="{kind}" d="M{"L".join(places)}"/>' if places else ""


def _points(curve: Curve) -> list[tuple[int, float]]:
    """Evaluations that gave a number."""
    pairs = zip(curve.updates, curve.dev_wers, strict=True)
    return [(update, wer) for update, wer in pairs if wer is not None and wer == wer]
