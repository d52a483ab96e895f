# SPDX-License-Identifier: Apache-2.0
"""Search for words of a dictionary: the phones that the encoder hears, and which words follow.

All words share one tree of phones. A hypothesis is a place in the tree, the words before it and a
score; at each step it says blank, repeats its phone or goes on to a phone that some word continues
with, and where a word ends it may begin the next. Hypotheses that differ in nothing that matters
later are one, and the best `width` are kept. Within a word the likeliest word that may come of it
stands for its language model score, so that unlikely words are dropped early.

    score = sum of log P(phone or blank) + lm_weight * sum of log P(word | two words before)
            + word_bonus * number of words - blank_penalty * number of blanks

A vocabulary and what follows what need no recorded speech, which is why few hours of it go further
here than in `BeamSearch`; but a word that the dictionary does not have is never found.

Legend: B streams, N hypotheses or candidates, P phones with blank first, M nodes of the tree, C
children of all nodes, W words of all nodes, K words of context, T encoder frames, D joiner width.

Source: Graves et al. 2006 (CTC); Ney et al. 1992, "Improvements in beam search for 10000-word
continuous speech recognition" (tree, lookahead).
Departs from the papers: of paths that say the same, the best counts, not their sum.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from evenear.config import config
from evenear.errors import ConfigError
from evenear.models.transducer import Transducer
from evenear.search.forced import log_prob
from evenear.search.hypotheses import Hypothesis, Search
from evenear.search.tree import ROOT, PronunciationTree

__all__ = ["LexiconConfig", "LexiconSearch", "LexiconState", "WordScorer"]

_Ints = NDArray[np.int64]
_Floats = NDArray[np.float64]


@config
class LexiconConfig:
    """How many hypotheses are kept, and what they are scored by."""

    width: int = Field(default=128, ge=1)
    """Hypotheses kept for each stream."""
    max_gap: float = Field(default=14.0, gt=0)
    """Hypotheses that are this many nats behind the best are dropped."""
    lm_weight: float = Field(default=0.7, ge=0)
    """Weight of the words' log-probabilities."""
    word_bonus: float = 0.0
    """Added for each word; language models favor few words, this pays it back."""
    blank_penalty: float = 0.0
    """Taken off for each blank; a head trained by CTC says blank too readily when unsure."""
    transducer_weight: float = Field(default=0.0, ge=0)
    """Weight of the transducer's log-probability of a whole reading, once its speech is over."""
    num_readings: int = Field(default=16, ge=1)
    """Readings that the transducer is asked about."""


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


class _Word(NamedTuple):
    """A word that was found, and those before it."""

    before: "_Word | None"
    word: int
    start: int
    end: int
    log_prob: float
    """Mean natural log of the probability of its phones."""


class LexiconState(NamedTuple):
    """State of one stream: its hypotheses, one for each place of the arrays."""

    num_frames: int
    heard: tuple[Tensor, ...]
    """Frames (T, D) since the reading began, if the transducer will be asked about them."""
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
    words: tuple[_Word | None, ...]
    """The last word of each."""


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

    def at(self, places_N: _Ints) -> "_Candidates":
        """Some of them."""
        return _Candidates._make(each[places_N] for each in self)


