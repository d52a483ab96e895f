# SPDX-License-Identifier: Apache-2.0
"""The README's picture: a run of `evenear demo`, filmed in a terminal, as one SVG that moves.

The command runs in a pseudo-terminal of 100 columns. Every screen that it leaves standing for a
moment is kept, and each line of text becomes a group of the SVG that is visible for as long as it
stood there. Browsers play it in a loop; where nothing moves (a printer, a reader who prefers less
motion) it shows one moment near the end: earlier clips with their tables, and the last one still
forming. What takes no time in the demo is held long enough to be read; while someone speaks, a
second in the picture is a second of sound.

Only what a terminal does for `rich` is understood: colors, cursor up, erased lines. Needs Linux or
macOS.

    python benchmarks/picture.py --out docs/images/demo.svg
"""

import argparse
import codecs
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from html import escape
from pathlib import Path
from typing import NamedTuple

from rich.cells import cell_len
from rich.color import blend_rgb
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from evenear.atomic import write_bytes

__all__ = ["Screen", "Shot", "film", "main", "picture"]

STANDING_SECONDS = 0.03
"""A screen that stands for less is on its way to the next one."""
READING_SECONDS = 1.2
"""How long a screen with new lines is held."""
END_SECONDS = 8.0
CHUNK_SECONDS = 0.16
SPEED = 0.5
"""Filmed at half speed, so that no chunk is missed on a busy machine."""
CELL_WIDTH, LINE_HEIGHT, FONT_SIZE = 9.6, 21, 16
MARGIN, TITLE_HEIGHT = 16, 36
FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
THEME = TerminalTheme(
    background=(22, 27, 34),
    foreground=(230, 237, 243),
    normal=[
        (72, 79, 88),
        (255, 123, 114),
        (86, 211, 100),
        (227, 179, 65),
        (121, 192, 255),
        (210, 168, 255),
        (86, 212, 221),
        (230, 237, 243),
    ],
)
"""Black, red, green, yellow, blue, magenta, cyan and white on dark, each with strong contrast."""

_CONTROL = re.compile(r"\x1b\[(?P<numbers>[0-9;?]*)(?P<letter>[A-Za-z])|\r\n|\r|\n")


class Screen:
    """What a terminal shows, line by line, colors still as escape codes."""

    def __init__(self) -> None:
        self.lines, self._row = [""], 0
        self._pending = ""

    def write(self, text: str) -> None:
        """Take output, which may end in the middle of an escape code."""
        text, self._pending = self._pending + text, ""
        cut = re.search(r"(\x1b(\[[0-9;?]*)?|\r)\Z", text)
        if cut:
            text, self._pending = text[: cut.start()], cut.group()
        end = 0
        for code in _CONTROL.finditer(text):
            self.lines[self._row] += text[end : code.start()]
            end = code.end()
            self._obey(code)
        self.lines[self._row] += text[end:]

    def shown(self) -> tuple[str, ...]:
        """The lines, without empty ones at the end."""
        lines = list(self.lines)
        while lines and not Text.from_ansi(lines[-1]).plain.strip():
            lines.pop()
        return tuple(lines)

    def _obey(self, code: re.Match[str]) -> None:
        letter = code["letter"]
        if letter == "m":
            self.lines[self._row] += code.group()
        elif letter == "A":
            self._row = max(0, self._row - int(code["numbers"] or 1))
        elif letter == "K":
            self.lines[self._row] = ""
        elif letter is None and "\n" in code.group():
            self._row += 1
            if self._row == len(self.lines):
                self.lines.append("")


class Shot(NamedTuple):
    """A screen, and from when until when it is seen."""

    lines: tuple[str, ...]
    start_seconds: float
    end_seconds: float


class Stay(NamedTuple):
    """A line that stays in its row for some time."""

    row: int
    text: str
    start_seconds: float
    end_seconds: float


