# SPDX-License-Identifier: Apache-2.0
"""The hypotheses of a search for words, and one step of sound for those of many streams at once.

A beam holds the hypotheses of B streams in the same arrays, stream after stream and each stream's
best first, so that numpy is called once for all of them. What a stream gets depends on its own rows
only, to the last bit: streams may be joined and split at every step.

Legend: B streams, N hypotheses or candidates, P phones with blank first, M nodes of the tree, K
words of context.

Source: Ney et al. 1992, "Improvements in beam search for 10000-word continuous speech recognition".
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from evenear.errors import ConfigError
from evenear.search.tree import ROOT, PronunciationTree

__all__ = ["FoundWord", "WordBeam", "WordScorer", "WordStep", "joined_beams", "split_beam"]

_Ints = NDArray[np.int64]
_Floats = NDArray[np.float64]


class WordScorer(Protocol):
    """What a language model of words must offer."""

    @property
    def vocabulary_size(self) -> int:
        """More than any id of a word."""
        ...

    def log_probs_of(self, contexts_NK: _Ints, words_N: _Ints) -> _Floats:
        """Natural log of the probability of a word after a context, for each of N pairs."""
        ...

    def begin(self) -> _Ints:
        """The context before the first word, (K,)."""
        ...


@dataclass(frozen=True, eq=False, slots=True)
class FoundWord:
    """A word that was found, and those before it that are still open."""

    before: "FoundWord | None"
    word: int
    words: tuple[int, ...]
    """The open words up to this one."""
    start: int
    end: int
    log_prob: float
    """Mean natural log of the probability of its phones."""


class WordBeam(NamedTuple):
    """Hypotheses of some streams, one for each place of the arrays."""

    owners_N: _Ints
    """Whose hypothesis it is, ascending."""
    nodes_N: _Ints
    labels_N: _Ints
    """Phone said in the last step; 0 after blank."""
    contexts_NK: _Ints
    scores_N: _Floats
    log_probs_N: _Floats
    """Natural log of the probability of blanks and phones."""
    starts_N: _Ints
    """Frame at which the unfinished word began."""
    spoken_N: _Floats
    """Sum of the log-probabilities of the unfinished word's phones."""
    counts_N: _Ints
    """Phones of the unfinished word."""
    words_N: NDArray[np.object_]
    """The last open word of each, a `FoundWord`, or None."""

    @classmethod
    def begin(cls, scorer: WordScorer) -> "WordBeam":
        """One stream that has heard nothing."""
        zero, none = np.zeros(1, np.int64), np.zeros(1)
        nothing = np.full(1, None, dtype=object)
        context_1K = scorer.begin()[None]
        return cls(zero, zero, zero, context_1K, none, none, zero, none, zero, nothing)

    def at(self, places_N: NDArray[np.integer]) -> "WordBeam":
        """Some of the hypotheses."""
        return WordBeam._make(column[places_N] for column in self)


def joined_beams(beams: Sequence[WordBeam]) -> WordBeam:
    """The beams of single streams as one."""
    if len(beams) == 1:
        return beams[0]
    owners_N = np.repeat(np.arange(len(beams)), [len(beam.nodes_N) for beam in beams])
    columns = map(np.concatenate, zip(*(beam[1:] for beam in beams), strict=True))
    return WordBeam(owners_N, *columns)


def split_beam(beam: WordBeam, num_streams: int) -> list[WordBeam]:
    """The beam of each stream."""
    if num_streams == 1:
        return [beam]
    ends_B = np.searchsorted(beam.owners_N, np.arange(1, num_streams))
    columns = [np.split(column, ends_B) for column in beam[1:]]
    return [WordBeam(np.zeros(len(own[0]), np.int64), *own) for own in zip(*columns, strict=True)]


class _Candidates(NamedTuple):
    """What hypotheses may become in a step."""

    origins_N: _Ints
    """Places of the hypotheses that they come from."""
    scores_N: _Floats
    nodes_N: _Ints
    labels_N: _Ints
    said_N: _Floats
    """Log-probability of what is said in the step."""
    words_N: _Ints
    """The word that ends, or -1."""
    is_phone_N: NDArray[np.bool_]
    """Whether the step goes on to another phone."""

    def at(self, places_N: NDArray[np.integer]) -> "_Candidates":
        """Some of them."""
        return _Candidates._make(column[places_N] for column in self)


