# SPDX-License-Identifier: Apache-2.0
"""The whole reproduction of ConvRNN-T's table, stage by stage; each stage finds what it did before.

    data/         corpus and test, stored once for all runs
    runs/         a folder for each variant and seed
    measures/     time and identity of each variant, measured when all runs are done
    results.json  the numbers
    report.html   the same to be read

Killed anywhere, the same command goes on: what is finished is not done again, and a run that was
cut off goes on from its snapshot.

Legend: B utterances, T frames, F feature width.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from evenear.atomic import write_bytes
from evenear.checkpoint import load_model
from evenear.config import replace as replace_config
from evenear.data.batching.batches import collate
from evenear.data.batching.store import FrameStore
from evenear.data.corpora.manifests import Utterance
from evenear.errors import EvenearError, ManifestError
from evenear.evaluation import load_utterances
from evenear.features import stack_frames
from evenear.metrics.words import normalize
from evenear.reproduction.latency import delays, force_alignments
from evenear.reproduction.measures import (
    Costs,
    costs,
    counts_of_the_paper,
    streaming_gap,
    timed,
    trap_gap,
)
from evenear.reproduction.results import Curve, Delay, Measured, Results, Setting, gather
from evenear.reproduction.runs import Job, Step, run_all
from evenear.reproduction.scoring import CLEAN, Score, listen, read_scores
from evenear.search import BeamConfig
from evenear.streaming import Recognizer
from evenear.training.runs.preparation import Corpus, Source, check_widths, prepare
from evenear.training.settings import TrainingConfig

__all__ = ["Experiment", "Plan", "sized"]

_CHECKED = 6
"""Utterances that the streaming check cuts into chunks."""


@dataclass(frozen=True)
class Plan:
    """What is compared, on what, and where the files go."""

    configs: Mapping[str, TrainingConfig]
    """The run of each variant; its seed is replaced."""
    sources: tuple[Source, ...]
    test: Path
    out: Path
    split: str | None = None
    """Only test utterances of this split."""
    limit: int | None = None
    """At most so many test utterances, spread over the corpus."""
    num_seeds: int = 3
    snrs_db: tuple[float, ...] = (20.0, 10.0, 5.0)
    num_timed: int = 40
    """Test utterances that are streamed to measure time."""
    command: str = ""
    """How this was asked for, for the record."""


def sized(config: TrainingConfig, num_updates: int) -> TrainingConfig:
    """A run of so many updates that still evaluates and saves ten times or more."""
    tenth = max(1, num_updates // 10)
    return replace_config(
        config,
        num_updates=num_updates,
        evaluate_every=min(config.evaluate_every, tenth),
        snapshot_every=min(config.snapshot_every, tenth),
    )


class Experiment:
    """A plan whose corpora are prepared.

    Args:
        plan: What to do.
        progress: Called with the number of utterances that were stored.

    Raises:
        ConfigError: An encoder was not made for the features.
        ManifestError: A corpus cannot be read, or utterances of the test are in it.
        EvenearError: The folder holds runs on other speech.
    """

    def __init__(self, plan: Plan, *, progress: Callable[[int], None] | None = None) -> None:
        self.plan = plan
        for config in plan.configs.values():
            check_widths(config)
        first = next(iter(plan.configs.values()))
        self.features = first.data.store.features
        data = plan.out / "data"
        self.corpus = prepare(plan.sources, first.data, data, seed=0, progress=progress)
        self.test = _spread(load_utterances(plan.test, split=plan.split), plan.limit)
        _check_apart(self.corpus, self.test)
        self.stores = listen(
            self.test,
            self.features,
            plan.snrs_db,
            data / "test",
            num_processes=os.cpu_count() or 1,
            progress=progress,
        )
        self._check_same_speech()
        parts = tuple((name, store.parts) for name, store in self.stores.items())
        self.jobs = [
            Job(
                variant=name,
                config=replace_config(config, seed=seed),
                sources=plan.sources,
                data_folder=data,
                test_parts=parts,
                folder=plan.out / "runs" / f"{name}-{seed}",
            )
            for seed in range(plan.num_seeds)  # all variants first, so that a part is a table too
            for name, config in plan.configs.items()
        ]

    def run(
        self,
        *,
        num_workers: int,
        report: Callable[[Step], None],
        is_stopped: Callable[[], bool],
    ) -> bool:
        """Train and score what is not done; tell whether all is."""
        return run_all(self.jobs, num_workers=num_workers, report=report, is_stopped=is_stopped)

    def measure(self, *, report: Callable[[str], None] | None = None) -> Results:
        """Measure time and identity, align, compare and judge; all runs must be done."""
        scores = {name: self._scores(name) for name in self.plan.configs}
        aligner = self._aligner()
        bundle = load_model(aligner.model_folder)
        clean = self.stores[CLEAN]
        references = force_alignments(bundle.model, bundle.tokenizer, bundle.features, clean)
        hours = sum(u.seconds for u in self.test) / 3600
        num_tokens = sum(len(reference.tokens) for reference in references.values())
        tokens_per_second = num_tokens / max(3600 * hours, 1e-9)
        measured = {}
        for name in self.plan.configs:
            if report is not None:
                report(name)
            facts = self._facts(name, tokens_per_second)
            frame_seconds = self.features.clock.frame_seconds * facts.pop("stride")
            read = [one for run in scores[name] for one in run if one.condition == CLEAN]
            late = delays(read, references, frame_seconds)
            delay = Delay(
                mean=late.mean_milliseconds,
                p50=late.percentile_milliseconds(50),
                p90=late.percentile_milliseconds(90),
                num_tokens=len(late.seconds),
                share_right=len(late.seconds) / max(late.num_tokens, 1),
            )
            measured[name] = Measured(costs=Costs(**facts.pop("costs")), delay=delay, **facts)
        curves = {name: [_curve(job) for job in self._of(name)] for name in self.plan.configs}
        setting = self._setting(next(iter(scores.values()))[0], hours)
        counts = counts_of_the_paper()
        return gather(setting, scores, curves, measured, counts, aligner.name)

    def _check_same_speech(self) -> None:
        """Refuse to mix runs on different speech; parts are named by what they hold."""
        stores = {"train": self.corpus.train, "dev": self.corpus.dev, **self.stores}
        content: dict[str, Any] = {
            name: [part.name for part in store.parts] for name, store in stores.items()
        }
        content["repeats"] = [source.repeats for source in self.plan.sources]
        path = self.plan.out / "data" / "speech.json"
        if path.exists() and _read(path) != content:
            raise EvenearError(
                f"{self.plan.out} holds runs on other speech.",
                hint="Give the --data, --test, --split and --limit it was begun with, or another "
                "--out.",
            )
        write_bytes(path, (json.dumps(content, indent=1) + "\n").encode())

    def _of(self, variant: str) -> list[Job]:
        return [job for job in self.jobs if job.variant == variant]

    def _scores(self, variant: str) -> list[list[Score]]:
        return [read_scores(job.scores_path) for job in self._of(variant)]

    def _aligner(self) -> Job:
        """The run that heard held-out speakers best."""
        return min(self.jobs, key=lambda job: _known(_read(job.curve_path)["best_dev_wer"]))

    def _facts(self, variant: str, tokens_per_second: float) -> dict[str, Any]:
        """What is measured once of a variant's first seed, and then read from its file."""
        path = self.plan.out / "measures" / f"{variant}.json"
        if path.exists():
            return _read(path)
        bundle = load_model(self._of(variant)[0].model_folder)
        recognizer = Recognizer(bundle, beam=BeamConfig(width=1))
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            time = timed(recognizer, _spread(self.test, self.plan.num_timed))
        finally:
            torch.set_num_threads(threads)
        features_BTF = bundle.model.normalize(self._checked_features())
        encoder = bundle.model.encoder
        frame_seconds = self.features.clock.frame_seconds
        facts = {
            "stride": encoder.stride,
            "costs": asdict(costs(bundle.model, frame_seconds, tokens_per_second)),
            "real_time_factor": time.real_time_factor,
            "chunk_p95_milliseconds": time.percentile_milliseconds(95),
            "streaming_gap": streaming_gap(encoder, features_BTF),
            "trap_gap": trap_gap(encoder, features_BTF),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, (json.dumps(facts, indent=1) + "\n").encode())
        return facts

    def _checked_features(self) -> torch.Tensor:
        """A batch of equally long pieces of real speech."""
        store: FrameStore = self.stores[CLEAN]
        longest = sorted(range(len(store)), key=lambda i: -store.utterances[i].num_frames)
        chosen = [stack_frames(store.frames(i), self.features) for i in longest[:_CHECKED]]
        shortest = min(len(frames_TF) for frames_TF in chosen)
        ids = [str(i) for i in range(len(chosen))]
        cut = [frames_TF[:shortest] for frames_TF in chosen]
        return collate(ids, cut, [[] for _ in chosen]).features_BTF

    def _setting(self, scores: Sequence[Score], hours: float) -> Setting:
        clean = [one for one in scores if one.condition == CLEAN]
        learned = (*self.corpus.train.utterances, *self.corpus.dev.utterances)
        heard = {u.speaker for u in learned}
        said = {normalize(u.text) for u in learned}
        first = next(iter(self.plan.configs.values()))
        return Setting(
            command=self.plan.command,
            data=tuple(_name(source.manifest) for source in self.plan.sources),
            test=_name(self.plan.test) + (f", split {self.plan.split}" if self.plan.split else ""),
            hours=round(self.corpus.train.hours, 2),
            num_updates=first.num_updates,
            num_seeds=self.plan.num_seeds,
            num_utterances=len(clean),
            num_words=sum(one.words for one in clean),
            num_speakers=len({one.speaker for one in clean}),
            test_hours=round(hours, 3),
            shared_speakers=len({one.speaker for one in clean} & heard),
            shared_sentences=sum(normalize(one.text) in said for one in self.test),
        )