def film(command: list[str], columns: int, rows: int = 60) -> list[Shot]:
    """Run a command in a terminal; return the screens that stood, with the times to show them."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    names = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "COLUMNS": str(columns)}
    process = subprocess.Popen(
        command,
        stdin=slave,
        stdout=slave,
        stderr=subprocess.PIPE,
        env={**os.environ, **names, "LINES": str(rows)},
    )
    os.close(slave)
    screens = _standing(master)
    errors = process.stderr.read().decode() if process.stderr else ""
    if process.wait() != 0:
        raise SystemExit(f"The command stopped with exit code {process.returncode}:\n{errors}")
    return _timed(screens)


def _standing(master: int) -> list[tuple[str, ...]]:
    """Each screen that stood for a moment before it changed."""
    screen = Screen()
    screens: list[tuple[str, ...]] = []
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    changed = time.perf_counter()
    while True:
        try:
            content = os.read(master, 1 << 16)
        except OSError:  # how Linux says that the other side is closed
            content = b""
        before, now = screen.shown(), time.perf_counter()
        screen.write(decoder.decode(content))
        if not content or screen.shown() != before:
            if not content or now - changed >= STANDING_SECONDS:
                screens.append(before)
            changed = now
        if not content:
            os.close(master)
            return screens


def _timed(screens: list[tuple[str, ...]]) -> list[Shot]:
    """Show a changed line for as long as a chunk lasts, new lines for long enough to be read."""
    distinct = [s for i, s in enumerate(screens) if s and (i == 0 or s != screens[i - 1])]
    shots, now, most = [], 0.0, 0
    for number, lines in enumerate(distinct):
        is_last = number == len(distinct) - 1
        seconds = CHUNK_SECONDS if len(lines) <= most + 1 else READING_SECONDS
        most = max(most, len(lines))
        shots.append(Shot(lines, now, now + (END_SECONDS if is_last else seconds)))
        now = shots[-1].end_seconds
    return shots


def still_seconds(shots: list[Shot]) -> float:
    """When to stop for those who see no motion: late in the last run of quick changes."""
    quick = [n for n, s in enumerate(shots) if s.end_seconds - s.start_seconds < READING_SECONDS]
    if not quick:
        return shots[-1].start_seconds
    last = quick[-1]
    first = last
    while first - 1 in quick:
        first -= 1
    return shots[first + (last - first) * 3 // 4].start_seconds


def picture(shots: list[Shot], columns: int, title: str) -> str:
    """The SVG."""
    total = shots[-1].end_seconds
    still = still_seconds(shots)
    width = columns * CELL_WIDTH + 2 * MARGIN
    num_rows = max(len(shot.lines) for shot in shots)
    height = TITLE_HEIGHT + num_rows * LINE_HEIGHT + MARGIN
    rules: dict[tuple[float, float], str] = {}
    groups = []
    for stay in _stays(shots):
        span = (stay.start_seconds, stay.end_seconds)
        name = rules.setdefault(span, f"k{len(rules)}")
        groups.append(f'<g class="{name}">{_line(stay, columns)}</g>')
    styles = "\n".join(
        _rule(name, span, total, is_still=span[0] <= still < span[1])
        for span, name in rules.items()
    )
    dots = "".join(
        f'<circle cx="{MARGIN + 6 + 20 * place}" cy="18" r="6" fill="{color}"/>'
        for place, color in enumerate(("#ff5f57", "#febc2e", "#28c840"))
    )
    said = escape("\n".join(Text.from_ansi(line).plain for line in shots[-1].lines))
    box = f"0 0 {width:g} {height:g}"
    font = f'font-family="{FONTS}" font-size="{FONT_SIZE}"'
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" role="img" {font}>
<title>{escape(title)}</title>
<desc>{said}</desc>
<style>
text {{ white-space: pre; }}
g {{ animation: {total:.2f}s step-end -{still:.2f}s infinite; }}
{styles}
@media (prefers-reduced-motion: reduce) {{ g {{ animation: none !important; }} }}
</style>
<rect width="{width:g}" height="{height:g}" rx="8" fill="{THEME.background_color.hex}"/>
{dots}
<text x="{width / 2:g}" y="23" text-anchor="middle" fill="#8b8b8b">{escape(title)}</text>
{chr(10).join(groups)}
</svg>
"""


