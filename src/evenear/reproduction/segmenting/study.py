# SPDX-License-Identifier: Apache-2.0
"""The whole study: for each seed a model of single talkers, and every variant that begins with it.

Runs are done seed by seed, so a study that is stopped has whole seeds to compare. Each run leaves
its counts in a file and, while it lasts, a snapshot: the same command goes on where it was.

Legend: T feature frames, F feature width.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from evenear.atomic import write_bytes
from evenear.config import replace, to_json
from evenear.data.conversations.batches import MixtureBatchConfig, MixtureBatchMaker
from evenear.data.conversations.joined import JoinedSounds
from evenear.data.conversations.mixtures import MixtureConfig, plan_mixture, plan_to_json
from evenear.data.conversations.sounds import Sounds, build_sound_store
from evenear.data.corpora.manifests import Utterance
from evenear.errors import CohortError
from evenear.features import FeatureConfig
from evenear.models.twotalkers import SeparatorTransducer
from evenear.reproduction.segmenting.listening import EncoderFrames
from evenear.reproduction.segmenting.scores import MixtureScore, score_mixtures
from evenear.reproduction.segmenting.variants import (
    MIXTURES,
    VARIANTS,
    first_config,
    model_config,
    variant_config,
)
from evenear.seeding import torch_rng_for
from evenear.tokenizer import Tokenizer
from evenear.training.loop.optimizers import build_optimizers
from evenear.training.loop.trainer import Trainer
from evenear.training.tasks.separator import SeparatorTask, TwoTalkerConfig

__all__ = ["Rows", "Study"]

Rows = dict[str, dict[int, list[MixtureScore]]]
"""Counts of each test mixture, by variant and seed; in each the same mixtures in the same order."""

_FEATURES = FeatureConfig()
_TEST_SEED = 5
_JOINED = 4
"""Turns for each recording of a corpus of single words."""
_TOGETHER = 64
"""Test mixtures that are read together."""
_STATISTICS = 20
"""Batches whose frames say the features' mean and deviation."""