def _spread(utterances: Sequence[Utterance], limit: int | None) -> list[Utterance]:
    """At most so many of them, evenly over the corpus."""
    total = len(utterances)
    if limit is None or limit >= total:
        return list(utterances)
    return [utterances[i * total // limit] for i in range(limit)]


def _check_apart(corpus: Corpus, test: Sequence[Utterance]) -> None:
    """Refuse a test that was trained on."""
    stored = (*corpus.train.utterances, *corpus.dev.utterances)
    known = {u.utterance_id for u in stored} & {u.utterance_id for u in test}
    if known:
        raise ManifestError(
            f"{len(known)} of {len(test)} test utterances are in the training data, for example "
            f"{min(known)!r}.",
            hint="Give another --test, or name its --split; splits called test are not trained on.",
        )


def _curve(job: Job) -> Curve:
    content = _read(job.curve_path)
    history = content["history"]
    return Curve(
        seed=job.config.seed,
        updates=tuple(int(row["update"]) for row in history),
        dev_wers=tuple(row["dev_wer"] for row in history),
        losses=tuple(row["loss"] for row in history),
    )


def _known(wer: float | None) -> float:
    return float("inf") if wer is None or wer != wer else wer


def _name(path: Path) -> str:
    """A corpus by its folder, since most manifests have the same name."""
    resolved = path.resolve()
    return resolved.parent.name if resolved.is_file() else resolved.name


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
