# SPDX-License-Identifier: Apache-2.0
"""A run of a verifier by moments: describe what is stored, then solve. There are no updates.

Varied copies of an utterance (rooms, noise) count less than the sound as it is: they teach that
rooms and noise say nothing of a voice, and at full weight they would teach it at the cost of what
quiet recordings tell.

Legend: B utterances, X numbers of an utterance, D width of an embedding, T frames, F feature width.
"""

import hashlib
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from evenear.atomic import write_bytes
from evenear.checkpoint.bundles import load_model
from evenear.checkpoint.speakers import save_speaker
from evenear.config import config
from evenear.data.batching.crops import StoredVoices
from evenear.data.batching.store import FrameStore
from evenear.errors import ConfigError
from evenear.features import FeatureConfig, stack_frames
from evenear.metrics.verification import ScoreOrder
from evenear.models.moments import MomentsConfig, MomentsModel
from evenear.training.discriminants import discriminants
from evenear.training.runs.preparation import Source
from evenear.training.runs.speaker import prepare_voices, read_voices
from evenear.training.tasks.speaker import SpeakerDataConfig, all_pairs

__all__ = ["Described", "MomentsRun", "MomentsTrainingConfig"]

_AT_ONCE = 32


@config
class MomentsTrainingConfig:
    """A run of a verifier by moments."""

    name: str
    seed: int = 0
    """Decides who is held out, and the variations of copies."""
    data: SpeakerDataConfig = SpeakerDataConfig()
    stem_from: str = "evenear-en"
    """The recognizer whose first convolutions are the stem: a folder or a shipped model's name."""
    shrinkage: float = Field(default=0.1, ge=0, le=1)
    """Of the covariance within speakers, towards its diagonal."""
    copy_weight: float = Field(default=0.15, gt=0)
    """How much a varied copy counts."""
    model: MomentsConfig = MomentsConfig()


class Described(NamedTuple):
    """Utterances as numbers, who speaks, and how much each counts."""

    numbers_BX: NDArray[np.float32]
    speakers: tuple[str, ...]
    weights_B: NDArray[np.float64]


