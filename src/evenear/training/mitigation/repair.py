# SPDX-License-Identifier: Apache-2.0
"""A whole repair, in a folder: divide speakers, measure, adapt, choose, measure again, judge.

    repair = Repair.prepare("evenear-en-small", utterances, config, folder)
    result = repair.run()          # killed anywhere, the same two lines go on

With `layers` only the upper part adapts, over what the lower part heard once: a small part of the
price. Each step leaves a file and is not done twice. The model that is repaired is read and never
written to. Test speakers are heard twice: by the model before, and by the one that was chosen,
once.
"""

import hashlib
import itertools
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from evenear.atomic import write_bytes
from evenear.audit import Assignment, Cohorts, Table, cohorts_by
from evenear.checkpoint import Bundle, load_model
from evenear.config import config, from_json, replace, to_json
from evenear.data.batching.augmentation import FrameAugmentation
from evenear.data.batching.store import FrameStore, StoreConfig, build_store
from evenear.data.corpora.manifests import Utterance
from evenear.errors import CheckpointError, CohortError, ConfigError, nearest_names
from evenear.losses.ewc import Fisher
from evenear.metrics.words import normalize
from evenear.training.mitigation.adaptation.candidates import (
    Material,
    Repaired,
    estimate_fisher,
    train_candidate,
)
from evenear.training.mitigation.adaptation.transcribing import confident, machine_texts
from evenear.training.mitigation.judgement.choosing import Point, choose, point
from evenear.training.mitigation.judgement.measuring import (
    measured,
    measured_by_speaker,
    streamed,
    whole,
)
from evenear.training.mitigation.plan import MitigationConfig
from evenear.training.mitigation.speakers import Division, divide_speakers, parts_of
from evenear.training.mitigation.upper import Cut, cut_below, heard_below

__all__ = ["COHORT", "Choice", "Repair", "RepairPlan", "Watch"]

COHORT = "cohort"
"""The attribute of the cohort that is repaired, in tables and reports."""
_MAX_KINDS = 12
_MASKS = FrameAugmentation(warp_chance=0.0, tempo_chance=0.0, num_frequency_masks=0)
"""What can be varied of frames that a lower part has heard: stretches of them are hidden."""


@config
class RepairPlan:
    """All that decides a repair; a folder holds one."""

    model: str
    weights: str
    """A digest of the model's weights."""
    speech: str
    """A digest of the utterances and of who tests."""
    mitigation: MitigationConfig
    by: tuple[str, ...] = ()
    """Attributes by which cohorts are judged, beside the one that is repaired."""


@dataclass(frozen=True)
class Watch:
    """Whom to tell what goes on."""

    stage: Callable[[str, int | None], None] = lambda _name, _total: None
    """Called when a stage begins, with its number of steps."""
    step: Callable[[int], None] = lambda _count: None
    """Called when so many steps are done."""
    note: Callable[[str], None] = lambda _text: None


@dataclass(frozen=True)
class Choice:
    """What the rule picked, among what."""

    before: Point
    points: tuple[Point, ...]
    chosen: Point
    is_within_margin: bool


