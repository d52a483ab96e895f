# SPDX-License-Identifier: Apache-2.0
"""One candidate of a repair: a method at one setting of its dial, trained from the model at hand.

The mix of speech is part of the method: the cohort alone, the cohort with some of the others, or
everyone with the cohort several times.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evenear.checkpoint import Bundle, Dial, load_model, save_model
from evenear.data.batching.batches import Batch, BatchConfig, BatchMaker, Pick
from evenear.data.batching.store import FrameStore, StoreConfig
from evenear.losses.ewc import EwcPenalty, Fisher, diagonal_fisher
from evenear.losses.reweighting.groups import CtcDro, GroupDro, GroupWeights
from evenear.metrics.words import WordErrors
from evenear.models.transducer import Transducer
from evenear.seeding import rng_for, torch_rng_for
from evenear.training.loop.trainer import Progress, Trainer
from evenear.training.mitigation.adaptation.adapters import (
    add_adapters,
    freeze,
    merged,
    optimizer_of,
)
from evenear.training.mitigation.adaptation.embedding import UNKNOWN, CohortRecognizer
from evenear.training.mitigation.adaptation.task import MitigationTask
from evenear.training.mitigation.plan import METHODS, MitigationConfig
from evenear.training.settings import DataConfig, ModelConfig, OptimizerConfig, TrainingConfig
from evenear.training.tasks.transducer import TransducerTask

__all__ = ["Material", "Repaired", "estimate_fisher", "train_candidate"]

_REST, _COHORT = 0, 1
_EVERYONE = ("fine-tune-all", "oversample", "cohort-embedding", "oversample-embedding")
_DRO = ("group-dro", "ctc-dro")


@dataclass(frozen=True)
class Material:
    """What candidates are made of."""

    bundle: Bundle
    """What adapts: a recognizer, or the upper part of one."""
    store: FrameStore
    """Speech of the adaptation speakers."""
    members: Mapping[str, bool | None]
    """Each speaker, and whether in the cohort; unknown ones count as others."""
    config: MitigationConfig
    fisher: Fisher | None = None

    @property
    def cohorts(self) -> dict[str, int]:
        """The side of each utterance: 1 in the cohort, 0 out of it."""
        return {u.utterance_id: int(bool(self.members[u.speaker])) for u in self.store.utterances}


@dataclass(frozen=True)
class Repaired:
    """What came out: one recognizer, or one for each cohort and one for unknown speakers."""

    model: Transducer
    cohort: Transducer | None = None
    rest: Transducer | None = None

    def of(self, is_member: bool | None) -> Transducer:
        """The recognizer of a speaker."""
        if is_member is None:
            return self.model
        return (self.cohort if is_member else self.rest) or self.model

    def save(
        self,
        folder: Path,
        bundle: Bundle,
        card: str = "",
        provenance: Mapping[str, Any] | None = None,
        dial: Dial | None = None,
    ) -> None:
        """Write its model folders; the one that `load` looks for comes last.

        Args:
            folder: Where they go.
            bundle: What the recognizers were made from; they get all that is no weight from it.
            card: Their card; that of the bundle if it is empty.
            provenance: How they came to be; the bundle's if there is none.
            dial: The bundle's dial, if their encoder is the bundle's.
        """
        for name, model in (("cohort", self.cohort), ("rest", self.rest), ("model", self.model)):
            if model is not None:
                save_model(
                    folder / name,
                    model=model,
                    features=bundle.features,
                    tokenizer=bundle.tokenizer,
                    card=card or bundle.card,
                    language_model=bundle.language_model,
                    search=bundle.search,
                    words=bundle.words,
                    word_search=bundle.word_search,
                    provenance=provenance or bundle.provenance,
                    dial=dial,
                    rescorer=bundle.rescorer,
                )

    @classmethod
    def load(cls, folder: Path) -> "Repaired":
        """Read what `save` wrote."""
        sides = {
            name: load_model(folder / name).model if (folder / name).is_dir() else None
            for name in ("cohort", "rest")
        }
        return cls(load_model(folder / "model").model, **sides)


def estimate_fisher(material: Material, *, progress: Callable[[int], None] | None = None) -> Fisher:
    """What everyone among the adaptation speakers needs of each weight, as they are, unvaried.

    Our reading of "general population": a random sample of the adaptation speakers, the cohort as
    frequent in it as it is. The loss is that of training, auxiliary heads included.
    """
    how = material.config
    rng = rng_for(how.seed, "fisher")
    firsts = [k for k, u in enumerate(material.store.utterances) if u.copy == 0]
    chosen = rng.permutation(firsts)[: how.fisher_utterances]
    model = copy.deepcopy(material.bundle.model)
    task = _task(material, model, {}, 1.0)

    def losses_of(batch: Batch) -> Tensor:
        return task.total(task.inner.objective.losses(batch))  # no token hidden, nothing detached

    plain = BatchMaker(
        material.store,
        material.bundle.tokenizer,
        BatchConfig(min_seconds=0.0, max_seconds=60.0, augmentation=None),
        material.bundle.features,
        seed=how.seed,
        lexicon=material.bundle.words.lexicon if material.bundle.words else None,
    )
    batches = (plain.batch([Pick(int(k))], 0) for k in chosen)
    return diagonal_fisher(model, losses_of, batches, progress=progress)


def train_candidate(
    material: Material,
    setting: float,
    folder: Path,
    *,
    report: Callable[[Progress], None] | None = None,
) -> Repaired:
    """Train a candidate, or go on with it, or read it if it is done.

    Args:
        material: What it is made of.
        setting: The setting of the method's dial.
        folder: Where its files go; what a killed run left there is gone on with.
        report: Called after each update.
    """
    if (folder / "model").is_dir():
        return Repaired.load(folder)
    if material.config.method == "average":
        tuned = _trained(material, setting, folder.parent / "fine-tuned", report)
        made = Repaired(_between(material.bundle.model, tuned.model, setting))
    else:
        made = _trained(material, setting, folder, report)
    made.save(folder, material.bundle)
    return made


def _trained(
    material: Material, setting: float, folder: Path, report: Callable[[Progress], None] | None
) -> Repaired:
    """Train to the end, from the last snapshot if there is one."""
    how = material.config
    model = copy.deepcopy(material.bundle.model)
    task = _task(material, model, _repeats(material, setting), setting)
    if how.method == "adapters":
        add_adapters(model, how.rank, torch_rng_for(how.seed, "adapters"))
    elif how.method.startswith("freeze-"):
        freeze(model, how.method.removeprefix("freeze-"))
    if how.layers == 0:
        freeze(model, "encoder")  # its last normalization, too: then a dial still fits it
    penalties = {}
    if how.method in ("ewc", "l2sp"):
        fisher = material.fisher if how.method == "ewc" else Fisher.ones(model)
        assert fisher is not None, "whoever asks for ewc estimates it first"
        penalties[how.method] = EwcPenalty(model, fisher, setting)
    trainer = Trainer(
        task,
        [optimizer_of(task.model)],
        task.inner.config,
        folder,
        weigh=task.weigh if task.groups is not None else None,
        penalties=penalties,
    )
    if trainer.snapshot_path.exists():
        trainer.resume()
    for step in trainer.run():
        if report is not None:
            report(step)
    done = trainer.averaged()
    if isinstance(done, CohortRecognizer):
        return Repaired(
            done.recognizer(UNKNOWN), done.recognizer(_COHORT + 1), done.recognizer(_REST + 1)
        )
    assert isinstance(done, Transducer)
    return Repaired(merged(done))


def _task(
    material: Material, model: Transducer, repeats: dict[str, float], setting: float
) -> MitigationTask:
    how, cohorts = material.config, material.cohorts
    config = _training(material, setting)
    batches = BatchMaker(
        material.store,
        material.bundle.tokenizer,
        config.data.batches,
        material.bundle.features,
        seed=how.seed,
        repeats=repeats,
        lexicon=material.bundle.words.lexicon if material.bundle.words else None,
    )
    embedding = None
    if how.method.endswith("embedding"):
        embedding = CohortRecognizer(model, 2, torch_rng_for(how.seed, "cohort embedding"))
    return MitigationTask(
        TransducerTask(config, model, batches, lambda _: WordErrors()),
        cohorts,
        embedding=embedding,
        unknown_chance=how.unknown_chance,
        groups=_groups(material, repeats, setting),
        seed=how.seed,
    )


def _training(material: Material, setting: float) -> TrainingConfig:
    """The run of a candidate."""
    how, model = material.config, material.bundle.model.config
    factor = setting if METHODS[how.method].name == "rate" else 1.0
    return TrainingConfig(
        name=f"{material.bundle.name}-{how.method}",
        seed=how.seed,
        num_updates=how.updates,
        data=DataConfig(
            store=StoreConfig(features=material.bundle.features),
            batches=BatchConfig(seconds=how.batch_seconds, augmentation=how.augmentation),
        ),
        model=ModelConfig(
            encoder=model.encoder, predictor=model.predictor, joiner_dim=model.joiner_dim
        ),
        objective=how.objective,
        optimizer=OptimizerConfig(
            peak_rate=factor * how.rate,
            warmup_updates=max(1, min(20, how.updates // 5)),
            weight_decay=0.0,
        ),
        precision=how.precision,
        evaluate_every=how.updates,
        snapshot_every=max(1, min(50, how.updates // 4)),
    )


def _repeats(material: Material, setting: float) -> dict[str, float]:
    """How often each utterance comes in an epoch, where that is not once."""
    method, cohorts = material.config.method, material.cohorts
    num_cohort = sum(cohorts.values())
    num_rest = len(cohorts) - num_cohort
    of_cohort, of_rest = 1.0, 0.0
    if method == "replay":
        of_rest = setting / (1.0 - setting) * num_cohort / num_rest
    elif method in _EVERYONE:
        of_cohort, of_rest = (setting if method.startswith("oversample") else 1.0), 1.0
    elif method in _DRO:  # both sides equally often: what weighs more is for q alone to say
        of_cohort, of_rest = max(1.0, num_rest / num_cohort), max(1.0, num_cohort / num_rest)
    times = {_COHORT: of_cohort, _REST: of_rest}
    return {name: times[side] for name, side in cohorts.items() if times[side] != 1.0}


def _groups(
    material: Material, repeats: Mapping[str, float], setting: float
) -> GroupWeights | None:
    if material.config.method not in _DRO:
        return None
    drawn = [0.0, 0.0]
    for name, side in material.cohorts.items():
        drawn[side] += repeats.get(name, 1.0)
    shares = [one / sum(drawn) for one in drawn]
    kind = GroupDro if material.config.method == "group-dro" else CtcDro
    return kind(shares, step=setting)


def _between(before: Transducer, after: Transducer, weight: float) -> Transducer:
    """A model whose weights lie between two, so far from the first."""
    mixed, other = copy.deepcopy(before), after.state_dict()
    mixed.load_state_dict(
        {
            name: torch.lerp(tensor, other[name], weight) if tensor.is_floating_point() else tensor
            for name, tensor in before.state_dict().items()
        }
    )
    return mixed.eval()
