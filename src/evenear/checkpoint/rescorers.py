# SPDX-License-Identifier: Apache-2.0
"""The attention decoder of a recognizer, stored beside it.

    rescorer.safetensors    weights, the pieces of each word of the model's words, and their texts
    rescorer.json           settings, and how it came to be

A model's folder without these two files is the same recognizer without a second pass. The decoder
reads projected encoder frames, so it belongs to an encoder and a joiner as they were when it
learned; small changes of theirs, such as a repair, it takes as they come.

Legend: D width, P pieces that are added.
"""

import hashlib
import itertools
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from evenear.checkpoint.folders import CONFIG, find_folder, read_folder, read_json, write_folder
from evenear.checkpoint.weights import load_weights, stored
from evenear.config import from_dict, to_dict
from evenear.errors import CheckpointError, ConfigError
from evenear.language import WordModel
from evenear.models.rescorer import Rescorer, RescorerConfig

__all__ = ["RescorerBundle", "digest_of", "put_rescorer"]

_WEIGHTS, _SETTINGS = "rescorer.safetensors", "rescorer.json"
_PIECES, _LENGTHS, _TEXTS = "spellings.pieces", "spellings.lengths", "spellings.texts"
_DECODER, _EMBEDDING = "decoder.", "embedding.weight"
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
    texts: tuple[str, ...] = ()
    """What each piece writes, in lower case, with a space before the first of a word; none: not
    known, as in older files, so that no other words can be spelled."""

    def with_words(
        self, words: WordModel, spellings: Mapping[str, Sequence[int]] | None = None
    ) -> "RescorerBundle":
        """The same decoder for its words and others behind them.

        Args:
            words: What it is to write.
            spellings: The pieces of some of the new words; the others get the fewest pieces that
                write them, of these the commonest.

        Raises:
            CheckpointError: They do not begin with its words, or no pieces write one.
        """
        given, count = dict(spellings or {}), len(self.spellings) - 1
        if self.words_digest != _digest(words.words[:count]):
            raise CheckpointError(
                f"The decoder writes {count} words; the first of the {len(words.words)} words "
                "given are others.",
                hint="Add words to those of its model, with `WordModel.with_words`.",
            )
        numbers = {text: number for number, text in reversed([*enumerate(self.texts)])}
        new = (given.get(w) or _fewest(w, numbers) for w in words.words[count:])
        return replace(
            self,
            spellings=(*self.spellings, *map(tuple, new)),
            words_digest=digest_of(words),
        )

    @torch.no_grad()
    def with_pieces(self, texts: Sequence[str], rows_PD: Tensor) -> "RescorerBundle":
        """The same decoder with more pieces, which follow those it has.

        Args:
            texts: What they write.
            rows_PD: Their rows in the embedding.

        Raises:
            CheckpointError: The texts of its own pieces are not known, or the rows do not fit.
        """
        old = self.model.config
        if len(self.texts) != old.vocabulary_size or rows_PD.shape != (len(texts), old.dim):
            raise CheckpointError(
                f"A decoder of {old.vocabulary_size} pieces and width {old.dim} knows the texts of "
                f"{len(self.texts)}; {len(texts)} texts were to be added and rows of shape "
                f"{tuple(rows_PD.shape)}.",
                hint="Give it the texts of its own pieces, and new pieces a text and a row each.",
            )
        with torch.random.fork_rng(devices=[]):
            model = Rescorer(
                from_dict(
                    RescorerConfig,
                    {**to_dict(old), "vocabulary_size": old.vocabulary_size + len(texts)},
                )
            )
        weights = self.model.state_dict()
        model.load_state_dict({**weights, _EMBEDDING: torch.cat([weights[_EMBEDDING], rows_PD])})
        return replace(self, model=model.eval(), texts=(*self.texts, *texts))

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
        lengths = [len(one) for one in self.spellings]
        fits = self.model.config.vocabulary_size <= 2**15
        weights[_PIECES] = torch.tensor(every, dtype=torch.int16 if fits else torch.int32)
        fits = max(lengths, default=0) < 2**8
        weights[_LENGTHS] = torch.tensor(lengths, dtype=torch.uint8 if fits else torch.int16)
        if self.texts:
            packed = zlib.compress("\n".join(self.texts).encode(), 9)
            weights[_TEXTS] = torch.from_numpy(np.frombuffer(packed, np.uint8).copy())
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
            packed = found.pop(_TEXTS, None)
            texts = () if packed is None else _unpacked(packed)
        except (
            ConfigError,
            safetensors.SafetensorError,
            KeyError,
            ValueError,
            zlib.error,
        ) as error:
            raise CheckpointError(f"{folder} has a decoder that cannot be read: {error}") from None
        if sum(lengths) != len(pieces) or not all(0 <= p < config.vocabulary_size for p in pieces):
            raise CheckpointError(f"{folder / _WEIGHTS} writes words with pieces it does not have.")
        if len(texts) not in (0, config.vocabulary_size):
            raise CheckpointError(f"{folder / _WEIGHTS} has texts of other pieces.")
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
            texts=texts,
        )


def digest_of(words: WordModel) -> str:
    """What tells a list of words from others."""
    return _digest(words.words)


def _digest(words: Sequence[str]) -> str:
    return hashlib.blake2b("\n".join(words).encode(), digest_size=10).hexdigest()


def _unpacked(packed: Tensor) -> tuple[str, ...]:
    return tuple(zlib.decompress(packed.numpy().tobytes()).decode().split("\n"))


def _fewest(word: str, numbers: Mapping[str, int]) -> tuple[int, ...]:
    """The fewest pieces that write a word; of as many, those of the least numbers.

    Raises:
        CheckpointError: None do.
    """
    text = f" {word.lower()}"
    best: list[tuple[int, ...] | None] = [*([None] * len(text)), ()]
    for start in reversed(range(len(text))):
        ways = [
            (numbers[text[start:end]], *rest)
            for end in range(start + 1, len(text) + 1)
            if (rest := best[end]) is not None and text[start:end] in numbers
        ]
        best[start] = min(ways, key=lambda way: (len(way), way), default=None)
    if best[0] is None:
        raise CheckpointError(
            f"The decoder has no pieces that write {word}; it knows the texts of {len(numbers)}.",
            hint="Leave such words out, or the decoder.",
        )
    return best[0]


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
