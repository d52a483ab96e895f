# SPDX-License-Identifier: Apache-2.0
"""The whole study: for each seed a model of single talkers, and every variant that begins with it.

Runs are done seed by seed, so a study that is stopped has whole seeds to compare. Each run leaves
its counts in a file and, while it lasts, a snapshot: the same command goes on where it was.

Legend: T feature frames, F feature width.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from evenear.atomic import write_bytes
from evenear.config import replace
from evenear.data.conversations.batches import MixtureBatchConfig, MixtureBatchMaker
from evenear.data.conversations.mixtures import plan_mixture, plan_to_json
from evenear.data.conversations.sounds import SoundStore, build_sound_store
from evenear.data.corpora.manifests import Utterance
from evenear.errors import CohortError
from evenear.features import FeatureConfig
from evenear.models.separator import SeparatorTransducer
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
_STATISTICS = 20
"""Batches whose frames say the features' mean and deviation."""


@dataclass(frozen=True)
class Study:
    """What is trained and tested on, how long, and where its files go."""

    train: SoundStore
    test: SoundStore
    tokenizer: Tokenizer
    folder: Path
    updates: int
    first_updates: int
    num_mixtures: int

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
        vocabulary_size: int = 64,
        progress: Callable[[int], None] | None = None,
    ) -> "Study":
        """Decode the recordings, and check that both sets share no speaker.

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
        return cls(
            train=build_sound_store(train, folder / "sounds", progress),
            test=build_sound_store(test, folder / "test-sounds", progress),
            tokenizer=Tokenizer.train([u.text for u in train], vocabulary_size),
            folder=folder,
            updates=updates,
            first_updates=first_updates,
            num_mixtures=num_mixtures,
        )

    def run(
        self, names: Sequence[str], num_seeds: int, report: Callable[[str], None]
    ) -> Iterator[Rows]:
        """Train and score what is not there yet; yield all counts after each run."""
        rows: Rows = {name: {} for name in names}
        for seed in range(num_seeds):
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
        groups = [names[first : first + 16] for first in range(0, len(names), 16)]
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
        config = variant_config(name, separator, updates=self.updates, seed=seed)
        return self._train(config, model, self.folder / "runs" / f"{name}-{seed}", report)

    def _first(self, seed: int, report: Callable[[str], None]) -> dict[str, torch.Tensor]:
        """Weights of the seed's model of single talkers."""
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
        config = model_config(
            _FEATURES,
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
        self, sounds: SoundStore, turns: str, seed: int, mixtures: object
    ) -> MixtureBatchMaker:
        return MixtureBatchMaker(
            sounds,
            self.tokenizer,
            MixtureBatchConfig(mixtures=mixtures),  # pyright: ignore[reportArgumentType]
            _FEATURES,
            stride=1,
            marks=turns,  # pyright: ignore[reportArgumentType]
            seed=seed,
        )

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
