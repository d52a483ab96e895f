# SPDX-License-Identifier: Apache-2.0
"""The words a recognizer may find: how each is said, and which are likely to follow.

Learned from text and a pronunciation dictionary, without any audio: the commonest words of the text
that the dictionary has, and n-grams of them. Other words count as one unknown word, which takes its
share of probability and is never found.

Legend: N pairs, K words of context, V vocabulary.
"""

import io
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evenear.config import replace
from evenear.errors import CheckpointError, ManifestError
from evenear.language.arpa import ArpaModel
from evenear.language.mixing import mixed
from evenear.language.ngrams import NgramModel, TextScore
from evenear.language.smoothing import NgramConfig
from evenear.lexicon import Lexicon

__all__ = ["WordModel"]

_FORMAT = 1
_UNKNOWN = 0
_Ints = NDArray[np.int64]
_Floats = NDArray[np.float64]


class _Numbers:
    """Words as the numbers of a vocabulary, from 1; 0 is any other word."""

    special_ids: frozenset[int] = frozenset()

    def __init__(self, words: Sequence[str]) -> None:
        self.model = "\n".join(words).encode()
        self._numbers = {word: number for number, word in enumerate(words, start=1)}

    def __len__(self) -> int:
        return len(self._numbers) + 1

    def encode(self, text: str) -> list[int]:
        return [self._numbers.get(word, _UNKNOWN) for word in text.split()]


@dataclass(frozen=True)
class WordModel:
    """A vocabulary with its pronunciations and n-grams. A word's id is its place, from 1."""

    words: tuple[str, ...]
    phones: tuple[str, ...]
    """As in `Lexicon`: the phone with id k is at place k - 1."""
    pronunciations: tuple[tuple[tuple[int, ...], ...], ...]
    """The pronunciations of each word, as ids of phones."""
    ngrams: NgramModel

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        lexicon: Lexicon,
        *,
        max_words: int = 20_000,
        config: NgramConfig | None = None,
        general: ArpaModel | None = None,
        general_weight: float = 0.5,
    ) -> "WordModel":
        """Learn from lines of normalized text; the default order is 3.

        Args:
            texts: Lines like those that will be said; with a general model there may be none.
            lexicon: How words are said.
            max_words: Words to keep: the likeliest.
            config: What to learn of the text, and how many n-grams to keep in all.
            general: A model of much other text, to be mixed with what is learned.
            general_weight: Its share.

        Raises:
            ManifestError: The dictionary has no word of the text.
            ConfigError: The share is none, or the order too high for so many words.
        """
        lines, settings = list(texts), config or NgramConfig(order=3)
        counts = Counter(word for line in lines for word in line.split())
        if general is not None:
            every = max(1, counts.total())
            likely = {word: general_weight * p for word, p in general.likely().items()}
            for word, count in counts.items():
                likely[word] = likely.get(word, 0.0) + (1 - general_weight) * count / every
            words = sorted(likely, key=lambda word: -likely[word])
        else:
            words = [word for word, _ in counts.most_common()]
        words = tuple(word for word in words if word in lexicon.pronunciations)[:max_words]
        if not words:
            raise ManifestError(
                "A model of words needs text whose words a dictionary has, got "
                f"{len(lines)} lines and a dictionary of {len(lexicon.pronunciations)} other "
                "words.",
                hint="Write both in upper case, as the basic normalizer does.",
            )
        numbers = _Numbers(words)
        if general is None:
            ngrams = NgramModel.train(lines, numbers, settings)
        else:
            models, weights = [NgramModel.from_arpa(general, numbers)], [1.0]
            if counts:
                every_ngram = replace(settings, max_ngrams=10**9)
                models.append(NgramModel.train(lines, numbers, every_ngram))
                weights = [general_weight, 1 - general_weight]
            ngrams = mixed(models, weights, settings.max_ngrams)
        return cls(
            words, lexicon.phones, tuple(map(lexicon.pronunciations.__getitem__, words)), ngrams
        )

    @property
    def lexicon(self) -> Lexicon:
        """The pronunciations, to learn other words' n-grams from other text with."""
        return Lexicon(self.phones, dict(zip(self.words, self.pronunciations, strict=True)))

    @property
    def vocabulary_size(self) -> int:
        """One more than the greatest id of a word."""
        return self.ngrams.vocabulary_size

    def likelihoods(self) -> _Floats:
        """Natural log of how likely each word is anywhere, (V,)."""
        size = self.vocabulary_size
        nothing_NK = np.full((size, self.ngrams.order - 1), -1)
        return self.ngrams.log_probs_of(nothing_NK, np.arange(size))

    def begin(self) -> _Ints:
        """The context before the first word, (K,)."""
        return self.ngrams.begin()

    def log_probs_of(self, contexts_NK: _Ints, words_N: _Ints) -> _Floats:
        """Natural log of the probability of a word after a context, for each of N pairs."""
        return self.ngrams.log_probs_of(contexts_NK, words_N)

    def score(self, texts: Iterable[str]) -> TextScore:
        """How probable lines of normalized text are, unknown words among them."""
        return self.ngrams.score(texts, _Numbers(self.words))

    def to_bytes(self) -> bytes:
        """The model as a compressed npz archive."""
        spoken = [(word, way) for word, each in enumerate(self.pronunciations) for way in each]
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            format=np.array(_FORMAT),
            words=np.frombuffer("\n".join(self.words).encode(), np.uint8),
            phones=np.frombuffer("\n".join(self.phones).encode(), np.uint8),
            spoken_words=np.array([word for word, _ in spoken], np.uint16),
            spoken_lengths=np.array([len(way) for _, way in spoken], np.uint8),
            spoken_phones=np.array([phone for _, way in spoken for phone in way], np.uint8),
            ngrams=np.frombuffer(self.ngrams.to_bytes(), np.uint8),
        )
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "WordModel":
        """Read what `to_bytes` wrote.

        Raises:
            CheckpointError: The bytes are no such model.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                if int(arrays["format"]) != _FORMAT:
                    raise CheckpointError("The word model is of another version of evenear.")
                words = tuple(arrays["words"].tobytes().decode().split("\n"))
                pronunciations: list[list[tuple[int, ...]]] = [[] for _ in words]
                ends = np.cumsum(arrays["spoken_lengths"], dtype=np.int64)
                phones = np.split(arrays["spoken_phones"], ends[:-1])
                for word, way in zip(arrays["spoken_words"].tolist(), phones, strict=True):
                    pronunciations[word].append(tuple(way.tolist()))
                return cls(
                    words,
                    tuple(arrays["phones"].tobytes().decode().split("\n")),
                    tuple(tuple(each) for each in pronunciations),
                    NgramModel.from_bytes(arrays["ngrams"].tobytes()),
                )
        except (ValueError, KeyError, IndexError, EOFError, OSError, zipfile.BadZipFile) as error:
            raise CheckpointError(
                f"Expected a word model, got {len(content)} bytes that are none: {error}."
            ) from None
