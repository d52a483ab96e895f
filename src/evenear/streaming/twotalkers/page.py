# SPDX-License-Identifier: Apache-2.0
"""A page of one conversation: its waveform, both channels' turns and words, overlaps shaded.

One file without anything to load: an SVG on a time axis and a table of turns.

Legend: N audio samples, P pixels.
"""

import itertools
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from evenear.transcripts import Segment
from evenear.units import SAMPLE_RATE, Seconds

__all__ = ["conversation_page"]

_PIXELS_PER_SECOND = 90
_COLORS = ("#2b6cb0", "#b7791f", "#2f855a", "#97266d", "#553c9a", "#c05621", "#285e61", "#702459")
_STYLE = (
    "body{font:15px system-ui,sans-serif;margin:2em;color:#1a202c;background:#fff}"
    ".wide{overflow-x:auto;border:1px solid #cbd5e0}td,th{padding:.2em .8em;text-align:left}"
    "text{font:11px system-ui,sans-serif}"
    "@media(prefers-color-scheme:dark){body{color:#e2e8f0;background:#1a202c}svg{background:#fff}}"
)


def conversation_page(
    name: str,
    samples_N: NDArray[np.float32],
    segments: Sequence[Segment],
    references: Sequence[Segment] = (),
) -> str:
    """The page as HTML.

    Args:
        name: The recording's name.
        samples_N: Its 16 kHz sound.
        segments: What was recognized, with channels and speakers.
        references: What was said, where that is known.
    """
    seconds = max(
        [len(samples_N) / SAMPLE_RATE, *(s.end_seconds for s in (*segments, *references))]
    )
    width = max(200, round(seconds * _PIXELS_PER_SECOND))
    speakers = list(dict.fromkeys(s.speaker for s in segments))
    rows = [("heard, channel 1", 0, segments), ("heard, channel 2", 1, segments)]
    if references:
        rows += [("said, channel 1", 0, references), ("said, channel 2", 1, references)]
    height = 110 + 46 * len(rows)
    parts = [_shade(segments or references, height), _waveform(samples_N, width)]
    for number, (title, channel, shown) in enumerate(rows):
        top = 90 + 46 * number
        parts.append(f'<text x="4" y="{top + 10}" fill="#4a5568">{title}</text>')
        parts += [_turn(s, top + 14, speakers) for s in shown if s.channel == channel]
    parts.append(_axis(seconds, height))
    table = "".join(
        f"<tr><td>{s.start_seconds:.2f}</td><td>{s.end_seconds:.2f}</td>"
        f"<td>{s.channel + 1}</td><td>{escape(s.speaker)}</td><td>{escape(s.text)}</td></tr>"
        for s in sorted(segments, key=lambda s: s.start_seconds)
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(name)}</title>'
        f"<style>{_STYLE}</style><h1>{escape(name)}</h1>"
        f'<div class="wide"><svg role="img" aria-label="turns of {escape(name)} in time" '
        f'width="{width}" height="{height}">{"".join(parts)}</svg></div>'
        "<p>Gray: two people talk at once.</p><table><thead><tr><th>from</th><th>to</th>"
        f"<th>channel</th><th>speaker</th><th>words</th></tr></thead><tbody>{table}</tbody>"
        "</table></html>\n"
    )


def _shade(segments: Sequence[Segment], height: int) -> str:
    """Gray where segments of two channels overlap."""
    found = []
    first = [s for s in segments if s.channel == 0]
    for other in (s for s in segments if s.channel == 1):
        for one in first:
            start = max(one.start_seconds, other.start_seconds)
            end = min(one.end_seconds, other.end_seconds)
            if start < end:
                found.append(
                    f'<rect class="overlap" x="{_x(start):.1f}" y="0" '
                    f'width="{_x(end - start):.1f}" height="{height - 20}" fill="#e2e8f0"/>'
                )
    return "".join(found)


def _waveform(samples_N: NDArray[np.float32], width: int) -> str:
    """The loudest sample of each pixel."""
    if not len(samples_N):
        return ""
    edges_P = np.linspace(0, len(samples_N), width + 1).astype(int)
    peaks_P = [
        float(np.abs(samples_N[a:b]).max(initial=0.0)) for a, b in itertools.pairwise(edges_P)
    ]
    scale = 36 / max([*peaks_P, 1e-6])
    path = "".join(f"M{x} {40 - p * scale:.1f}V{40 + p * scale:.1f}" for x, p in enumerate(peaks_P))
    return f'<path d="{path}" stroke="#718096" fill="none"/>'


def _turn(segment: Segment, top: int, speakers: Sequence[str]) -> str:
    """A bar with its words."""
    place = speakers.index(segment.speaker) if segment.speaker in speakers else -1
    color = _COLORS[place % len(_COLORS)] if place >= 0 else "#718096"
    start, end = segment.start_seconds, segment.end_seconds
    label = escape(f"{segment.speaker}: {segment.text}")
    words = [(w.text, w.start_seconds) for w in segment.words] or [(segment.text, start)]
    texts = "".join(
        f'<text x="{_x(at):.1f}" y="{top + 25}">{escape(text)}</text>' for text, at in words
    )
    return (
        f'<rect x="{_x(start):.1f}" y="{top}" width="{max(2.0, _x(end - start)):.1f}" height="12" '
        f'fill="{color}"><title>{label}</title></rect>{texts}'
    )


def _axis(seconds: Seconds, height: int) -> str:
    return "".join(
        f'<text x="{_x(s)}" y="{height - 6}" fill="#4a5568">{s} s</text>'
        for s in range(int(seconds) + 1)
    )


def _x(seconds: Seconds) -> float:
    return seconds * _PIXELS_PER_SECOND
