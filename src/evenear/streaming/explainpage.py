# SPDX-License-Identifier: Apache-2.0
"""A page of one recording: its spectrogram, its words, and what of the encoder ran when.

One file without anything to load. Time goes to the right; each layer has a row for who asks in
attention, for keys that may be asked, and for the feed-forward module, darker where more of it ran.

Legend: T feature frames, F feature width, L layers, K blocks, P parts of a layer, H and W height
and width of a picture.
"""

import base64
import struct
import zlib
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from evenear.streaming.explain import PARTS, Explained, off_rates
from evenear.transcripts import Segment
from evenear.units import Seconds

__all__ = ["explanation_page"]

_PIXELS_PER_SECOND = 120
_LEFT, _ROW, _PICTURE, _BARS = 150, 15, 120, 60
_COLORS = ("#2b6cb0", "#b7791f", "#2f855a")
"""Of attention, keys and feed-forward."""
_STYLE = (
    "body{font:15px system-ui,sans-serif;margin:2em;color:#1a202c;background:#fff}"
    ".wide{overflow-x:auto;border:1px solid #cbd5e0}td,th{padding:.2em .8em;text-align:right}"
    "text{font:11px system-ui,sans-serif}.word{font-size:12px}"
    "@media(prefers-color-scheme:dark){body{color:#e2e8f0;background:#1a202c}svg{background:#fff}}"
)


def explanation_page(name: str, seen: Explained, segments: Sequence[Segment]) -> str:
    """The page as HTML.

    Args:
        name: The recording's name.
        seen: What ran.
        segments: What was recognized.
    """
    num_layers, num_blocks, num_parts = seen.on_LKP.shape
    seconds = num_blocks * seen.block_seconds
    width = round(_LEFT + seconds * _PIXELS_PER_SECOND + 20)
    rows_top = 24 + _PICTURE + 40
    bars_top = rows_top + num_layers * (num_parts * _ROW + 8) + 8
    height = bars_top + _BARS + 30
    parts = [_spectrogram(seen, seconds), _words(segments, 24 + _PICTURE + 18, seconds)]
    for layer in range(num_layers):
        top = rows_top + layer * (num_parts * _ROW + 8)
        parts += [_row(seen, layer, part, top + part * _ROW) for part in range(num_parts)]
    parts += [_bars(seen, bars_top), _axis(seconds, height)]
    saved = 100 * (1 - seen.compute)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(name)}</title>'
        f"<style>{_STYLE}</style><h1>{escape(name)}</h1>"
        f"<p>Asked for {100 * seen.asked:.0f} % of the encoder's computation, spent "
        f"{100 * seen.compute:.1f} %: {saved:.1f} % were saved. Blocks of "
        f"{1000 * seen.block_seconds:.0f} ms; darker is more of it.</p>"
        f'<div class="wide"><svg role="img" aria-label="what ran for {escape(name)} in time" '
        f'width="{width}" height="{height}">{"".join(parts)}</svg></div>'
        f"{_table(seen)}</html>\n"
    )


def _spectrogram(seen: Explained, seconds: Seconds) -> str:
    """Its features as a picture, low frequencies at the bottom."""
    low, high = np.quantile(seen.features_TF, (0.02, 0.995))
    gray_TF = 255 * (1 - ((seen.features_TF - low) / max(high - low, 1e-6)).clip(0, 1))
    data = base64.b64encode(_png(gray_TF.T[::-1].astype(np.uint8))).decode()
    return (
        f'<text x="4" y="36">spectrogram</text><image x="{_LEFT}" y="24" '
        f'width="{seconds * _PIXELS_PER_SECOND:.1f}" height="{_PICTURE}" '
        f'preserveAspectRatio="none" href="data:image/png;base64,{data}"/>'
    )


