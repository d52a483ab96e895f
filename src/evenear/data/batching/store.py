# SPDX-License-Identifier: Apache-2.0
"""A store of log-mel frames, so that training reads numbers instead of decoding audio each epoch.

The store is a folder of parts. A part holds a few hundred utterances in some augmented copies: one
float16 array and one JSON line for each. A part's name is a hash of what it holds and how it was
made, and it appears whole or not at all, so building resumes where it stopped and runs share it.

Legend: N audio samples, T frames, M mel bins.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from evenear.atomic import write_bytes, writing
from evenear.audio import read_audio
from evenear.config import config, to_dict, to_json
from evenear.data.batching.augmentation import WaveformAugmentation, augment_waveform
from evenear.data.corpora.manifests import Utterance
from evenear.features import FeatureConfig, log_mel
from evenear.seeding import rng_for

__all__ = ["FrameStore", "StoreConfig", "StoredUtterance", "build_store"]

_PART_UTTERANCES = 200
_MOST_OPEN = 100
"""Arrays that are open at once; a system may allow a process no more than 256 files."""


@config
class StoreConfig:
    """What is stored of each utterance."""

    features: FeatureConfig = FeatureConfig()
    seed: int = 0
    copies: int = Field(default=4, ge=1)
    """Augmented copies of a recorded utterance."""
    synthesized_copies: int = Field(default=1, ge=1)
    """Augmented copies of a synthesized utterance."""
    waveform: WaveformAugmentation = WaveformAugmentation()
    augment: bool = True
    """False stores the sound as it is, once."""


@dataclass(frozen=True)
class StoredUtterance:
    """One stored copy of an utterance."""

    utterance_id: str
    speaker: str
    text: str
    copy: int
    num_frames: int
    synthesized: bool
    attributes: dict[str, object]


class FrameStore:
    """Stored utterances and their log-mel frames, read lazily from disk.

    Args:
        parts: The arrays of the parts, without their suffix.
    """

    def __init__(self, parts: Sequence[Path]) -> None:
        self.parts = tuple(parts)
        self.utterances: list[StoredUtterance] = []
        self._array = lru_cache(_MOST_OPEN)(_open_part)
        self._places: list[tuple[int, int]] = []
        for number, part in enumerate(parts):
            offset = 0
            for line in part.with_suffix(".jsonl").read_text(encoding="utf-8").splitlines():
                row = StoredUtterance(**json.loads(line))
                self.utterances.append(row)
                self._places.append((number, offset))
                offset += row.num_frames

    def __len__(self) -> int:
        return len(self.utterances)

    def frames(self, index: int) -> NDArray[np.float32]:
        """Log-mel frames (T, M) of a stored utterance."""
        number, offset = self._places[index]
        end = offset + self.utterances[index].num_frames
        return np.asarray(self._array(self.parts[number])[offset:end], dtype=np.float32)

    @property
    def hours(self) -> float:
        """Hours of speech, all copies counted."""
        return sum(u.num_frames for u in self.utterances) / 360_000


def build_store(
    utterances: Sequence[Utterance],
    folder: Path,
    settings: StoreConfig,
    *,
    num_processes: int = 1,
    progress: Callable[[int], None] | None = None,
) -> FrameStore:
    """Store the frames of `utterances` in `folder`, or find them there; then open the store.

    `progress` is called with the number of utterances of each part that is ready.
    """
    folder.mkdir(parents=True, exist_ok=True)
    groups = [
        list(utterances[i : i + _PART_UTTERANCES])
        for i in range(0, len(utterances), _PART_UTTERANCES)
    ]
    parts = [folder / _part_name(group, settings) for group in groups]
    jobs = [(g, p, settings) for g, p in zip(groups, parts, strict=True) if not _is_whole(p)]
    if progress is not None:
        progress(len(utterances) - sum(len(group) for group, _, _ in jobs))
    if num_processes == 1:
        for job in jobs:
            done = _build_part(job)
            if progress is not None:
                progress(done)
    elif jobs:
        with ProcessPoolExecutor(num_processes) as pool:
            for done in pool.map(_build_part, jobs):
                if progress is not None:
                    progress(done)
    return FrameStore(parts)


def _open_part(part: Path) -> NDArray[np.float16]:
    return np.load(part.with_suffix(".npy"), mmap_mode="r")


def _is_whole(part: Path) -> bool:
    """The array is written last, so it vouches for the rest."""
    return part.with_suffix(".npy").exists() and part.with_suffix(".jsonl").exists()


def _settings_text(settings: StoreConfig) -> str:
    """The settings; a later one that changes nothing is left out, so that older parts are found."""
    if settings.waveform.telephone_chance:
        return to_json(settings)
    values = to_dict(settings)
    values["waveform"] = {
        name: value for name, value in values["waveform"].items() if "telephone" not in name
    }
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def _part_name(group: Sequence[Utterance], settings: StoreConfig) -> str:
    digest = hashlib.blake2b(_settings_text(settings).encode(), digest_size=10)
    for u in group:
        facts = {**asdict(u), "audio": str(u.audio), "attributes": dict(u.attributes)}
        digest.update(json.dumps(facts, sort_keys=True, default=str).encode())
    return f"part-{digest.hexdigest()}"


def _build_part(job: tuple[list[Utterance], Path, StoreConfig]) -> int:
    """Compute one part and put it in place; return its number of utterances."""
    group, part, settings = job
    rows, arrays = [], []
    for utterance in group:
        samples_N = read_audio(utterance.audio)
        if utterance.is_partial:
            clock = settings.features.clock
            first = round(utterance.start_seconds * clock.sample_rate)
            samples_N = samples_N[first : first + round(utterance.seconds * clock.sample_rate)]
        synthesized = bool(utterance.attributes.get("synthesized", False))
        copies = settings.synthesized_copies if synthesized else settings.copies
        for copy in range(copies if settings.augment else 1):
            varied_N = samples_N
            if settings.augment and (copy > 0 or copies == 1):
                rng = rng_for(settings.seed, "waveform", (utterance.utterance_id, copy))
                varied_N = augment_waveform(samples_N, settings.waveform, rng)
            frames_TM = log_mel(varied_N, settings.features).astype(np.float16)
            if not len(frames_TM):
                continue
            arrays.append(frames_TM)
            rows.append(_row(utterance, copy, len(frames_TM), synthesized))
    width = settings.features.num_mel_bins
    joined_TM = np.concatenate(arrays) if arrays else np.zeros((0, width), np.float16)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    write_bytes(part.with_suffix(".jsonl"), lines.encode())
    with writing(part.with_suffix(".npy")) as file:
        np.save(file, joined_TM)
    return len(group)


def _row(utterance: Utterance, copy: int, num_frames: int, synthesized: bool) -> dict[str, object]:
    return {
        "utterance_id": utterance.utterance_id,
        "speaker": utterance.speaker,
        "text": utterance.text,
        "copy": copy,
        "num_frames": num_frames,
        "synthesized": synthesized,
        "attributes": dict(utterance.attributes),
    }