@dataclass(frozen=True)
class MomentsRun:
    """A prepared run."""

    config: MomentsTrainingConfig
    model: MomentsModel
    """With its stem; the rest is what `solve` finds."""
    train: Described
    dev: Described
    hours: float
    folder: Path
    cpu_seconds: float
    """Spent on the preparation."""

    @classmethod
    def prepare(
        cls,
        config: MomentsTrainingConfig,
        sources: Sequence[Source],
        folder: Path,
        *,
        threads: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> "MomentsRun":
        """Read, store and describe the corpora; what is there already is not made again.

        Args:
            config: The run.
            sources: What to learn from; how often is not asked.
            folder: Where the run's files go.
            threads: Threads for all of torch in this process; None leaves them as they are.
            progress: Called with the number of utterances that were stored.

        Raises:
            ConfigError: The stem was not made for the features, or it is of another shape.
            ManifestError: A corpus does not say who speaks.
        """
        features, encoder = config.data.store.features, config.model.encoder
        wanted = ("whisper", encoder.feature_dim, encoder.stack)
        if (features.kind, features.dim, features.stack) != wanted:
            raise ConfigError(
                f"The stem reads Whisper's features {encoder.feature_dim} wide, {encoder.stack} "
                f"frames stacked; those stored are {features.kind}, {features.dim} wide, "
                f"{features.stack} stacked.",
                hint="--set data.store.features.kind=whisper, with stack 2 and 80 bins",
            )
        if threads is not None:
            torch.set_num_threads(threads)
        started = time.process_time()
        model = MomentsModel(config.model).eval()
        model.encoder.take(load_model(config.stem_from).model.encoder)
        voices = prepare_voices(
            read_voices(sources, config.data.excluded_splits),
            config.data,
            folder / "frames",
            seed=config.seed,
            progress=progress,
        )
        train = _described(model, voices.train, config, folder)
        dev = _described(model, StoredVoices({"": voices.dev}), config, folder)
        spent = time.process_time() - started
        return cls(config, model, train, dev, voices.train.hours, folder, spent)

    @property
    def model_folder(self) -> Path:
        """Where the model goes."""
        return self.folder / "model"

    @property
    def description(self) -> str:
        """What is learned from."""
        parameters = sum(p.numel() for p in self.model.parameters())
        return (
            f"{self.config.name}: {parameters / 1e6:.2f} M parameters, "
            f"{len(set(self.train.speakers))} speakers (other speeds count), {self.hours:.2f} "
            f"hours (copies counted), {len(self.dev.speakers)} held-out utterances"
        )

    def solve(self) -> float:
        """Find the projection, keep the model, and return the EER over the held-out speakers.

        Raises:
            ConfigError: There are too few speakers.
        """
        started = time.process_time()
        numbers_BX, settings = self.train.numbers_BX, self.config
        mean_X = numbers_BX.mean(axis=0)
        scale_X = 1.0 / (numbers_BX.std(axis=0) + 1e-5)
        _, classes_B = np.unique(np.array(self.train.speakers), return_inverse=True)
        best_DX = discriminants(
            (numbers_BX - mean_X) * scale_X,
            classes_B,
            settings.model.embedding_dim,
            weights_B=self.train.weights_B,
            shrinkage=settings.shrinkage,
        )
        with torch.no_grad():
            self.model.mean_X.copy_(torch.from_numpy(mean_X))
            self.model.scale_X.copy_(torch.from_numpy(scale_X))
            self.model.linear.weight.copy_(torch.from_numpy(best_DX))
        found = self._judge()
        save_speaker(
            self.model_folder,
            model=self.model,
            features=settings.data.store.features,
            dtype="float16",
            provenance={
                "recipe": settings.name,
                "seed": settings.seed,
                "stem_from": settings.stem_from,
                "shrinkage": settings.shrinkage,
                "copy_weight": settings.copy_weight,
                "speakers": len(set(self.train.speakers)),
                "hours_with_copies": round(self.hours, 2),
                "device": f"cpu, {torch.get_num_threads()} threads",
                "cpu_seconds": round(self.cpu_seconds + time.process_time() - started, 1),
                "held_out_utterances": len(self.dev.speakers),
                "held_out_eer": round(found, 4),
            },
        )
        return found

    @torch.inference_mode()
    def _judge(self) -> float:
        """Equal error rate over all pairs of the held-out speakers' utterances."""
        embeddings_BD = self.model.project(torch.from_numpy(self.dev.numbers_BX)).numpy()
        curve = ScoreOrder(*all_pairs(embeddings_BD, self.dev.speakers)).curve()
        return float("nan") if curve is None else curve.eer


def _described(
    model: MomentsModel, voices: StoredVoices, settings: MomentsTrainingConfig, folder: Path
) -> Described:
    """Stored utterances as numbers, from files of the folder where they are there."""
    numbers, rows_of = [], dict.fromkeys(voices.stores, 0)
    for name, store in voices.stores.items():
        rows_of[name] = sum(map(len, numbers))
        numbers.append(_stored_numbers(model, store, settings.data.store.features, folder))
    rows = [rows_of[name] + index for name, index in voices.places]
    copies = [voices.stores[name].utterances[index].copy for name, index in voices.places]
    speakers = [""] * len(rows)
    for speaker, places in zip(voices.speakers, voices.rows, strict=True):
        for place in places:
            speakers[place] = speaker
    weights_B = np.where(np.array(copies) > 0, settings.copy_weight, 1.0)
    return Described(np.concatenate(numbers)[rows], tuple(speakers), weights_B)


def _stored_numbers(
    model: MomentsModel, store: FrameStore, features: FeatureConfig, folder: Path
) -> NDArray[np.float32]:
    """Numbers (B, X) of the utterances of a store, in their order; kept in a file."""
    digest = hashlib.blake2b(repr((model.config, features)).encode(), digest_size=10)
    for tensor in model.encoder.state_dict().values():
        digest.update(tensor.numpy().tobytes())
    digest.update(repr([part.name for part in store.parts]).encode())
    path = folder / f"numbers-{digest.hexdigest()}.npy"
    if path.exists():
        return np.load(path)
    numbers_BX = _numbers(model, store, features)
    file = io.BytesIO()
    np.save(file, numbers_BX)
    write_bytes(path, file.getvalue())
    return numbers_BX


@torch.inference_mode()
def _numbers(
    model: MomentsModel, store: FrameStore, features: FeatureConfig
) -> NDArray[np.float32]:
    lengths = [utterance.num_frames for utterance in store.utterances]
    order = np.argsort(lengths, kind="stable")
    found_BX = np.zeros((len(store), model.config.numbers), np.float32)
    for start in range(0, len(order), _AT_ONCE):
        chosen = order[start : start + _AT_ONCE]
        stacked = [torch.from_numpy(stack_frames(store.frames(int(i)), features)) for i in chosen]
        lengths_B = torch.tensor([len(frames_TF) for frames_TF in stacked])
        padded_BTF = torch.nn.utils.rnn.pad_sequence(stacked, batch_first=True)
        found_BX[chosen] = model.describe(padded_BTF, lengths_B).numpy()
    return found_BX