@dataclass(frozen=True)
class Study:
    """What is trained and tested on, how long, and where its files go."""

    train: Sounds
    test: Sounds
    tokenizer: Tokenizer
    folder: Path
    updates: int
    first_updates: int
    num_mixtures: int
    hears_with: EncoderFrames | None = None
    """Makes frames of sound; None: log-mel frames."""
    frames: dict[str, dict[str, NDArray[np.float32]]] = field(default_factory=dict)
    """Frames of mixtures that were made already: all variants of a seed hear the same ones."""

    @classmethod
    def prepare(
        cls,
        train: Sequence[Utterance],
        test: Sequence[Utterance],
        folder: Path,
        *,
        updates: int,
        first_updates: int,
        num_mixtures: int,
        words: tuple[int, int] | None = None,
        hears_with: EncoderFrames | None = None,
        vocabulary_size: int = 64,
        progress: Callable[[int], None] | None = None,
    ) -> "Study":
        """Decode the recordings, and check that both sets share no speaker.

        Args:
            train: Recordings to train on.
            test: Recordings of others, to test on.
            folder: Where everything goes.
            updates: Updates of each variant.
            first_updates: Updates on single talkers, once for each seed.
            num_mixtures: Conversations to test on.
            words: Fewest and most recordings of a turn, for a corpus of single words; None takes
                each recording as a turn.
            hears_with: Makes frames of sound; None: log-mel frames.
            vocabulary_size: Pieces of words, at most.
            progress: Hears of recordings that were decoded.

        Raises:
            CohortError: A test speaker is trained on.
        """
        shared = {u.speaker for u in train} & {u.speaker for u in test}
        if shared:
            raise CohortError(
                f"Speakers to test on must not be trained on; {len(shared)} are, such as "
                f"{min(shared)!r}.",
                hint="Give --split to test on a split that training leaves out.",
            )
        stores: list[Sounds] = [
            build_sound_store(train, folder / "sounds", progress),
            build_sound_store(test, folder / "test-sounds", progress),
        ]
        if words is not None:
            stores = [
                JoinedSounds(own, count=_JOINED * len(own.voices), parts=words, seed=number)
                for number, own in enumerate(stores)
            ]
        return cls(
            train=stores[0],
            test=stores[1],
            tokenizer=hears_with.tokenizer
            if hears_with is not None
            else Tokenizer.train([u.text for u in train], vocabulary_size),
            folder=folder,
            updates=updates,
            first_updates=first_updates,
            num_mixtures=num_mixtures,
            hears_with=hears_with,
        )

    def run(
        self, names: Sequence[str], num_seeds: int, report: Callable[[str], None]
    ) -> Iterator[Rows]:
        """Train and score what is not there yet; yield all counts after each run."""
        rows: Rows = {name: {} for name in names}
        for seed in range(num_seeds):
            self.frames.clear()
            for name in names:
                path = self.folder / "runs" / f"{name}-{seed}.json"
                if not path.exists():
                    report(f"{VARIANTS[name].label}, seed {seed}")
                    model = self._trained(name, seed, report)
                    found = [one.to_dict() for one in self.scores(model, name)]
                    write_bytes(path, (json.dumps(found) + "\n").encode())
                values = json.loads(path.read_text(encoding="utf-8"))
                rows[name][seed] = [MixtureScore.from_dict(one) for one in values]
                yield rows

    def scores(self, model: SeparatorTransducer, name: str) -> list[MixtureScore]:
        """Counts of a model on the test mixtures."""
        maker = self._maker(self.test, VARIANTS[name].turns, _TEST_SEED, MIXTURES)
        names = [f"test-{number}" for number in range(self.num_mixtures)]
        groups = [names[first : first + _TOGETHER] for first in range(0, len(names), _TOGETHER)]
        return score_mixtures(model.eval(), maker, groups)

    def test_plans(self) -> list[str]:
        """The test mixtures as JSON lines, so that anyone can rebuild them."""
        plans = (
            plan_mixture(MIXTURES, self.test, seed=_TEST_SEED, mixture_id=f"test-{number}")
            for number in range(self.num_mixtures)
        )
        return [json.dumps(plan_to_json(plan), ensure_ascii=False) for plan in plans]

    def _trained(self, name: str, seed: int, report: Callable[[str], None]) -> SeparatorTransducer:
        """A variant, from the seed's model of single talkers on."""
        model = self._fresh(name, seed)
        model.load_state_dict(self._first(seed, report))
        model.separator.copy_first_channel()
        separator = model.config.separator
        rate = 3e-3 if self.hears_with is None else 1e-3
        config = variant_config(name, separator, updates=self.updates, seed=seed, peak_rate=rate)
        return self._train(config, model, self.folder / "runs" / f"{name}-{seed}", report)

    def _first(self, seed: int, report: Callable[[str], None]) -> dict[str, torch.Tensor]:
        """Weights of the seed's model of single talkers, or of the trained recognizer's own."""
        if self.hears_with is not None:
            return self._fresh("none", seed).state_dict()
        path = self.folder / "runs" / f"first-{seed}.pt"
        if not path.exists():
            report(f"single talkers, seed {seed}")
            model = self._fresh("none", seed)
            config = first_config(model.config.separator, updates=self.first_updates, seed=seed)
            self._set_statistics(model, config)
            model = self._train(config, model, self.folder / "runs" / f"first-{seed}", report)
            torch.save(model.state_dict(), path.with_suffix(".writing"))
            path.with_suffix(".writing").rename(path)
        return torch.load(path, weights_only=True)

    def _fresh(self, name: str, seed: int) -> SeparatorTransducer:
        if self.hears_with is not None:
            with torch.random.fork_rng(devices=[]):
                torch.random.set_rng_state(torch_rng_for(seed, "weights").get_state())
                return self.hears_with.begun(turns=VARIANTS[name].turns)
        config = model_config(
            self._features,
            vocabulary_size=len(self.tokenizer),
            blank_id=self.tokenizer.blank_id,
            turns=VARIANTS[name].turns,
        )
        with torch.random.fork_rng(devices=[]):
            torch.random.set_rng_state(torch_rng_for(seed, "weights").get_state())
            return SeparatorTransducer(config)

    def _train(
        self,
        config: TwoTalkerConfig,
        model: SeparatorTransducer,
        folder: Path,
        report: Callable[[str], None],
    ) -> SeparatorTransducer:
        """The moving average of the weights after the run; from its snapshot, if there is one."""
        maker = self._maker(self.train, config.turns, config.seed, config.batches.mixtures)
        maker.settings = config.batches
        task = SeparatorTask(config, model, maker, dev=[])  # nothing is chosen: the last count
        folder.mkdir(parents=True, exist_ok=True)
        trainer = Trainer(task, build_optimizers(model, config.optimizer), config, folder)
        if trainer.snapshot_path.exists():
            trainer.resume()
        for step in trainer.run():
            if step.update % max(1, config.num_updates // 4) == 0:
                report(f"  update {step.update} of {config.num_updates}: loss {step.loss:.2f}")
        averaged = trainer.averaged()
        assert isinstance(averaged, SeparatorTransducer)
        trainer.snapshot_path.unlink()
        return averaged

    def _maker(
        self, sounds: Sounds, turns: str, seed: int, mixtures: MixtureConfig
    ) -> MixtureBatchMaker:
        kept = json.dumps([sounds is self.test, seed, to_json(mixtures)])
        return MixtureBatchMaker(
            sounds,
            self.tokenizer,
            MixtureBatchConfig(mixtures=mixtures),
            self._features,
            stride=1,
            marks=turns,  # pyright: ignore[reportArgumentType]
            seed=seed,
            own_sound=False,
            kept=self.frames.setdefault(kept, {}),
            frames_of=self.hears_with,
        )

    @property
    def _features(self) -> FeatureConfig:
        return self.hears_with.config if self.hears_with is not None else _FEATURES

    def _set_statistics(self, model: SeparatorTransducer, config: TwoTalkerConfig) -> None:
        """Mean and deviation of the features of some training mixtures."""
        maker = self._maker(self.train, "none", config.seed, config.batches.mixtures)
        maker.settings = replace(config.batches, num_mixtures=_STATISTICS)
        frames = []
        for group in maker.plan(0):
            batch = maker.batch(group, 0)
            pairs = zip(batch.features_BTF, batch.lengths_B.tolist(), strict=True)
            frames += [features_TF[:length] for features_TF, length in pairs]
        joined_TF = torch.cat(frames)
        model.mean_F.copy_(joined_TF.mean(dim=0))
        model.scale_F.copy_(1.0 / joined_TF.std(dim=0).clamp_min(1e-3))
