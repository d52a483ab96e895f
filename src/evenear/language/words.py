# SPDX-License-Identifier: Apache-2.0
"""The words a recognizer may find: how each is said, and which are likely to follow.

Learned from text and a pronunciation dictionary, without any audio: the commonest words of the text
that the dictionary has, and n-grams of them. Other words count as one unknown word, which takes its
share of probability and is never found.

Rarer words, and names, may be added without any text. What the unknown word has is shared among
them by how often they are said, in every context h, in which each counts as the unknown word too:

    P(word | h) = share(word) P(unknown | h)

So the words that were there are as likely as they were, to the last bit, and no n-gram is added.

Legend: N pairs, K words of context, V vocabulary, A added words.

Source: n-grams of classes, Brown et al. 1992, with one class, of all words that were too rare.
"""

import functools
import io
import math
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evenear.config import replace
from evenear.errors import CheckpointError, ConfigError, ManifestError
from evenear.language.arpa import ArpaModel
from evenear.language.mixing import mixed
from evenear.language.ngrams import NgramModel, TextScore
from evenear.language.smoothing import NgramConfig
from evenear.lexicon import Lexicon

__all__ = ["WordModel"]

_FORMAT, _FORMAT_WITH_ADDED = 1, 2
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
    """Of the first words; those beyond its vocabulary were added."""
    shares: tuple[float, ...] = ()
    """What each added word has of the unknown word's probability."""

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

    def with_words(
        self,
        counts: Mapping[str, float],
        lexicon: Lexicon,
        *,
        share: float = 0.9,
        max_words: int | None = None,
    ) -> "WordModel":
        """The same words, and more of them that no text is needed for: rare ones, or names.

        Words that are there keep their ids, how they are said and how likely they are; new ones
        follow, the commonest first. Names that are all as likely:

            words.with_words(dict.fromkeys(["ZADIE", "KWAME"], 1), Lexicon.read(path), share=0.1)

        Args:
            counts: How often words are said, in upper case and any unit; known words have no part.
            lexicon: How words are said, in phones of the model's; words that it lacks are left out.
            share: What the new words take, together, of what the unknown word still has. In the
                shipped models that is one word in a thousand.
            max_words: Words in all, at most; None: as many as there are.

        Raises:
            ManifestError: There is no new word that can be said, one has a phone that the model
                does not know, or a count is not above 0.
            ConfigError: The share is none between 0 and 1.
        """
        if not 0 < share < 1:
            raise ConfigError(
                f"New words need a share of the unknown word's between 0 and 1, got {share}."
            )
        known = set(self.words)
        counts = {w: c for w, c in counts.items() if w not in known and w in lexicon.pronunciations}
        room = len(counts) if max_words is None else max(0, max_words - len(known))
        words = sorted(counts, key=lambda word: (-counts[word], word))[:room]
        if not words:
            raise ManifestError(
                f"A model of {len(known)} words needs new ones that the dictionary has, and room "
                f"for them; got {len(counts)} of those and room for {room}.",
                hint="Write both in upper case, as the basic normalizer does.",
            )
        wrong = next((w for w in words if not 0 < counts[w] < math.inf), None)
        if wrong is not None:
            raise ManifestError(f"Counts of words must be above 0, got {counts[wrong]} of {wrong}.")
        taken = share * (1.0 - math.fsum(self.shares)) / math.fsum(map(counts.__getitem__, words))
        return WordModel(
            (*self.words, *words),
            self.phones,
            (*self.pronunciations, *(self._said(word, lexicon) for word in words)),
            self.ngrams,
            (*self.shares, *(_rounded_down(taken * counts[word]) for word in words)),
        )

    def _said(self, word: str, lexicon: Lexicon) -> tuple[tuple[int, ...], ...]:
        """The pronunciations of a word of another dictionary, as ids of this model's phones."""
        places = {phone: place for place, phone in enumerate(self.phones, start=1)}
        ways = [[lexicon.phones[p - 1] for p in way] for way in lexicon.pronunciations[word]]
        unknown = sorted({phone for way in ways for phone in way} - places.keys())
        if unknown:
            raise ManifestError(
                f"Words to be added need phones that the model knows ({' '.join(self.phones)}); "
                f"{word} has {' '.join(unknown)}."
            )
        return tuple(tuple(places[phone] for phone in way) for way in ways)

    @property
    def lexicon(self) -> Lexicon:
        """The pronunciations, to learn other words' n-grams from other text with."""
        return Lexicon(self.phones, dict(zip(self.words, self.pronunciations, strict=True)))

    @property
    def vocabulary_size(self) -> int:
        """One more than the greatest id of a word."""
        return self.ngrams.vocabulary_size + len(self.shares)

    def likelihoods(self) -> _Floats:
        """Natural log of how likely each word is anywhere, (V,)."""
        size = self.vocabulary_size
        nothing_NK = np.full((size, self.ngrams.order - 1), -1)
        return self.log_probs_of(nothing_NK, np.arange(size))

    def begin(self) -> _Ints:
        """The context before the first word, (K,)."""
        context_K = self.ngrams.begin()
        context_K[-1:] = self.vocabulary_size
        return context_K

    def log_probs_of(self, contexts_NK: _Ints, words_N: _Ints) -> _Floats:
        """Natural log of the probability of a word after a context, for each of N pairs."""
        if not self.shares:
            return self.ngrams.log_probs_of(contexts_NK, words_N)
        found_N = self.ngrams.log_probs_of(self._counted[contexts_NK], self._counted[words_N])
        return found_N + self._log_shares[words_N]

    def score(self, texts: Iterable[str]) -> TextScore:
        """How probable lines of normalized text are, unknown words among them."""
        lines = list(texts)
        score = self.ngrams.score(lines, _Numbers(self.words[: self.ngrams.vocabulary_size - 1]))
        every = _Numbers(self.words)
        ids = [number for line in lines for number in every.encode(line)]
        return score + TextScore(log_prob=float(self._log_shares[ids].sum()))

    @functools.cached_property
    def _counted(self) -> _Ints:
        """What each id, the start mark and (last, for -1) nothing count as in the n-grams."""
        size = self.ngrams.vocabulary_size
        added_A = np.full(len(self.shares), _UNKNOWN)
        return np.concatenate([np.arange(size), added_A, [size, -1]])

    @functools.cached_property
    def _log_shares(self) -> _Floats:
        """Natural log of what each word has of the probability of what it counts as."""
        shares_V = np.ones(self.vocabulary_size)
        shares_V[self.ngrams.vocabulary_size :] = self.shares
        shares_V[_UNKNOWN] = 1.0 - math.fsum(self.shares)
        return np.log(shares_V)

    def to_bytes(self) -> bytes:
        """The model as a compressed npz archive."""
        spoken = [(word, way) for word, each in enumerate(self.pronunciations) for way in each]
        added: dict[str, Any] = {"shares": np.array(self.shares, np.float32)} if self.shares else {}
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            format=np.array(_FORMAT_WITH_ADDED if self.shares else _FORMAT),
            words=np.frombuffer("\n".join(self.words).encode(), np.uint8),
            phones=np.frombuffer("\n".join(self.phones).encode(), np.uint8),
            spoken_words=np.array(
                [word for word, _ in spoken], np.min_scalar_type(max(2**16, len(self.words)) - 1)
            ),
            spoken_lengths=np.array([len(way) for _, way in spoken], np.uint8),
            spoken_phones=np.array([phone for _, way in spoken for phone in way], np.uint8),
            ngrams=np.frombuffer(self.ngrams.to_bytes(), np.uint8),
            **added,
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
                if int(arrays["format"]) not in (_FORMAT, _FORMAT_WITH_ADDED):
                    raise CheckpointError("The word model is of another version of evenear.")
                words = tuple(arrays["words"].tobytes().decode().split("\n"))
                pronunciations: list[list[tuple[int, ...]]] = [[] for _ in words]
                ends = np.cumsum(arrays["spoken_lengths"], dtype=np.int64).tolist()
                spoken = zip(arrays["spoken_words"].tolist(), [0, *ends[:-1]], ends, strict=True)
                phones = arrays["spoken_phones"].tolist()
                for word, start, end in spoken:
                    pronunciations[word].append(tuple(phones[start:end]))
                ngrams = NgramModel.from_bytes(arrays["ngrams"].tobytes())
                shares = tuple(arrays["shares"].tolist()) if "shares" in arrays else ()
                if ngrams.vocabulary_size + len(shares) != len(words) + 1:
                    raise ValueError(f"it has {len(words)} words, and n-grams of others")
                return cls(
                    words,
                    tuple(arrays["phones"].tobytes().decode().split("\n")),
                    tuple(tuple(each) for each in pronunciations),
                    ngrams,
                    shares,
                )
        except (ValueError, KeyError, IndexError, EOFError, OSError, zipfile.BadZipFile) as error:
            raise CheckpointError(
                f"Expected a word model, got {len(content)} bytes that are none: {error}."
            ) from None


def _rounded_down(share: float) -> float:
    """What a file holds of a share: never more, so that something is left, and never nothing."""
    near = np.float32(share)
    below = near if float(near) <= share else np.nextafter(near, np.float32(0))
    return float(max(below, np.finfo(np.float32).tiny))