@dataclass(frozen=True, kw_only=True)
class WordStep:
    """One step of the search.

    Raises:
        ConfigError: There are too many words for so long a context.
    """

    tree: PronunciationTree
    scorer: WordScorer
    width: int
    max_gap: float
    lm_weight: float
    word_bonus: float
    blank_penalty: float

    def __post_init__(self) -> None:
        if math.log2(math.prod(self._bases)) > 63:
            raise ConfigError(
                f"{len(self.tree)} places in words and contexts of {len(self._bases) - 2} of "
                f"{self.scorer.vocabulary_size} words cannot be told apart by 63 bits.",
                hint="Use fewer words, or a language model of a lower order.",
            )

    @property
    def _bases(self) -> list[int]:
        """How many digits there are for each thing that tells hypotheses apart."""
        contexts = [self.scorer.vocabulary_size + 2] * len(self.scorer.begin())
        return [*contexts, len(self.tree), int(self.tree.child_phones_C.max(initial=0)) + 1]

    def read(self, beam: WordBeam, log_probs_BP: _Floats, frames_B: _Ints) -> WordBeam:
        """The hypotheses after one step.

        Args:
            beam: The hypotheses before.
            log_probs_BP: Natural log of the probability of blank and phones in each stream.
            frames_B: The frame that each stream is at.
        """
        said_NP = log_probs_BP[beam.owners_N]
        stays = self._stay(beam, said_NP)
        best_B = _best(stays.scores_N, beam.owners_N[stays.origins_N], len(frames_B))
        least_B = best_B - self.max_gap
        goes = self._go_on(beam, log_probs_BP, least_B)
        ends = self._end_words(beam, goes, least_B)
        columns = zip(stays, goes, ends, strict=True)
        return self._chosen(beam, _Candidates._make(map(np.concatenate, columns)), frames_B)

    def _stay(self, beam: WordBeam, said_NP: _Floats) -> _Candidates:
        """All hypotheses say blank, and those that said a phone just now say it again."""
        every_N, speaking_N = np.arange(len(beam.nodes_N)), np.flatnonzero(beam.labels_N)
        origins_N = np.concatenate([every_N, speaking_N])
        labels_N = np.concatenate([np.zeros_like(every_N), beam.labels_N[speaking_N]])
        said_N = said_NP[origins_N, labels_N]
        scores_N = beam.scores_N[origins_N] + said_N
        scores_N[: len(every_N)] -= self.blank_penalty
        none_N = np.full(len(origins_N), -1)
        return _Candidates(
            origins_N, scores_N, beam.nodes_N[origins_N], labels_N, said_N, none_N, none_N >= 0
        )

    def _go_on(self, beam: WordBeam, log_probs_BP: _Floats, least_B: _Floats) -> _Candidates:
        """Hypotheses go on to all phones that some word continues with, if that can be likely."""
        tree, owners_N = self.tree, beam.owners_N
        most_B = log_probs_BP[:, 1:].max(axis=1, initial=-np.inf) - least_B
        able_N = np.flatnonzero(beam.scores_N + most_B[owners_N] >= 0)
        places_N, edges_N = _expanded(tree.child_starts_M, beam.nodes_N[able_N])
        origins_N = able_N[places_N]
        labels_N, nodes_N = tree.child_phones_C[edges_N], tree.child_nodes_C[edges_N]
        said_N = log_probs_BP[owners_N[origins_N], labels_N]
        hope_N = tree.lookahead_M[nodes_N] - tree.lookahead_M[beam.nodes_N[origins_N]]
        scores_N = beam.scores_N[origins_N] + said_N + self.lm_weight * hope_N
        new = labels_N != beam.labels_N[origins_N]  # said twice, a phone needs a blank between
        kept_N = np.flatnonzero(new & (scores_N >= least_B[owners_N[origins_N]]))
        none_N = np.full(len(kept_N), -1)
        return _Candidates(
            origins_N[kept_N],
            scores_N[kept_N],
            nodes_N[kept_N],
            labels_N[kept_N],
            said_N[kept_N],
            none_N,
            none_N < 0,
        )

    def _end_words(self, beam: WordBeam, goes: _Candidates, least_B: _Floats) -> _Candidates:
        """Those that have said all of a word are back at the root, if that can be likely."""
        tree = self.tree
        places_N, entries_N = _expanded(tree.word_starts_M, goes.nodes_N)
        scores_N = goes.scores_N - self.lm_weight * tree.lookahead_M[goes.nodes_N]
        scores_N = scores_N[places_N] + self.word_bonus
        able_N = np.flatnonzero(scores_N >= least_B[beam.owners_N[goes.origins_N[places_N]]])
        ended, words_N = goes.at(places_N[able_N]), tree.words_W[entries_N[able_N]]
        worth_N = self.scorer.log_probs_of(beam.contexts_NK[ended.origins_N], words_N)
        return ended._replace(
            scores_N=scores_N[able_N] + self.lm_weight * worth_N,
            nodes_N=np.full_like(words_N, ROOT),
            words_N=words_N,
        )

    def _chosen(self, beam: WordBeam, found: _Candidates, frames_B: _Ints) -> WordBeam:
        """The best candidates that differ in what matters later."""
        owners_N = beam.owners_N[found.origins_N]
        gap_N = _best(found.scores_N, owners_N, len(frames_B))[owners_N] - found.scores_N
        near_N = np.flatnonzero(gap_N <= self.max_gap)
        near_N = near_N[np.lexsort((gap_N[near_N], owners_N[near_N]))]  # stream after stream
        found, owners_N = found.at(near_N), owners_N[near_N]
        contexts_NK = beam.contexts_NK[found.origins_N]
        if contexts_NK.shape[1]:
            ends_N = np.flatnonzero(found.words_N >= 0)
            contexts_NK[ends_N, :-1] = contexts_NK[ends_N, 1:]
            contexts_NK[ends_N, -1] = found.words_N[ends_N]
        keys_N = np.zeros(len(owners_N), np.int64)
        digits = (*(contexts_NK + 1).T, found.nodes_N, found.labels_N)
        for base, digit_N in zip(self._bases, digits, strict=True):
            keys_N = keys_N * base + digit_N
        first_N = _first_of_each(keys_N, owners_N)
        begins_B = np.searchsorted(owners_N[first_N], np.arange(len(frames_B)))
        rank_N = np.arange(len(first_N)) - begins_B[owners_N[first_N]]
        kept_N = first_N[rank_N < self.width]
        return self._next(beam, found.at(kept_N), contexts_NK[kept_N], frames_B)

    def _next(
        self, beam: WordBeam, found: _Candidates, contexts_NK: _Ints, frames_B: _Ints
    ) -> WordBeam:
        """The beam that consists of these candidates."""
        origins_N, owners_N = found.origins_N, beam.owners_N[found.origins_N]
        begins_N = found.is_phone_N & (beam.nodes_N[origins_N] == ROOT)
        starts_N = np.where(begins_N, frames_B[owners_N], beam.starts_N[origins_N])
        spoken_N = np.where(begins_N, 0.0, beam.spoken_N[origins_N])
        spoken_N += np.where(found.is_phone_N, found.said_N, 0.0)
        counts_N = np.where(begins_N, 0, beam.counts_N[origins_N]) + found.is_phone_N
        words_N = beam.words_N[origins_N]
        for place in np.flatnonzero(found.words_N >= 0).tolist():
            before, word = words_N[place], int(found.words_N[place])
            words_N[place] = FoundWord(
                before,
                word,
                (word,) if before is None else (*before.words, word),
                int(starts_N[place]),
                int(frames_B[owners_N[place]]),
                float(spoken_N[place] / counts_N[place]),
            )
        return WordBeam(
            owners_N,
            found.nodes_N,
            found.labels_N,
            contexts_NK,
            found.scores_N,
            beam.log_probs_N[origins_N] + found.said_N,
            starts_N,
            spoken_N,
            counts_N,
            words_N,
        )


