# SPDX-License-Identifier: Apache-2.0
"""The attention decoder of a recognizer, stored beside it.

    rescorer.safetensors    weights, and the pieces of each word of the model's words
    rescorer.json           settings, and how it came to be

A model's folder without these two files is the same recognizer without a second pass. The decoder
reads projected encoder frames, so it belongs to an encoder and a joiner as they were when it
learned; small changes of theirs, such as a repair, it takes as they come.
"""

import hashlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from evenear.checkpoint.folders import CONFIG, find_folder, read_folder, read_json, write_folder
from evenear.checkpoint.weights import load_weights, stored
from evenear.config import from_dict, to_dict
from evenear.errors import CheckpointError, ConfigError
from evenear.language import WordModel
from evenear.models.rescorer import Rescorer, RescorerConfig

__all__ = ["RescorerBundle", "digest_of", "put_rescorer"]

_WEIGHTS, _SETTINGS = "rescorer.safetensors", "rescorer.json"
_PIECES, _LENGTHS = "spellings.pieces", "spellings.lengths"
_DECODER = "decoder."
_HINT = "Keep the files of one model together, or leave rescorer.* out."


@dataclass(frozen=True, kw_only=True)
class RescorerBundle:
    """A decoder and how it writes the words of a model."""

    model: Rescorer
    """In evaluation mode, float32."""
    spellings: tuple[tuple[int, ...], ...]
    """The pieces of each word id; id 0 is no word."""
    words_digest: str
    """Of the words it writes (`digest_of`): ids mean nothing to other words."""
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def writes(self, words: WordModel) -> bool:
        """Whether these are its words."""
        return self.words_digest == digest_of(words)

    def check_fits(self, frame_dim: int, words: WordModel | None) -> None:
        """Refuse a decoder that does not belong to a model.

        Args:
            frame_dim: Width of its projected frames.
            words: What it searches for.

        Raises:
            CheckpointError: The decoder reads other frames or writes other words.
        """
        if self.model.config.frame_dim != frame_dim:
            raise CheckpointError(
                f"The decoder reads frames {self.model.config.frame_dim} wide; those of the model "
                f"are {frame_dim} wide.",
                hint=_HINT,
            )
        many = 0 if words is None else len(words.words)
        if words is None or many != len(self.spellings) - 1 or not self.writes(words):
            raise CheckpointError(
                f"The decoder writes {len(self.spellings) - 1} words; the model has {many}, and "
                "they are not the same.",
                hint=_HINT,
            )

    def files(self) -> dict[str, bytes]:
        """What a model's folder holds of it: matrices of 8 bits."""
        weights = {f"{_DECODER}{n}": t for n, t in stored(self.model.state_dict(), "int8").items()}
        every = [piece for spelling in self.spellings for piece in spelling]
        weights[_PIECES] = torch.tensor(every, dtype=torch.int32)
        weights[_LENGTHS] = torch.tensor([len(one) for one in self.spellings], dtype=torch.int16)
        settings = {
            "rescorer": to_dict(self.model.config),
            "words": self.words_digest,
            "provenance": dict(self.provenance),
        }
        return {
            _WEIGHTS: safetensors.torch.save(weights),
            _SETTINGS: (json.dumps(settings, indent=2) + "\n").encode(),
        }

    @classmethod
    def among(cls, folder: Path, files: Mapping[str, bytes]) -> "RescorerBundle | None":
        """The decoder among the files of a folder, if there is one.

        Raises:
            CheckpointError: Its files are damaged, or one is missing.
        """
        there = {_WEIGHTS, _SETTINGS} & files.keys()
        if not there:
            return None
        if len(there) < 2:
            raise CheckpointError(f"{folder} has a part of a decoder only: {there.pop()}.")
        settings = read_json(folder / _SETTINGS, files[_SETTINGS])
        try:
            config = from_dict(RescorerConfig, settings.get("rescorer", {}))
            found = safetensors.torch.load(files[_WEIGHTS])
            pieces, lengths = found.pop(_PIECES).tolist(), found.pop(_LENGTHS).tolist()
        except (ConfigError, safetensors.SafetensorError, KeyError) as error:
            raise CheckpointError(f"{folder} has a decoder that cannot be read: {error}") from None
        if sum(lengths) != len(pieces) or not all(0 <= p < config.vocabulary_size for p in pieces):
            raise CheckpointError(f"{folder / _WEIGHTS} writes words with pieces it does not have.")
        ends = torch.tensor([0, *lengths]).cumsum(0).tolist()
        spellings = (tuple(pieces[s:e]) for s, e in itertools.pairwise(ends))
        with torch.random.fork_rng(devices=[]):
            model = Rescorer(config)
        own = {name.removeprefix(_DECODER): tensor for name, tensor in found.items()}
        load_weights(folder, model, safetensors.torch.save(own))
        return cls(
            model=model.eval(),
            spellings=tuple(spellings),
            words_digest=str(settings.get("words", "")),
            provenance=settings.get("provenance", {}),
        )


def digest_of(words: WordModel) -> str:
    """What tells a list of words from others."""
    return hashlib.blake2b("\n".join(words.words).encode(), digest_size=10).hexdigest()


def put_rescorer(model: str | Path, rescorer: RescorerBundle, out: Path | None = None) -> None:
    """Put a decoder into a model's folder, in place of an older one; all else stays as it is.

    Args:
        model: A model's folder or name.
        rescorer: The decoder.
        out: Write a copy of the model with it to this folder instead.

    Raises:
        CheckpointError: There is no such model, or it cannot be written.
    """
    folder = find_folder(model)
    files = read_folder(folder, (CONFIG,))
    write_folder(out or folder, {**files, **rescorer.files()})
