# SPDX-License-Identifier: Apache-2.0
"""The bench that methods are tried on: one recognizer, three sets of speakers, one rule.

Every method gets the same adaptation speakers, the same number of updates and as many settings of
its dial; the rule of `training.mitigation.choosing` picks one on the tuning speakers, and the test
speakers hear that one alone. Each finished step is a file, so a killed experiment goes on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from evenear.audit import Table
from evenear.checkpoint import Bundle
from evenear.data.batching.store import FrameStore
from evenear.evaluation import Row
from evenear.losses.ewc import Fisher
from evenear.training.encoding import Precision
from evenear.training.mitigation.adaptation.candidates import (
    Material,
    Repaired,
    estimate_fisher,
    train_candidate,
)
from evenear.training.mitigation.cohort import parse_cohort
from evenear.training.mitigation.judgement.choosing import Point, choose, point
from evenear.training.mitigation.judgement.measuring import Members, measured, whole
from evenear.training.mitigation.plan import METHODS, MethodName, MitigationConfig
from evenear.training.mitigation.speakers import Division

__all__ = ["Bench", "Effort", "Outcome"]


@dataclass(frozen=True)
class Effort:
    """How much is done for each method."""

    updates: int = 120
    rate: float = 1e-4
    batch_seconds: float = 20.0
    fisher_utterances: int = 150
    precision: Precision = "float32"
    """Arithmetic of encoder and joiner."""
    num_settings: int = 2
    """Settings of each dial: the first ones of the usual."""
    seed: int = 0


@dataclass(frozen=True)
class Outcome:
    """What a method came to on one cohort."""

    method: MethodName
    before: Point
    points: tuple[Point, ...]
    chosen: Point
    is_within_margin: bool
    table: Table
    """Test speakers, heard by the chosen candidate."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, without the table."""
        return {
            "method": self.method,
            "dial": METHODS[self.method].name,
            "chosen": self.chosen.setting,
            "within_margin": self.is_within_margin,
            "tuning": [one.to_dict() for one in (self.before, *self.points)],
        }


@dataclass(frozen=True)
class Bench:
    """Where methods are tried."""

    bundle: Bundle
    discovery: FrameStore
    """Of the adaptation speakers: cohorts are found in it."""
    adaptation: FrameStore
    """What is trained on: theirs, and speech of those who taught the recognizer, if at hand."""
    tuning: FrameStore
    test: FrameStore
    general: FrameStore
    """What says which weights others need."""
    division: Division
    folder: Path
    effort: Effort = field(default_factory=Effort)
    report: Callable[[str], None] = lambda _text: None

    @cached_property
    def fisher(self) -> Fisher:
        """What everyone needs; it does not depend on whom is repaired."""
        path = self.folder / "fisher.safetensors"
        if not path.exists():
            nobody = dict.fromkeys((u.speaker for u in self.general.utterances), False)
            material = Material(self.bundle, self.general, nobody, self.how("ewc"))
            path.parent.mkdir(parents=True, exist_ok=True)
            estimate_fisher(material).save(path)
        fisher = Fisher.load(path)
        for warning in fisher.report()["warnings"]:
            self.report(f"Fisher information: {warning}")
        return fisher

    def before(self, part: Literal["discovery", "tuning", "test"]) -> Table:
        """A part's speakers, heard by the recognizer as it is."""
        store: FrameStore = getattr(self, part)
        path = self.folder / "rows" / f"before-{part}.jsonl"
        made = Repaired(self.bundle.model)
        return measured(path, "before", lambda: self._rows(made, store, lambda _: None))

    def how(self, method: MethodName) -> MitigationConfig:
        """A method with this bench's effort."""
        effort = self.effort
        return MitigationConfig(
            cohort=parse_cohort("cohort=found"),
            method=method,
            settings=self.settings(method),
            seed=effort.seed,
            updates=effort.updates,
            rate=effort.rate,
            batch_seconds=effort.batch_seconds,
            fisher_utterances=effort.fisher_utterances,
            precision=effort.precision,
            augmentation=None,
        )

    def settings(self, method: MethodName) -> tuple[float, ...]:
        """The settings that are tried: spread over the usual ones."""
        usual = METHODS[method].settings
        count = min(self.effort.num_settings, len(usual))
        if count == 1:
            return (usual[len(usual) // 2],)
        return tuple(usual[round(k * (len(usual) - 1) / (count - 1))] for k in range(count))

    def attempt(self, name: str, method: MethodName, members: Mapping[str, bool | None]) -> Outcome:
        """Try a method on a cohort: train, choose, hear the test speakers.

        Args:
            name: The name of the cohort, for its files.
            method: The method.
            members: Every speaker, and whether in the cohort.
        """
        how = self.how(method)
        sides = {
            side: [s for s in self.division.tuning if members.get(s) is side]
            for side in (True, False)
        }
        fisher = self.fisher if how.needs_fisher else None
        everyone = dict.fromkeys((u.speaker for u in self.adaptation.utterances), False)
        material = Material(self.bundle, self.adaptation, everyone | dict(members), how, fisher)
        folder = self.folder / name / method
        made, points = {}, []
        for setting in how.settings:
            made[setting] = train_candidate(material, setting, folder / f"{setting:g}")
            tuned = self._heard(
                folder / f"tuning-{setting:g}.jsonl", made[setting], "tuning", members
            )
            points.append(point(setting, tuned, sides[True], sides[False]))
            self.report(
                f"{name}: {method} {setting:g}: {100 * points[-1].cohort:.1f} % of the "
                f"cohort's tuning words wrong, {100 * points[-1].overall:.1f} % overall"
            )
        before = point(None, self.before("tuning"), sides[True], sides[False])
        chosen, is_within = choose(before, points, how.overall_margin)
        test = self._heard(folder / "test.jsonl", made[chosen.setting or 0.0], "test", members)
        return Outcome(method, before, tuple(points), chosen, is_within, test)

    def attempts(
        self, name: str, methods: Sequence[MethodName], members: Mapping[str, bool | None]
    ) -> list[Outcome]:
        """Try several methods on one cohort."""
        return [self.attempt(name, method, members) for method in methods]

    def _heard(
        self, path: Path, made: Repaired, part: str, members: Mapping[str, bool | None]
    ) -> Table:
        store: FrameStore = getattr(self, part)
        return measured(path, path.stem, lambda: self._rows(made, store, members.get))

    def _rows(self, made: Repaired, store: FrameStore, members: Members) -> list[Row]:
        return whole(self.bundle, made, store, members, precision=self.effort.precision)