def _rule(name: str, span: tuple[float, float], total: float, *, is_still: bool) -> str:
    """When the groups of a class are seen: in motion, and in the still."""
    start, end = (100 * seconds / total for seconds in span)
    seen = "visible" if is_still else "hidden"
    if start <= 0 and end >= 100:
        return f".{name} {{ visibility: visible; animation: none; }}"
    steps = "" if start <= 0 else "0% { visibility: hidden; } "
    steps += f"{start:.3f}% {{ visibility: visible; }}"
    steps += "" if end >= 100 else f" {end:.3f}% {{ visibility: hidden; }}"
    return (
        f"@keyframes {name} {{ {steps} }}\n"
        f".{name} {{ visibility: {seen}; animation-name: {name}; }}"
    )


def _stays(shots: list[Shot]) -> list[Stay]:
    """The lines of all shots; a line that stands still over many is one."""
    stays: list[Stay] = []
    standing: dict[int, Stay] = {}
    for shot in shots:
        for row in range(max(len(shot.lines), max(standing, default=-1) + 1)):
            text = shot.lines[row] if row < len(shot.lines) else ""
            before = standing.pop(row, None)
            if before and before.text == text:
                standing[row] = before._replace(end_seconds=shot.end_seconds)
                continue
            if before:
                stays.append(before)
            if Text.from_ansi(text).plain.strip():
                standing[row] = Stay(row, text, shot.start_seconds, shot.end_seconds)
    return sorted([*stays, *standing.values()], key=lambda stay: (stay.row, stay.start_seconds))


def _line(stay: Stay, columns: int) -> str:
    """One line as SVG text, each color on its cells whatever the font's width."""
    console = Console(width=columns, color_system="truecolor", file=sys.stderr)
    y = TITLE_HEIGHT + stay.row * LINE_HEIGHT + FONT_SIZE
    parts, column = [], 0
    for segment in Segment.simplify(Text.from_ansi(stay.text).render(console)):
        text, cells = segment.text.replace("\n", ""), cell_len(segment.text.replace("\n", ""))
        for word in re.finditer(r"\S+(?: \S+)*", text):
            x = MARGIN + (column + cell_len(text[: word.start()])) * CELL_WIDTH
            length = cell_len(word.group()) * CELL_WIDTH
            parts.append(
                f'<text x="{x:.1f}" y="{y}" textLength="{length:.1f}"{_look(segment.style)}>'
                f"{escape(word.group())}</text>"
            )
        column += cells
    return "".join(parts)


def _look(style: Style | None) -> str:
    """Color and weight as attributes."""
    style = style or Style()
    color = THEME.foreground_color
    if style.color is not None and not style.color.is_default:
        color = style.color.get_truecolor(THEME)
    if style.dim:
        color = blend_rgb(color, THEME.background_color, 0.4)
    return f' fill="{color.hex}"' + (' font-weight="bold"' if style.bold else "")


def main() -> None:
    """Film, draw, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("docs/images/demo.svg"))
    parser.add_argument("--columns", type=int, default=100)
    parser.add_argument("--model", help="another model than the shipped one")
    args = parser.parse_args()
    options = ["--speed", str(SPEED), *(["--model", args.model] if args.model else [])]
    program = "from evenear.cli import main; main()"
    began = time.perf_counter()
    shots = film([sys.executable, "-c", program, "demo", *options], args.columns)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    content = picture(shots, args.columns, "evenear demo").encode()
    write_bytes(args.out, content)
    print(
        f"{args.out}: {len(shots)} screens in {shots[-1].end_seconds:.0f} s, "
        f"{len(content) / 1000:.0f} kB, filmed in {time.perf_counter() - began:.0f} s"
    )


if __name__ == "__main__":
    main()
