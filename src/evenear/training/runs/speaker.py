# SPDX-License-Identifier: Apache-2.0
"""A run of a speaker verifier from manifests to a model folder: stores, trains, keeps the best.

Every speed of speech is a store of its own, so what is stored of one serves all runs.

Legend: F feature width.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from evenear.checkpoint.speakers import load_speaker, save_speaker
from evenear.config import replace
from evenear.data.batching.crops import CropMaker, StoredVoices
from evenear.data.batching.store import FrameStore, build_store
from evenear.data.corpora.manifests import Utterance, load_cuts, utterance
from evenear.data.corpora.rows import UNKNOWN_SPEAKER
from evenear.data.corpora.splits import in_words, is_held_back
from evenear.errors import CheckpointError, ConfigError, ManifestError
from evenear.seeding import torch_rng_for
from evenear.training.loop.optimizers import build_optimizers
from evenear.training.loop.trainer import Progress, Trainer
from evenear.training.runs.preparation import (
    Source,
    feature_statistics,
    nothing_left,
    split_speakers,
)
from evenear.training.tasks.speaker import (
    SpeakerDataConfig,
    SpeakerLearner,
    SpeakerTask,
    SpeakerTrainingConfig,
)

__all__ = ["SpeakerRun", "Voices", "prepare_voices", "read_voices"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Voices:
    """Stored speech: by speed to train on, and of held-out speakers."""

    train: StoredVoices
    dev: FrameStore


@dataclass(frozen=True)
class SpeakerRun:
    """A prepared run. `train` runs it; the model with the lowest EER stays in its folder."""

    config: SpeakerTrainingConfig
    voices: Voices
    task: SpeakerTask
    trainer: Trainer
    folder: Path

    @classmethod
    def prepare(
        cls,
        config: SpeakerTrainingConfig,
        sources: Sequence[Source],
        folder: Path,
        *,
        start_from: str | Path | None = None,
        threads: int | None = None,
        device: str = "cpu",
        progress: Callable[[int], None] | None = None,
    ) -> "SpeakerRun":
        """Read and store the corpora, and build the network.

        Args:
            config: The run.
            sources: What to train on; how often is not asked, as speakers are drawn.
            folder: Where the run's files go.
            start_from: A trained verifier (its folder or name) whose network to begin with.
            threads: Threads for all of torch in this process; None leaves them as they are.
            device: Where to compute: cpu, cuda or cuda:1.
            progress: Called with the number of utterances that were stored.

        Raises:
            ConfigError: The network was not made for the features.
            CheckpointError: The verifier to start from is damaged or of another shape.
            ManifestError: A corpus does not say who speaks.
        """
        wanted = (config.model.encoder.feature_dim, config.model.encoder.stack)
        features = config.data.store.features
        if wanted != (features.dim, features.stack):
            raise ConfigError(
                f"The network reads features of width {wanted[0]} with {wanted[1]} frames stacked; "
                f"those stored have {features.dim} and {features.stack}.",
                hint="--set model.encoder.feature_dim=… and model.encoder.stack=…",
            )
        if threads is not None:
            torch.set_num_threads(threads)
        begun = load_speaker(start_from) if start_from is not None else None
        if begun is not None and begun.model.config != config.model:
            raise CheckpointError(
                f"The verifier {begun.name} to start from has another shape than the recipe "
                "builds.",
                hint="Start from one of the same recipe.",
            )
        voices = prepare_voices(
            read_voices(sources, config.data.excluded_splits),
            config.data,
            folder / "frames",
            seed=config.seed,
            progress=progress,
        )
        run = cls.over(voices, config, folder, device=device)
        if begun is not None:
            run.task.model.speaker.load_state_dict(begun.model.state_dict())
            run.trainer.averaged().load_state_dict(run.task.model.state_dict())
        return run

    @classmethod
    def over(
        cls, voices: Voices, config: SpeakerTrainingConfig, folder: Path, *, device: str = "cpu"
    ) -> "SpeakerRun":
        """Build the network of a run over stored voices, which several runs may share."""
        features = config.data.store.features
        crops = CropMaker(voices.train, config.crops, features, seed=config.seed)
        with torch.random.fork_rng(devices=[]):
            torch.random.set_rng_state(torch_rng_for(config.seed, "weights").get_state())
            learner = SpeakerLearner(config, len(voices.train.speakers))
        plain = next(iter(voices.train.stores.values()))
        mean_F, scale_F = feature_statistics(plain, features.stack)
        learner.speaker.mean_F.copy_(mean_F)
        learner.speaker.scale_F.copy_(scale_F)
        task = SpeakerTask(config, learner.to(device), crops, voices.dev)
        trainer = Trainer(
            task,
            build_optimizers(learner, config.optimizer),
            config,
            folder,
            device=device,
            weigh=task.weigh if task.reweighting is not None else None,
        )
        return cls(config, voices, task, trainer, folder)

    @property
    def model_folder(self) -> Path:
        """Where the best model goes."""
        return self.folder / "model"

    @property
    def description(self) -> str:
        """What is about to be trained, on what."""
        speaker = self.task.model.speaker
        parameters = sum(p.numel() for p in speaker.parameters())
        return (
            f"{self.config.name}: {parameters / 1e6:.2f} M parameters, "
            f"{len(self.voices.train.speakers)} speakers with speeds, "
            f"{self.voices.train.hours:.2f} hours to train on (copies counted), "
            f"{len(self.voices.dev)} held-out utterances, {self.config.num_updates} updates"
        )

    def train(self) -> Iterator[Progress]:
        """Train to the end; keep a model folder whenever held-out speakers are told apart best."""
        self.trainer.on_best = self._keep
        for step in self.trainer.run():
            if step.score is not None and not self.model_folder.exists():
                self._keep()
            yield step

    def _keep(self) -> None:
        learner = self.trainer.averaged()
        assert isinstance(learner, SpeakerLearner)
        save_speaker(
            self.model_folder, model=learner.speaker, features=self.config.data.store.features
        )


def read_voices(sources: Sequence[Source], excluded_splits: Sequence[str] = ()) -> list[Utterance]:
    """Utterances outside the excluded splits, whatever their text.

    Raises:
        ManifestError: An utterance does not say who speaks.
    """
    found = []
    left_out: Counter[str] = Counter()
    for source in sources:
        for cut in iter(load_cuts(source.manifest)):
            one = utterance(cut)
            split = one.attributes.get("split")
            if is_held_back(split) or split in excluded_splits:
                left_out[f"of the split {split}"] += 1
                continue
            if one.speaker == UNKNOWN_SPEAKER:
                raise ManifestError(
                    f"Learning voices needs to know who speaks; {one.utterance_id!r} in "
                    f"{source.manifest} does not say.",
                    hint="Give each row its speaker, or leave the corpus out.",
                )
            found.append(one)
    if not found:
        raise nothing_left(left_out)
    if left_out:
        _log.warning("Left out: %s.", in_words(left_out))
    return found


def prepare_voices(
    utterances: Sequence[Utterance],
    settings: SpeakerDataConfig,
    folder: Path,
    *,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> Voices:
    """Store utterances at every speed, and hold speakers out.

    All are stored, the held-out ones too, so that what is stored does not depend on the seed.
    """
    _, dev = split_speakers(utterances, settings.dev_speakers, seed=seed)
    kept = settings.store
    held_out = build_store(dev, folder, replace(kept, augment=False), progress=progress)
    at_speed = {"": replace(kept, waveform=replace(kept.waveform, speeds=(1.0,)))}
    for speed in settings.other_speeds:
        waveform = replace(kept.waveform, speeds=(speed,))
        at_speed[f"{speed:g}"] = replace(kept, copies=1, synthesized_copies=1, waveform=waveform)
    stores = {
        name: build_store(utterances, folder, one, progress=progress)
        for name, one in at_speed.items()
    }
    return Voices(StoredVoices(stores, sorted({one.speaker for one in dev})), held_out)
