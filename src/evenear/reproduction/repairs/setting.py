# SPDX-License-Identifier: Apache-2.0
"""From a recognizer and a corpus to a bench, and from results to JSON and a page."""

import dataclasses
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
from evenear.data.batching.store import FrameStore, StoreConfig
from evenear.data.corpora.manifests import Utterance
from evenear.errors import CohortError
from evenear.metrics.words import normalize
from evenear.reproduction.claims import Claim
from evenear.reproduction.repairs.base import BasePlan, base_speakers, train_base
from evenear.reproduction.repairs.bench import Bench, Effort
from evenear.reproduction.statistics import Estimate
from evenear.search import BeamConfig
from evenear.training.encoding import Precision
from evenear.training.mitigation.cohort import CohortRule
from evenear.training.mitigation.judgement.frontier import Mark, draw_frontier
from evenear.training.mitigation.speakers import divide_speakers, parts_of
from evenear.training.mitigation.upper import Cut, cut_below, heard_below

__all__ = ["Drawn", "Setting", "Written", "write_results"]


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


@dataclass(frozen=True)
class Setting:
    """What every seed shares: a recognizer in two parts, and speech by who takes which part."""

    cut: Cut
    utterances: Sequence[Utterance]
    """Of all but those who taught the recognizer, texts normalized."""
    general: Sequence[Utterance]
    """Of those who taught it, if it was made here: what replay replays."""
    sides: Mapping[str, bool]
    """Each speaker who takes part, and whether in the weak cohort."""
    test: frozenset[str] | None
    """Who tests, if that is given; else each seed draws some."""
    folder: Path
    report: Callable[[str], None] = lambda _text: None

    @classmethod
    def prepare(
        cls,
        model: str | Path,
        utterances: Sequence[Utterance],
        weak: CohortRule,
        folder: Path,
        *,
        num_layers: int,
        test_split: str | None = None,
        per_speaker: int | None = None,
        base: BasePlan | None = None,
        precision: Precision = "float32",
        report: Callable[[str], None] = lambda _text: None,
    ) -> "Setting":
        """Choose who takes part, and make the recognizer if that is asked for.

        Args:
            model: The recognizer; not looked at where `base` is given.
            utterances: Speech of speakers it never heard.
            weak: The cohort that maps and ZIP codes go with; speakers unknown to it are left out.
            folder: Where files go.
            num_layers: Encoder layers that are adapted, from the last on.
            test_split: The speakers of this split test, and do nothing else.
            per_speaker: Utterances of each speaker at most.
            base: How to make a recognizer that hardly heard the weak cohort.
            precision: Arithmetic of the layers that stay as they are.
            report: Told what goes on.

        Raises:
            CohortError: No speaker is of the test split.
        """
        members = weak.members(utterances)
        sides = {speaker: held for speaker, held in members.items() if held is not None}
        chosen, taken = [], dict.fromkeys(sides, 0)
        for u in utterances:
            if u.speaker in sides and (per_speaker is None or taken[u.speaker] < per_speaker):
                taken[u.speaker] += 1
                chosen.append(replace(u, text=normalize(u.text, "basic")))
        test = None
        if test_split is not None:
            test = frozenset(u.speaker for u in chosen if u.attributes.get("split") == test_split)
            if not test:
                raise CohortError(
                    f"No speaker is of the split {test_split!r} to test on.",
                    hint="Leave --test-split out, and some of the speakers test.",
                )
        taught: frozenset[str] = frozenset()
        if base is not None:
            taught = base_speakers(sides, set(test or ()), base)
            normal = [replace(u, text=normalize(u.text, "basic")) for u in base.more]
            base = dataclasses.replace(base, more=normal)
            lessons = [u for u in chosen if u.speaker in taught]
            bundle = train_base(base, lessons, folder, report=report)
        else:
            bundle = load_model(model)
        plain = dataclasses.replace(
            bundle, search=BeamConfig(width=1), words=None, language_model=None
        )
        return cls(
            cut_below(plain, num_layers, precision=precision),
            [u for u in chosen if u.speaker not in taught],
            [u for u in chosen if u.speaker in taught],
            {speaker: held for speaker, held in sides.items() if speaker not in taught},
            test,
            folder,
            report,
        )

    def bench(self, effort: Effort) -> Bench:
        """Divide the speakers by a seed, and hear them by the lower layers."""
        division = divide_speakers(
            self.sides, tuning_share=0.2, test_share=0.4, seed=effort.seed, test=self.test
        )
        stores = {
            part: self._stored(part, spoken)
            for part, spoken in parts_of(self.utterances, division).items()
        }
        general = self._stored("general", self.general) if self.general else None
        adaptation = stores["adaptation"]
        if general is not None:
            adaptation = FrameStore([*adaptation.parts, *general.parts])
        return Bench(
            bundle=self.cut.upper,
            discovery=stores["adaptation"],
            adaptation=adaptation,
            tuning=stores["tuning"],
            test=stores["test"],
            general=general or stores["adaptation"],
            division=division,
            folder=self.folder / f"seed-{effort.seed}",
            effort=effort,
            report=self.report,
        )

    def _stored(self, part: str, spoken: Sequence[Utterance]) -> FrameStore:
        self.report(f"Hearing {len(spoken)} {part} utterances.")
        sound = StoreConfig(features=self.cut.whole.features, augment=False)
        return heard_below(self.cut, spoken, sound, self.folder)


def write_results(written: Written, benches: Sequence[Bench], out: Path) -> None:
    """Write `out`/NAME.json and `out`/NAME.html, of what each seed's bench came to."""
    bench = benches[0]
    values = {
        "name": written.name,
        "command": written.command,
        "commit": _commit(),
        "machine": _machine(),
        "model": bench.bundle.name,
        "effort": asdict(bench.effort),
        "seeds": [one.effort.seed for one in benches],
        "speakers": {
            **{part: len(names) for part, names in bench.division._asdict().items()},
            "general": len({u.speaker for u in bench.general.utterances}),
        },
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