@dataclass(frozen=True)
class Repair:
    """A repair that was planned. `tables` and `choice` do the work, once."""

    plan: RepairPlan
    bundle: Bundle
    folder: Path
    members: dict[str, bool | None]
    division: Division
    parts: dict[str, list[Utterance]]
    cut: Cut | None = None
    """The model in two parts, if only the upper one adapts."""
    frames: Path | None = None
    """Where heard speech is stored, if several repairs share it; else in the repair's folder."""
    unlabeled: tuple[Utterance, ...] = ()
    """Speech of the cohort without transcripts, for the model to transcribe."""
    watch: Watch = field(default_factory=Watch)

    @classmethod
    def prepare(
        cls,
        model: str | Path,
        utterances: Sequence[Utterance],
        how: MitigationConfig,
        folder: Path,
        *,
        test: Sequence[Utterance] | None = None,
        tuning: Collection[str] | None = None,
        by: Sequence[str] | None = None,
        discovered_on: Collection[str] = (),
        unlabeled: Sequence[Utterance] = (),
        frames: Path | None = None,
        watch: Watch | None = None,
    ) -> "Repair":
        """Check everything that can be checked before hours pass, and write the plan.

        Args:
            model: The model to repair: its folder or name.
            utterances: Speech with transcripts of speakers that the model never heard.
            how: The repair.
            folder: Where its files go.
            test: Speech of the test speakers, if they are known; else some of the others test.
            tuning: Speakers who choose the setting, if they are known; else some of the others.
            by: Attributes to judge cohorts by; None: all that divide speakers into a few kinds.
            discovered_on: Speakers whose errors led to the cohort.
            unlabeled: More speech, whose texts are not looked at: what speakers of the cohort
                say in it is transcribed by the model, and the surer part adapted to. Speakers who
                tune or test are left out.
            frames: Where to store heard speech, if several repairs share it; else in the folder.
            watch: Whom to tell what goes on.

        Raises:
            CheckpointError: The folder holds another repair, or a model.
            CohortError: The cohort does not divide the speakers.
            ConfigError: The model cannot be cut, or the method needs all of it.
        """
        bundle = load_model(model)
        cut = None
        if how.layers is not None:
            if how.method.endswith("embedding"):
                raise ConfigError(
                    f"{how.method} tells the cohort to the first layer, so all layers must adapt.",
                    hint="Leave --layers out.",
                )
            cut = cut_below(bundle, how.layers)
        spoken = [_normalized(u) for u in (*utterances, *(test or ())) if u.text.strip()]
        members = how.cohort.members(spoken)
        testing = None if test is None else {u.speaker for u in test}
        division = divide_speakers(
            members,
            tuning_share=how.tuning_share,
            test_share=how.test_share,
            seed=how.seed,
            discovered_on=discovered_on,
            test=testing,
            tuning=tuning,
        )
        held = division.tuning | division.test
        more = tuple(
            u for u in unlabeled if u.speaker not in held and how.cohort.holds(u.attributes)
        )
        members |= {u.speaker: True for u in more}
        plan = RepairPlan(
            model=bundle.name,
            weights=_digest(bundle),
            speech=_speech([*spoken, *more], division),
            mitigation=how,
            by=_attributes(spoken, by),
        )
        _claim(folder, plan, Path(model))
        parts = parts_of(spoken, division)
        told = watch or Watch()
        return cls(plan, bundle, folder, members, division, parts, cut, frames, more, told)

    @property
    def how(self) -> MitigationConfig:
        """The repair."""
        return self.plan.mitigation

    @property
    def adapting(self) -> Bundle:
        """What adapts: the model, or its upper part."""
        return self.cut.upper if self.cut is not None else self.bundle

    def whole(self, made: Repaired) -> Repaired:
        """Recognizers that hear speech, of a candidate that may be an upper part only."""
        return made if self.cut is None else Repaired(self.cut.joined(made.model))

    def cohorts(self, table: Table) -> Cohorts:
        """The cohort and its rest, and those of the attributes that judge."""
        names = {True: self.how.cohort.text, False: f"not {self.how.cohort.text}"}
        values = {s: None if m is None else names[m] for s, m in self.members.items()}
        own = Cohorts((Assignment.of_speakers(COHORT, values),))
        return own + cohorts_by(table, self.plan.by)

    def point(self, setting: float | None, table: Table) -> Point:
        """A table of tuning speakers, whole and by side."""
        sides = {
            side: [s for s in self.division.tuning if self.members[s] is side]
            for side in (True, False)
        }
        return point(setting, table, sides[True], sides[False])

    @cached_property
    def fisher(self) -> Fisher | None:
        """The Fisher information, if the method wants it; estimated once and stored."""
        if not self.how.needs_fisher:
            return None
        path = self.folder / "fisher.safetensors"
        if not path.exists():
            self.watch.stage("Estimating Fisher information", self.how.fisher_utterances)
            found = estimate_fisher(self._material(None), progress=self.watch.step)
            found.save(path)
        fisher = Fisher.load(path)
        for warning in fisher.report()["warnings"]:
            self.watch.note(f"Fisher information: {warning}")
        return fisher

    @cached_property
    def choice(self) -> Choice:
        """Train every candidate, measure it on the tuning speakers, and pick by the rule."""
        tuning = self._store("tuning", StoreConfig(features=self.bundle.features, augment=False))
        before = self.point(None, self._tuned("before", Repaired(self.adapting.model), tuning))
        points = []
        for setting in self.how.settings:
            made = self.candidate(setting)
            table = self._tuned(self._name(setting), made, tuning)
            points.append(self.point(setting, table))
        chosen, is_within = choose(before, points, self.how.overall_margin)
        return Choice(before, tuple(points), chosen, is_within)

    def candidate(self, setting: float) -> Repaired:
        """The candidate of a setting, trained if it is not yet."""
        self.watch.stage(f"Training {self._name(setting)}", self.how.updates)
        return train_candidate(
            self._material(self.fisher),
            setting,
            self.folder / "candidates" / self._name(setting),
            report=lambda _: self.watch.step(1),
        )

    @cached_property
    def tables(self) -> tuple[Table, Table]:
        """The test speakers as heard by the model before and by the chosen one, which is kept."""
        before = self._tested("before", Repaired(self.bundle.model))
        made = self.candidate(self.choice.chosen.setting or 0.0)
        return before, self._tested("after", self.whole(made))

    def _material(self, fisher: Fisher | None) -> Material:
        how = (
            self.how
            if self.cut is None
            else replace(self.how, augmentation=_MASKS if self.how.augmentation else None)
        )
        return Material(self.adapting, self._adaptation, self.members, how, fisher)

    @cached_property
    def _adaptation(self) -> FrameStore:
        copies = self.how.copies
        how = StoreConfig(features=self.bundle.features, copies=copies, augment=copies > 1)
        return self._store("adaptation", how, self._machine_transcribed())

    def _machine_transcribed(self) -> list[Utterance]:
        if not self.unlabeled:
            return []
        self.watch.stage("Transcribing unlabeled speech", len(self.unlabeled))
        texts = machine_texts(self.bundle, self.unlabeled, self.folder, progress=self.watch.step)
        kept = confident(self.unlabeled, texts, self.how.keep_share)
        self.watch.note(f"{len(kept)} of {len(texts)} machine transcripts are kept.")
        return kept

    def _store(
        self, part: str, settings: StoreConfig, more: Sequence[Utterance] = ()
    ) -> FrameStore:
        spoken = [*self.parts[part], *more]
        self.watch.stage(f"Storing {part} speech", len(spoken))
        folder, step = self.frames or self.folder, self.watch.step
        if self.cut is not None:
            return heard_below(self.cut, spoken, settings, folder, progress=step)
        return build_store(spoken, folder / "frames", settings, progress=step)

    def _tuned(self, name: str, made: Repaired, store: FrameStore) -> Table:
        self.watch.stage(f"Hearing tuning speakers, {name}", len(store))
        path = self.folder / "rows" / f"tuning-{name}.jsonl"
        get, step = self.members.__getitem__, self.watch.step
        return measured(path, name, lambda: whole(self.adapting, made, store, get, progress=step))

    def _tested(self, name: str, made: Repaired) -> Table:
        spoken = self.parts["test"]
        self.watch.stage(f"Hearing test speakers, {name}", len(spoken))
        path = self.folder / "rows" / f"test-{name}.jsonl"
        get, step = self.members.__getitem__, self.watch.step
        rows = streamed(self.bundle, made, get, progress=step)
        return measured_by_speaker(path, name, spoken, rows)

    def _name(self, setting: float) -> str:
        return f"{self.how.method}-{setting:g}"


