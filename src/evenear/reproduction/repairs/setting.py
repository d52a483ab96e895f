# SPDX-License-Identifier: Apache-2.0
"""From a recognizer and a corpus to a bench, and from results to JSON and a page."""

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from evenear.atomic import write_bytes
from evenear.audit.report.rendering.page import environment, shell
from evenear.checkpoint import load_model
from evenear.config import replace
from evenear.data.batching.store import FrameStore, StoreConfig, build_store
from evenear.data.corpora.manifests import Utterance
from evenear.metrics.words import normalize
from evenear.reproduction.claims import Claim
from evenear.reproduction.repairs.bench import Bench, Effort
from evenear.reproduction.repairs.upper import stored_below, upper_part
from evenear.reproduction.statistics import Estimate
from evenear.training.mitigation.cohort import CohortRule
from evenear.training.mitigation.judgement.frontier import Mark, draw_frontier
from evenear.training.mitigation.speakers import divide_speakers, parts_of

__all__ = ["Drawn", "Written", "prepare_bench", "write_results"]


@dataclass(frozen=True)
class Drawn:
    """A frontier to draw, with what must stand in it."""

    title: str
    marks: Sequence[Mark]
    y_label: str
    caption: str


@dataclass(frozen=True)
class Written:
    """What a page and a file of results say."""

    name: str
    title: str
    command: str
    claims: Sequence[Claim]
    values: Mapping[str, Any]
    """The results, plain."""
    drawings: Sequence[Drawn] = ()
    tables: Sequence[tuple[str, Sequence[str], Sequence[Sequence[str]]]] = ()
    """Title, heads and rows of cells."""
    notes: Sequence[str] = field(default=())


def prepare_bench(
    model: str | Path,
    utterances: Sequence[Utterance],
    weak: CohortRule,
    folder: Path,
    *,
    num_layers: int,
    effort: Effort,
    per_speaker: int | None = None,
    report: Callable[[str], None] = lambda _text: None,
) -> tuple[Bench, dict[str, bool]]:
    """Divide speakers, hear them by the lower layers, and keep the upper ones to be adapted.

    Args:
        model: The recognizer.
        utterances: Speech of speakers it never heard.
        weak: The cohort that maps and ZIP codes go with; speakers unknown to it are left out.
        folder: Where files go.
        num_layers: LSTM layers that are adapted, from the last on.
        effort: How much is done for each method.
        per_speaker: Utterances of each speaker at most.
        report: Told what goes on.

    Returns:
        The bench, and each speaker with whether in the weak cohort.
    """
    bundle = load_model(model)
    members = weak.members(utterances)
    sides = {speaker: held for speaker, held in members.items() if held is not None}
    chosen, taken = [], dict.fromkeys(sides, 0)
    for u in utterances:
        if u.speaker in sides and (per_speaker is None or taken[u.speaker] < per_speaker):
            taken[u.speaker] += 1
            chosen.append(replace(u, text=normalize(u.text, "basic")))
    division = divide_speakers(sides, tuning_share=0.17, test_share=0.4, seed=effort.seed)
    cut, lower = upper_part(bundle, num_layers)
    stores: dict[str, FrameStore] = {}
    for part, spoken in parts_of(chosen, division).items():
        report(f"Hearing {len(spoken)} {part} utterances.")
        sound = StoreConfig(features=bundle.features, augment=False)
        whole = build_store(spoken, folder / "frames", sound)
        stores[part] = stored_below(bundle, lower, whole, folder / "below")
    bench = Bench(
        cut,
        stores["adaptation"],
        stores["tuning"],
        stores["test"],
        division,
        folder,
        effort,
        report,
    )
    return bench, sides


def write_results(written: Written, bench: Bench, out: Path) -> None:
    """Write `out`/NAME.json and `out`/NAME.html."""
    values = {
        "name": written.name,
        "command": written.command,
        "commit": _commit(),
        "machine": _machine(),
        "model": bench.bundle.name,
        "effort": asdict(bench.effort),
        "speakers": {part: len(names) for part, names in bench.division._asdict().items()},
        "claims": [
            {"claim": one.title, "verdict": one.judgement, "notes": list(one.notes)}
            for one in written.claims
        ],
        "notes": list(written.notes),
        **written.values,
    }
    text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    out.mkdir(parents=True, exist_ok=True)
    write_bytes(out / f"{written.name}.json", text.encode())
    template = files("evenear.reproduction.repairs").joinpath("templates", "page.html")
    drawings = [
        (
            one.title,
            draw_frontier(
                one.marks,
                x_label="everyone, word errors in 100 words",
                y_label=one.y_label,
                caption=one.caption,
            ),
        )
        for one in written.drawings
    ]
    page = (
        environment()
        .from_string(template.read_text(encoding="utf-8"))
        .render(
            written=written, drawings=drawings, values=values, estimate=_estimate, **shell(text)
        )
    )
    write_bytes(out / f"{written.name}.html", page.encode())


def _estimate(one: Estimate | None, kind: str) -> str:
    """A change with its interval, in percent."""
    if one is None:
        return "not measured"
    unit = " %" if kind == "relative" else " points"
    text = f"{100 * one.value:+.1f}"
    if one.low is not None and one.high is not None:
        text += f" ({100 * one.low:+.1f} to {100 * one.high:+.1f})"
    return text.replace("-", "−") + unit


def _commit() -> str | None:
    """The commit of the code, if it runs from a repository."""
    place = Path(__file__).resolve().parent
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or None


def _machine() -> str:
    import platform

    return f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}"