def _best(scores_N: _Floats, owners_N: _Ints, num_streams: int) -> _Floats:
    """The best score of each stream."""
    if num_streams == 1:
        return scores_N.max(keepdims=True)
    best_B = np.full(num_streams, -np.inf)
    np.maximum.at(best_B, owners_N, scores_N)
    return best_B


def _first_of_each(keys_N: _Ints, owners_N: _Ints) -> _Ints:
    """The first place of each key of each stream, ascending."""
    order_N = np.lexsort((keys_N, owners_N))  # stable, so that the first of equals comes first
    keys_N, owners_N = keys_N[order_N], owners_N[order_N]
    new_N = np.ones(len(order_N), bool)
    new_N[1:] = (keys_N[1:] != keys_N[:-1]) | (owners_N[1:] != owners_N[:-1])
    return np.sort(order_N[new_N])


def _expanded(starts_M: _Ints, nodes_N: _Ints) -> tuple[_Ints, _Ints]:
    """For all that belongs to each node: the place of the node, and its own place."""
    first_N = starts_M[nodes_N]
    sizes_N = starts_M[nodes_N + 1] - first_N
    owners = np.repeat(np.arange(len(nodes_N)), sizes_N)
    before_N = np.cumsum(sizes_N) - sizes_N
    return owners, np.arange(len(owners)) + (first_N - before_N)[owners]