def _words(segments: Sequence[Segment], top: int, seconds: Seconds) -> str:
    """Words where they begin, on two lines in turn, since they are wider than they are long."""
    said = [(w.text, w.start_seconds) for s in segments for w in s.words]
    said = said or [(s.text, s.start_seconds) for s in segments]
    texts = [
        f'<text class="word" x="{_x(at):.1f}" y="{top + 14 * (number % 2)}">{escape(text)}</text>'
        f'<path d="M{_x(at):.1f} 24V{24 + _PICTURE}" stroke="#c53030" stroke-opacity=".35"/>'
        for number, (text, at) in enumerate(said)
        if at <= seconds
    ]
    return f'<text x="4" y="{top}">words</text>' + "".join(texts)


def _row(seen: Explained, layer: int, part: int, top: int) -> str:
    """What ran of a part of a layer."""
    step = seen.block_seconds * _PIXELS_PER_SECOND
    boxes = "".join(
        f'<rect class="block" x="{_LEFT + block * step:.1f}" y="{top}" width="{step - 0.6:.1f}" '
        f'height="{_ROW - 2}" fill="{_COLORS[part]}" fill-opacity="{share:.2f}">'
        f"<title>layer {layer + 1}, {PARTS[part]}: {100 * share:.0f} %</title></rect>"
        for block, share in enumerate(seen.on_LKP[layer, :, part].tolist())
        if share > 0
    )
    label = f"layer {layer + 1}, {PARTS[part]}"
    return f'<text x="4" y="{top + 11}">{label}</text>{boxes}'


def _bars(seen: Explained, top: int) -> str:
    """The share of the dense work that each block cost, over a line where all of it would be."""
    step = seen.block_seconds * _PIXELS_PER_SECOND
    bars = "".join(
        f'<rect x="{_LEFT + block * step:.1f}" y="{top + _BARS * (1 - min(share, 1.0)):.1f}" '
        f'width="{step - 0.6:.1f}" height="{_BARS * min(share, 1.0):.1f}" '
        f'fill="{"#4a5568" if is_loud else "#a0aec0"}"><title>{100 * share:.0f} %</title></rect>'
        for block, (share, is_loud) in enumerate(
            zip(seen.spent_K.tolist(), seen.is_loud_K.tolist(), strict=True)
        )
    )
    end = _LEFT + len(seen.spent_K) * step
    return (
        f'<text x="4" y="{top + 12}">spent, of all of it</text>'
        f'<path d="M{_LEFT} {top}H{end:.1f}M{_LEFT} {top + _BARS}H{end:.1f}" stroke="#cbd5e0"/>'
        + bars
    )


def _table(seen: Explained) -> str:
    """Off-rates, in silence and in speech."""
    rates = off_rates(seen)
    head = "".join(f"<th>{part}, {kind}</th>" for part in PARTS for kind in ("silence", "speech"))
    rows = "".join(
        f"<tr><td>{number + 1}</td>"
        + "".join(f"<td>{_percent(value)}</td>" for part in PARTS for value in layer[part].values())
        + "</tr>"
        for number, layer in enumerate(rates)
    )
    return (
        "<h2>What was off, %</h2><p>Silence: blocks softer than halfway between the softest and "
        f"the loudest (light bars).</p><table><thead><tr><th>layer</th>{head}</tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )


def _percent(rate: float | None) -> str:
    return "–" if rate is None else f"{100 * rate:.0f}"


def _axis(seconds: Seconds, height: int) -> str:
    return "".join(
        f'<text x="{_x(s):.0f}" y="{height - 6}" fill="#4a5568">{s} s</text>'
        for s in range(int(seconds) + 1)
    )


def _x(seconds: Seconds) -> float:
    return _LEFT + seconds * _PIXELS_PER_SECOND


def _png(gray_HW: NDArray[np.uint8]) -> bytes:
    """An 8-bit gray picture as PNG (W3C, Portable Network Graphics)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    height, width = gray_HW.shape
    lines = np.concatenate([np.zeros((height, 1), np.uint8), gray_HW], axis=1)
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines.tobytes(), 9))
    return b"\x89PNG\r\n\x1a\n" + data + chunk(b"IEND", b"")