def _claim(folder: Path, plan: RepairPlan, model: Path) -> None:
    """Make the folder this repair's, or refuse it."""
    path = folder / "plan.json"
    if model.is_dir() and folder.resolve() in (model.resolve(), *model.resolve().parents):
        raise CheckpointError(
            f"A repair must not be written to where its model is: {folder}.",
            hint="Give a new folder with --out.",
        )
    if path.exists():
        if from_json(RepairPlan, path.read_text(encoding="utf-8")) != plan:
            raise CheckpointError(
                f"{folder} holds another repair: of another model, other speech or other settings.",
                hint="Give the command that it was begun with, or another --out.",
            )
        if (folder / "result.json").exists():
            raise CheckpointError(
                f"{folder} holds this repair, finished.",
                hint=f"Read {folder / 'result.json'}, or give another --out.",
            )
        return
    if folder.exists() and any(folder.iterdir()):
        raise CheckpointError(
            f"{folder} is not empty, and holds no repair that could be gone on with.",
            hint="Give a new folder with --out.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(path, to_json(plan).encode())


def _normalized(u: Utterance) -> Utterance:
    return replace(u, text=normalize(u.text, "basic"))


def _attributes(utterances: Sequence[Utterance], by: Sequence[str] | None) -> tuple[str, ...]:
    """The attributes to judge by, checked; or those that divide speakers into a few kinds."""
    values: dict[str, dict[str, set[str]]] = {}
    numeric: set[str] = set()
    for u in utterances:
        for name, value in u.attributes.items():
            if value is not None and isinstance(value, (str, int, float)):
                values.setdefault(name, {}).setdefault(u.speaker, set()).add(str(value))
                if not isinstance(value, (str, bool)):
                    numeric.add(name)
    if by is not None:
        for name in by:
            if name not in values:
                raise ConfigError(
                    f"There is no attribute {name!r}.",
                    hint=nearest_names(name, values) if values else "The corpus has none.",
                )
        return tuple(by)
    chosen = []
    for name, by_speaker in sorted(values.items()):
        kinds = {kind for own in by_speaker.values() for kind in own}
        few = 2 <= len(kinds) <= _MAX_KINDS or (name in numeric and len(kinds) > 1)
        if few and all(len(own) == 1 for own in by_speaker.values()) and name != COHORT:
            chosen.append(name)
    return tuple(chosen)


def _digest(bundle: Bundle) -> str:
    digest = hashlib.blake2b(bundle.tokenizer.model, digest_size=10)
    for name, tensor in sorted(bundle.model.state_dict().items()):
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _speech(utterances: Sequence[Utterance], division: Division) -> str:
    rows = sorted([u.utterance_id, u.speaker, u.text, u.seconds] for u in utterances)
    ids = [row[0] for row in rows]
    if len(set(ids)) < len(ids):
        twice = next(one for one, other in itertools.pairwise(ids) if one == other)
        raise CohortError(
            f"Each utterance needs an id of its own; {twice!r} comes twice.",
            hint="Test speech must not be among the speech to adapt to.",
        )
    parts = {part: sorted(names) for part, names in division._asdict().items()}
    return hashlib.blake2b(json.dumps([rows, parts]).encode(), digest_size=10).hexdigest()
