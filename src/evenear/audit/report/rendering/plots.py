# SPDX-License-Identifier: Apache-2.0
"""The map of regions and the plane of voices, as SVG that any browser draws offline.

Both speak one language: a cohort has a number; color means that it is confirmed to fare worse or
better, the fuller the larger its gap; what was not confirmed stays gray. The numbers are explained
in a list beside the drawing, in text that stays readable on a phone.

The map is a plate carrée with the width of a degree taken at the middle of what is shown. Outlines
may run beyond ±180° so that a region across the antimeridian stays whole.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from evenear.audit.report.findings import Cell, Dot, Finding
from evenear.audit.report.rendering.land import land_near
from evenear.audit.report.words import percent, signed, verdict
from evenear.audit.statistics.results import Gap

__all__ = ["Drawing", "KeyEntry", "draw", "hundred_words"]

_WIDTH = 1000.0
_MOST_DOTS = 2500
_STRONGEST = math.log(2.0)
"""A cohort with twice (or half) the errors has the fullest color."""

_Places = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class KeyEntry:
    """What a number in the drawing stands for."""

    number: int
    row: Gap
    description: str


@dataclass(frozen=True)
class Drawing:
    """A drawing and its key."""

    title: str
    svg: Markup
    key: tuple[KeyEntry, ...]


@dataclass(frozen=True)
class _Frame:
    """From degrees (or any plane) to the drawing."""

    left: float
    top: float
    scale_x: float
    scale_y: float
    height: float

    def at(self, x: float, y: float) -> tuple[float, float]:
        return (x - self.left) * self.scale_x, (self.top - y) * self.scale_y


def draw(finding: Finding, rows: Sequence[Gap]) -> Drawing | None:
    """Draw the cohorts of a finding: a map if it has shapes or cells, else the plane of voices.

    Args:
        finding: What was found.
        rows: The cohorts of its attribute.
    """
    numbered = {row.value: (number, row) for number, row in enumerate(rows, start=1)}
    shapes = [one for one in finding.shapes if one.value in numbered]
    dots = [one for one in finding.dots if one.value in numbered]
    if shapes or finding.cells:
        corners = _places(finding)
        frame = _frame(corners, by_degrees=True)
        body = _land(frame, land_near(corners)) + _graticule(frame) + _cells(frame, finding.cells)
        for one in shapes:
            body += _shape(frame, one.outlines, *numbered[one.value])
        body += _numbers(frame, {one.value: _centers(one.outlines) for one in shapes}, numbered)
        title = f"Map of {finding.attribute}"
    elif dots:
        corners = [(one.x, one.y) for one in finding.dots]
        frame = _frame(corners, by_degrees=False)
        body = _dots(frame, finding.dots, numbered)
        body += _numbers(frame, {value: [_middle(dots, value)] for value in numbered}, numbered)
        title = f"Speakers in the plane of {finding.attribute}"
    else:
        return None
    svg = Markup(
        '<svg class="drawing" viewBox="0 0 {w:.0f} {h:.0f}" role="img" aria-label="{title}">'
        "{body}</svg>"
    ).format(w=_WIDTH, h=frame.height, title=title, body=body)
    key = [
        KeyEntry(number, row, finding.descriptions.get(row.value, ""))
        for number, row in numbered.values()
    ]
    return Drawing(title, svg, tuple(key))


def hundred_words(rate: float) -> Markup:
    """A square of a hundred words, as many of them filled as a recognizer gets wrong."""
    wrong = min(100, round(100.0 * rate))
    cells = [f"M{10 * (k % 10)} {9 * (k // 10)}h8.5v7h-8.5z" for k in range(100)]
    return Markup(
        '<svg class="hundred" viewBox="-1 -1 100.5 90" aria-hidden="true">'
        '<path class="right" d="{}"/><path class="wrong" d="{}"/></svg>'
    ).format("".join(cells[wrong:]), "".join(cells[:wrong]))


def _frame(corners: _Places, *, by_degrees: bool) -> _Frame:
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    middle = math.radians(min(80.0, abs(sum((min(ys), max(ys))) / 2.0)))
    stretch = math.cos(middle) if by_degrees else 1.0
    wide = max(max(xs) - min(xs), 1e-6)
    tall = max(max(ys) - min(ys), 1e-6)
    height = min(1000.0 if by_degrees else 760.0, max(420.0, _WIDTH * tall / (wide * stretch)))
    scale_y = min(_WIDTH / (wide * stretch), height / tall) * 0.92
    scale_x = scale_y * stretch
    return _Frame(
        left=min(xs) - (_WIDTH / scale_x - wide) / 2.0,
        top=max(ys) + (height / scale_y - tall) / 2.0,
        scale_x=scale_x,
        scale_y=scale_y,
        height=height,
    )


def _graticule(frame: _Frame) -> Markup:
    """Lines of longitude and latitude with their degrees."""
    step = next(s for s in (0.25, 0.5, 1, 2, 5, 10, 20, 30, 60) if _WIDTH / frame.scale_x / s <= 8)
    body = Markup()
    line = Markup('<path class="graticule" d="M{:.0f} {:.0f}L{:.0f} {:.0f}"/>')
    text = Markup('<text class="degrees" x="{:.0f}" y="{:.0f}">{}</text>')
    right, bottom = frame.left + _WIDTH / frame.scale_x, frame.top - frame.height / frame.scale_y
    for k in range(math.ceil(frame.left / step), math.floor(right / step) + 1):
        x, _ = frame.at(k * step, 0.0)
        body += line.format(x, 0, x, frame.height)
        if x < 0.9 * _WIDTH:
            body += text.format(x + 6, frame.height - 10, _degrees(k * step, "E", "W"))
    for k in range(math.ceil(bottom / step), math.floor(frame.top / step) + 1):
        _, y = frame.at(0.0, k * step)
        body += line.format(0, y, _WIDTH, y)
        if y > 0.08 * frame.height:
            body += text.format(8, y - 6, _degrees(k * step, "N", "S"))
    return body


def _degrees(value: float, positive: str, negative: str) -> str:
    if positive == "E":
        value = (value + 180.0) % 360.0 - 180.0
    side = positive if value > 0 else negative if value < 0 else ""
    return f"{abs(value):g}°{side}"


def _places(finding: Finding) -> _Places:
    """All corners of a map."""
    outlines = [outline for one in finding.shapes for outline in one.outlines]
    outlines += [one.outline for one in finding.cells]
    return [place for outline in outlines for place in outline]


def _land(frame: _Frame, land: _Places) -> Markup:
    """Where people live, as one faint path of dots, for orientation."""
    near = [frame.at(x, y) for x, y in land]
    inside = [(x, y) for x, y in near if 0 <= x <= _WIDTH and 0 <= y <= frame.height]
    if not inside:
        return Markup()
    path = "".join(f"M{x:.0f} {y:.0f}h0" for x, y in inside)
    return Markup('<path class="land" d="{}"/>').format(path)


def _cells(frame: _Frame, cells: Sequence[Cell]) -> Markup:
    """Error rates all over the map: the darker the more."""
    rates = sorted(one.wer for one in cells)
    if not rates:
        return Markup()
    low, high = rates[len(rates) // 20], rates[-1 - len(rates) // 20]
    body = Markup()
    for one in cells:
        share = min(1.0, max(0.0, (one.wer - low) / max(high - low, 1e-9)))
        body += Markup(
            '<path class="cell" d="{path}" style="fill-opacity:{fill:.2f}">'
            "<title>WER {wer}, {speakers} speakers</title></path>"
        ).format(
            path=_path(frame, [one.outline]),
            fill=0.06 + 0.5 * share,
            wer=percent(one.wer),
            speakers=one.speakers,
        )
    return body


def _shape(frame: _Frame, outlines: Sequence[_Places], number: int, row: Gap) -> Markup:
    return Markup(
        '<path class="region {kind}" d="{path}" fill-rule="evenodd" '
        'style="fill-opacity:{fill:.2f}"><title>{title}</title></path>'
    ).format(
        kind=_kind(row), path=_path(frame, outlines), fill=_fill(row), title=_title(number, row)
    )


def _path(frame: _Frame, outlines: Sequence[_Places]) -> str:
    path = ""
    for outline in outlines:
        places = [frame.at(x, y) for x, y in outline]
        path += "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places) + "Z"
    return path


def _dots(frame: _Frame, dots: Sequence[Dot], numbered: Mapping[str, tuple[int, Gap]]) -> Markup:
    """One path per cohort, one behind them for everyone else; a large crowd is thinned evenly."""
    step = math.ceil(len(dots) / _MOST_DOTS)
    crowd = dots[::step]
    rest = _dotted(frame, [one for one in crowd if one.value not in numbered])
    body = Markup('<path class="voices others" d="{}"/>').format(rest) if rest else Markup()
    for value, (number, row) in numbered.items():
        path = _dotted(frame, [one for one in crowd if one.value == value])
        body += Markup(
            '<path class="voices {kind}" d="{path}" style="stroke-opacity:{fill:.2f}">'
            "<title>{title}</title></path>"
        ).format(kind=_kind(row), path=path, fill=0.4 + 0.6 * _fill(row), title=_title(number, row))
    return body


def _dotted(frame: _Frame, dots: Sequence[Dot]) -> str:
    places = [frame.at(one.x, one.y) for one in dots]
    return "".join(f"M{x:.0f} {y:.0f}h0" for x, y in places)


def _numbers(
    frame: _Frame,
    places: Mapping[str, _Places],
    numbered: Mapping[str, tuple[int, Gap]],
) -> Markup:
    body = Markup()
    for value, centers in places.items():
        number, row = numbered[value]
        for center in centers:
            if math.isnan(center[0]):
                continue
            x, y = frame.at(*center)
            body += Markup(
                '<g class="number {}"><circle cx="{:.0f}" cy="{:.0f}" r="24"/>'
                '<text x="{:.0f}" y="{:.0f}">{}</text></g>'
            ).format(_kind(row), x, y, x, y + 10, number)
    return body


def _kind(row: Gap) -> str:
    if not row.confirmed or row.gap is None:
        return "unsure"
    return "worse" if row.gap > 0 else "better"


def _fill(row: Gap) -> float:
    if not row.confirmed or row.gap is None:
        return 0.06
    size = abs(math.log1p(row.gap)) if row.gap > -1.0 else _STRONGEST
    return 0.15 + 0.4 * min(1.0, size / _STRONGEST)


def _title(number: int, row: Gap) -> str:
    if row.suppressed:
        return f"{number}: {row.value}, too small to measure"
    return f"{number}: {row.value}, WER {percent(row.wer)}, gap {signed(row.gap)}, {verdict(row)}"


def _centers(outlines: Sequence[_Places]) -> _Places:
    """The middle of the largest outline."""
    largest = max(outlines, key=lambda outline: abs(_area(outline)))
    area = _area(largest)
    if abs(area) < 1e-12:
        xs, ys = [x for x, _ in largest], [y for _, y in largest]
        return [(sum(xs) / len(xs), sum(ys) / len(ys))]
    x = y = 0.0
    for (x0, y0), (x1, y1) in _edges(largest):
        cross = x0 * y1 - x1 * y0
        x, y = x + (x0 + x1) * cross, y + (y0 + y1) * cross
    return [(x / (6.0 * area), y / (6.0 * area))]


def _area(outline: _Places) -> float:
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in _edges(outline)) / 2.0


def _edges(outline: _Places) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    return list(pairwise([*outline, outline[0]]))


def _middle(dots: Sequence[Dot], value: str) -> tuple[float, float]:
    own = [one for one in dots if one.value == value]
    if not own:
        return math.nan, math.nan
    xs, ys = sorted(one.x for one in own), sorted(one.y for one in own)
    return xs[len(xs) // 2], ys[len(ys) // 2]