class LexiconSearch(Search[LexiconState]):
    """Keeps the best readings that consist of words of a dictionary.

    Args:
        model: A transducer with a head for phones, in evaluation mode.
        tree: The words.
        scorer: Which words follow which.
        spellings: Tokens of each word id.
        config: Width and weights.

    Raises:
        ConfigError: There are too many words for so long a context.
    """

    def __init__(
        self,
        model: Transducer,
        tree: PronunciationTree,
        scorer: WordScorer,
        spellings: Sequence[Sequence[int]],
        config: LexiconConfig | None = None,
    ) -> None:
        self.model, self.tree, self.scorer, self.spellings = model, tree, scorer, spellings
        self.config = config or LexiconConfig()
        self._lookahead_M = self.config.lm_weight * tree.lookahead_M
        bases = [scorer.vocabulary_size + 2] * len(scorer.begin())
        self._bases = [*bases, len(tree), int(tree.child_phones_C.max(initial=0)) + 1]
        if math.log2(math.prod(self._bases)) > 63:
            raise ConfigError(
                f"{len(tree)} places in words and contexts of {len(bases)} of "
                f"{scorer.vocabulary_size} words cannot be told apart by 63 bits.",
                hint="Use fewer words, or a language model of a lower order.",
            )

    def initial_state(self) -> LexiconState:
        """The state of one stream that has heard nothing."""
        zero, none = np.zeros(1, np.int64), np.zeros(1)
        begin_1K = self.scorer.begin()[None]
        return LexiconState(0, (), zero, zero, begin_1K, none, none, zero, none, zero, (None,))

    def best(self, state: LexiconState) -> Hypothesis:
        """The best reading that ends with a word, or else the whole words of the best."""
        return self._reading(state, int((state.nodes_N == ROOT).argmax()))

    @torch.inference_mode()
    def settled(self, state: LexiconState) -> Hypothesis:
        """The best reading, judged by the transducer too."""
        places = np.flatnonzero(state.nodes_N == ROOT).tolist()  # in the order of their scores
        readings: dict[tuple[int, ...], tuple[float, Hypothesis]] = {}
        for place in places if self.config.transducer_weight and state.heard else ():
            reading = self._reading(state, place)
            readings.setdefault(reading.tokens, (float(state.scores_N[place]), reading))
            if len(readings) == self.config.num_readings:
                break
        if len(readings) < 2:
            return self.best(state)
        heard_TD, weight = torch.cat(state.heard), self.config.transducer_weight
        return max(
            readings.values(),
            key=lambda one: one[0] + weight * log_prob(self.model, heard_TD, one[1].tokens),
        )[1]

    def _reading(self, state: LexiconState, place: int) -> Hypothesis:
        tokens: list[int] = []
        frames: list[int] = []
        log_probs: list[float] = []
        word = state.words[place]
        while word is not None:
            spelling = self.spellings[word.word]
            first = word.start if len(spelling) > 1 else word.end
            frames += np.linspace(word.end, first, len(spelling)).astype(np.int64).tolist()
            tokens += reversed(spelling)
            log_probs += [word.log_prob] * len(spelling)
            word = word.before
        log_prob = float(state.log_probs_N[place])
        return Hypothesis(
            tuple(tokens[::-1]), tuple(frames[::-1]), tuple(log_probs[::-1]), log_prob
        )

    def restart(self, state: LexiconState) -> LexiconState:
        """Begin a new reading at the frame that the stream is at."""
        return self.initial_state()._replace(num_frames=state.num_frames)

    def without_stale(self, state: LexiconState, frame: int) -> LexiconState:
        """The state without readings whose last word ended before a frame; an empty one stays."""
        kept = [k for k, word in enumerate(state.words) if word is None or word.end >= frame]
        if not kept:
            return state
        many = max(1, state.num_frames - frame)
        too_many = sum(map(len, state.heard)) > many
        heard = (torch.cat(state.heard)[-many:],) if too_many else state.heard
        return _picked(state, np.array(kept))._replace(heard=heard)

    @torch.inference_mode()
    def step(
        self,
        projected_BTD: Tensor,
        states: Sequence[LexiconState],
        lengths_B: Sequence[int] | None = None,
    ) -> list[LexiconState]:
        """Read frames; return the next state of each stream."""
        num_frames, stride = projected_BTD.shape[1], self.model.encoder.stride
        if not states or not num_frames:
            return list(states)
        log_probs_BTP = self.model.phone_logits(projected_BTD).float().log_softmax(dim=2)
        lengths = [num_frames] * len(states) if lengths_B is None else lengths_B
        read = []
        for state, log_probs_TP, projected_TD, length in zip(
            states, log_probs_BTP.double().numpy(), projected_BTD, lengths, strict=True
        ):
            if self.config.transducer_weight:
                state = state._replace(heard=(*state.heard, projected_TD[:length].clone()))
            for frame in range(length):
                for step in range(frame * stride, (frame + 1) * stride):
                    state = self._read(state, log_probs_TP[step])
                state = state._replace(num_frames=state.num_frames + 1)
            read.append(state)
        return read

    def _read(self, state: LexiconState, log_probs_P: _Floats) -> LexiconState:
        """Read one step of a stream."""
        stays = self._stay(state, log_probs_P)
        least = float(stays.scores_N.max()) - self.config.max_gap
        goes = self._go_on(state, log_probs_P, least)
        ends = self._end_words(state, goes)
        columns = zip(stays, goes, ends, strict=True)
        return self._chosen(state, _Candidates._make(map(np.concatenate, columns)))

    def _stay(self, state: LexiconState, log_probs_P: _Floats) -> _Candidates:
        """All hypotheses say blank, and those that said a phone just now say it again."""
        every_N, speaking_N = np.arange(len(state.nodes_N)), np.flatnonzero(state.labels_N)
        origins_N = np.concatenate([every_N, speaking_N])
        labels_N = np.where(np.arange(len(origins_N)) < len(every_N), 0, state.labels_N[origins_N])
        said_N = log_probs_P[labels_N]
        none_N = np.full(len(origins_N), -1)
        scores_N = state.scores_N[origins_N] + said_N
        scores_N -= self.config.blank_penalty * (labels_N == 0)
        return _Candidates(
            origins_N, scores_N, state.nodes_N[origins_N], labels_N, said_N, none_N, none_N >= 0
        )

    def _go_on(self, state: LexiconState, log_probs_P: _Floats, least: float) -> _Candidates:
        """All hypotheses go on to all phones that some word continues with."""
        tree = self.tree
        origins_N, edges_N = _expanded(tree.child_starts_M, state.nodes_N)
        labels_N, nodes_N = tree.child_phones_C[edges_N], tree.child_nodes_C[edges_N]
        said_N = log_probs_P[labels_N]
        hope_N = self._lookahead_M[nodes_N] - self._lookahead_M[state.nodes_N[origins_N]]
        scores_N = state.scores_N[origins_N] + said_N + hope_N
        new = labels_N != state.labels_N[origins_N]  # said twice, a phone needs a blank between
        none_N = np.full(len(origins_N), -1)
        every = _Candidates(
            origins_N, scores_N, nodes_N, labels_N, said_N, none_N, np.ones(len(origins_N), bool)
        )
        return every.at(np.flatnonzero(new & (scores_N >= least)))

    def _end_words(self, state: LexiconState, goes: _Candidates) -> _Candidates:
        """Those that have said all of a word are back at the root."""
        tree, settings = self.tree, self.config
        places_N, words_N = _expanded(tree.word_starts_M, goes.nodes_N)
        words_N = tree.words_W[words_N]
        ended = goes.at(places_N)
        worth_N = self.scorer.log_probs_of(state.contexts_NK[ended.origins_N], words_N)
        scores_N = ended.scores_N - self._lookahead_M[ended.nodes_N]
        scores_N += settings.lm_weight * worth_N + settings.word_bonus
        return ended._replace(
            scores_N=scores_N, nodes_N=np.full_like(words_N, ROOT), words_N=words_N
        )

    def _chosen(self, state: LexiconState, found: _Candidates) -> LexiconState:
        """The best candidates that differ in what matters later, as the next state."""
        contexts_NK = state.contexts_NK[found.origins_N]
        ends = found.words_N >= 0
        if contexts_NK.shape[1]:
            contexts_NK[ends] = np.roll(contexts_NK[ends], -1, axis=1)
            contexts_NK[ends, -1] = found.words_N[ends]
        order_N = np.argsort(-found.scores_N, kind="stable")
        gap_N = found.scores_N[order_N[0]] - found.scores_N[order_N]
        order_N = order_N[gap_N <= self.config.max_gap]
        keys_N = np.zeros(len(order_N), np.int64)
        digits = (*(contexts_NK + 1).T, found.nodes_N, found.labels_N)
        for base, digit_N in zip(self._bases, digits, strict=True):
            keys_N = keys_N * base + digit_N[order_N]
        _, first_N = np.unique(keys_N, return_index=True)
        kept = order_N[np.sort(first_N)[: self.config.width]]
        return self._next(state, found.at(kept), contexts_NK[kept])

    def _next(self, state: LexiconState, found: _Candidates, contexts_NK: _Ints) -> LexiconState:
        """The state that consists of these candidates."""
        origins_N = found.origins_N
        begins_N = found.is_phone_N & (state.nodes_N[origins_N] == ROOT)
        starts_N = np.where(begins_N, state.num_frames, state.starts_N[origins_N])
        spoken_N = np.where(begins_N, 0.0, state.spoken_N[origins_N])
        spoken_N += np.where(found.is_phone_N, found.said_N, 0.0)
        counts_N = np.where(begins_N, 0, state.counts_N[origins_N]) + found.is_phone_N
        words = [state.words[origin] for origin in origins_N.tolist()]
        for place in np.flatnonzero(found.words_N >= 0).tolist():
            words[place] = _Word(
                words[place],
                int(found.words_N[place]),
                int(starts_N[place]),
                state.num_frames,
                float(spoken_N[place] / counts_N[place]),
            )
        return LexiconState(
            state.num_frames,
            state.heard,
            found.nodes_N,
            found.labels_N,
            contexts_NK,
            found.scores_N,
            state.log_probs_N[origins_N] + found.said_N,
            starts_N,
            spoken_N,
            counts_N,
            tuple(words),
        )


def _picked(state: LexiconState, places_N: _Ints) -> LexiconState:
    """Some hypotheses of a state."""
    arrays = {
        name: value[places_N]
        for name, value in state._asdict().items()
        if name.endswith(("_N", "_NK"))
    }
    return state._replace(**arrays, words=tuple(state.words[k] for k in places_N.tolist()))


def _expanded(starts_M: _Ints, nodes_N: _Ints) -> tuple[_Ints, _Ints]:
    """For all that belongs to each node: the place of the node, and its own place."""
    first_N = starts_M[nodes_N]
    sizes_N = starts_M[nodes_N + 1] - first_N
    owners = np.repeat(np.arange(len(nodes_N)), sizes_N)
    before_N = np.cumsum(sizes_N) - sizes_N
    return owners, np.arange(len(owners)) + (first_N - before_N)[owners]
