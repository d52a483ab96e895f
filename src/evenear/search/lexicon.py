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

Legend: B streams, P phones with blank first, T encoder frames, D joiner width.

Source: Graves et al. 2006 (CTC); Ney et al. 1992, "Improvements in beam search for 10000-word
continuous speech recognition" (tree, lookahead).
Departs from the papers: of paths that say the same, the best counts, not their sum.

The transducer, which hears the same frames another way, judges whole readings, and so may an
attention decoder: once when a turn is over, and whenever words must become final. Words that all
hypotheses share are committed, so only an open tail of a few seconds is ever searched or judged,
however long somebody talks.
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from evenear.config import config
from evenear.models.transducer import Transducer
from evenear.search.heard import HeardFrames
from evenear.search.hypotheses import Hypothesis, Search, num_alike
from evenear.search.judgement import TokenContext, begin_context, continued, log_probs
from evenear.search.rescoring import Rescoring
from evenear.search.tree import ROOT, PronunciationTree
from evenear.search.wordbeam import (
    FoundWord,
    WordBeam,
    WordScorer,
    WordStep,
    joined_beams,
    split_beam,
)

__all__ = ["LexiconConfig", "LexiconSearch", "LexiconState"]


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
    rescorer_weight: float = Field(default=0.0, ge=0)
    """Weight of an attention decoder's log-probability of a whole reading, if the model has one."""
    num_readings: int = Field(default=16, ge=1)
    """Readings that the transducer and the decoder are asked about."""


_SAID_FRAMES = 125
"""Frames of what was said that the decoder hears again, so that it knows what goes on."""


class LexiconState(NamedTuple):
    """State of one stream."""

    num_frames: int
    heard: HeardFrames
    """Frames that the transducer or the decoder may be asked about; empty if neither will be."""
    context: TokenContext | None
    """What the transducer has read before the open tail; None: it will not be asked."""
    beam: WordBeam
    """The hypotheses, best first."""


class LexiconSearch(Search[LexiconState]):
    """Keeps the best readings that consist of words of a dictionary.

    Args:
        model: A transducer with a head for phones, in evaluation mode.
        tree: The words.
        scorer: Which words follow which.
        spellings: Tokens of each word id.
        config: Width and weights.
        rescoring: An attention decoder that judges readings; None: there is none.

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
        rescoring: Rescoring | None = None,
    ) -> None:
        self.model, self.spellings = model, spellings
        self.config = config or LexiconConfig()
        self.rescoring = rescoring if self.config.rescorer_weight else None
        self._step = WordStep(
            tree=tree,
            scorer=scorer,
            width=self.config.width,
            max_gap=self.config.max_gap,
            lm_weight=self.config.lm_weight,
            word_bonus=self.config.word_bonus,
            blank_penalty=self.config.blank_penalty,
        )

    @torch.inference_mode()
    def initial_state(self) -> LexiconState:
        """The state of one stream that has heard nothing."""
        context = begin_context(self.model) if self.config.transducer_weight else None
        return LexiconState(0, HeardFrames(), context, WordBeam.begin(self._step.scorer))

    def best(self, state: LexiconState) -> Hypothesis:
        """The best reading that ends with a word, or else the whole words of the best."""
        return self._reading(state.beam, int((state.beam.nodes_N == ROOT).argmax()))

    @torch.inference_mode()
    def finalized(self, state: LexiconState, *, is_over: bool = True) -> Hypothesis:
        """The best reading, judged by the transducer and the decoder too."""
        beam = state.beam
        places = np.flatnonzero(beam.nodes_N == ROOT).tolist()  # in the order of their scores
        readings: dict[tuple[int, ...], int] = {}
        for place in places if state.heard.num_frames else ():
            word = beam.words_N[place]
            readings.setdefault(() if word is None else word.words, place)
            if len(readings) == self.config.num_readings:
                break
        if len(readings) < 2 or len(state.heard.tail()) == 0:
            return self.best(state)
        found = [self._reading(beam, place) for place in readings.values()]
        scores = [beam.scores_N[list(readings.values())]]
        if state.context is not None:
            tokens = [one.tokens for one in found]
            judged = log_probs(self.model, state.heard.tail(), tokens, state.context)
            scores.append(self.config.transducer_weight * np.array(judged))
        if self.rescoring is not None:
            count = min(map(len, scores))
            likeliest = int(np.argmax(sum(each[:count] for each in scores))) if count else 0
            if not (found[likeliest].tokens or state.heard.words):
                return found[likeliest]  # no decoder has read of silence: it would find a word
            judged = self.rescoring.log_probs(
                state.heard.whole(), list(readings), state.heard.words, is_over=is_over
            )
            scores.append(self.config.rescorer_weight * np.array(judged))
        count = min(map(len, scores))  # whoever is asked about too many answers on the first
        if not count:
            return self.best(state)
        return found[int(np.argmax(sum(each[:count] for each in scores)))]

    def num_shared(self, state: LexiconState) -> int:
        """How many of the best reading's tokens begin all readings; always those of whole words."""
        words = {() if word is None else word.words for word in state.beam.words_N}
        num_words = num_alike(words)
        return sum(len(self.spellings[word]) for word in min(words)[:num_words])

    @torch.inference_mode()
    def commit(self, state: LexiconState, reading: Hypothesis, num_tokens: int) -> LexiconState:
        """Go on after the first tokens of a reading, with the hypotheses that begin with them."""
        tokens = reading.tokens[:num_tokens]
        counts: dict[tuple[int, ...] | None, int | None] = {None: None}
        for word in state.beam.words_N:
            if word is not None and word.words not in counts:
                counts[word.words] = self._num_words(word.words, tokens)
        made: dict[int, FoundWord | None] = {}
        places, words = [], []
        for place, word in enumerate(state.beam.words_N):
            count = counts[None if word is None else word.words]
            if count is not None:
                places.append(place)
                words.append(_without_first(word, count, made))
        beam = state.beam.at(np.array(places))
        beam = beam._replace(words_N=_objects(words))
        context, heard = state.context, state.heard
        if context is not None:
            context = continued(self.model, context, tokens)
        if self._keeps_frames:
            first = next(w for w in state.beam.words_N if w is not None and counts[w.words])
            said = _first_words(first, counts[first.words] or 0)
            kept = _SAID_FRAMES if self.rescoring is not None else 0
            heard = heard.settled(said, reading.frames[num_tokens - 1] + 1, kept)
        return LexiconState(state.num_frames, heard, context, beam)

    def restart(self, state: LexiconState) -> LexiconState:
        """Begin a new reading at the frame that the stream is at.

        A pause may end a sentence or lie within one, so one hypothesis begins a sentence, and
        another goes on after the words of the best reading.
        """
        now, place = state.num_frames, int((state.beam.nodes_N == ROOT).argmax())
        fresh = self.initial_state()
        going_on = fresh.beam._replace(contexts_NK=state.beam.contexts_NK[[place]])
        beam = fresh.beam
        if not np.array_equal(going_on.contexts_NK, beam.contexts_NK):
            beam = joined_beams([beam, going_on])
            beam = beam._replace(owners_N=np.zeros_like(beam.owners_N))
        return fresh._replace(num_frames=now, heard=HeardFrames((), now, now), beam=beam)

    def without_stale(self, state: LexiconState, frame: int) -> LexiconState:
        """The state without readings whose last word ended before a frame; an empty one stays."""
        words = state.beam.words_N
        kept = [k for k, word in enumerate(words) if word is None or word.end >= frame]
        if not kept:
            return state
        heard = (
            state.heard.since(min(frame, state.num_frames - 1))
            if state.heard.num_frames
            else state.heard
        )
        beam = state.beam if len(kept) == len(words) else state.beam.at(np.array(kept))
        return state._replace(beam=beam, heard=heard)

    @torch.inference_mode()
    def step(
        self,
        projected_BTD: Tensor,
        states: Sequence[LexiconState],
        lengths_B: Sequence[int] | None = None,
    ) -> list[LexiconState]:
        """Read frames; return the next state of each stream."""
        num_frames, stride = projected_BTD.shape[1], self.model.phone_steps
        states = list(states)
        if not states or not num_frames:
            return states
        logits_BTP = self.model.phone_logits(projected_BTD).float()
        log_probs_BTP = logits_BTP.log_softmax(dim=2).double().numpy()
        lengths = [num_frames] * len(states) if lengths_B is None else lengths_B
        own_BTD = projected_BTD.clone() if self._keeps_frames else None
        for start, end in itertools.pairwise(sorted({0, *lengths})):
            active = [b for b, length in enumerate(lengths) if length >= end]
            beam = joined_beams([states[b].beam for b in active])
            frames_B = np.array([states[b].num_frames for b in active])
            for step in range(start * stride, end * stride):
                now_B = frames_B + (step // stride - start)
                beam = self._step.read(beam, log_probs_BTP[active, step], now_B)
            for b, own in zip(active, split_beam(beam, len(active)), strict=True):
                heard = states[b].heard
                if own_BTD is not None:
                    heard = heard.more(own_BTD[b, start:end])
                num_heard = states[b].num_frames + end - start
                states[b] = LexiconState(num_heard, heard, states[b].context, own)
        return states

    @property
    def _keeps_frames(self) -> bool:
        """Whether anybody will be asked about frames."""
        return self.config.transducer_weight > 0 or self.rescoring is not None

    def _reading(self, beam: WordBeam, place: int) -> Hypothesis:
        """The open words of a hypothesis as tokens, spread over the time of each word."""
        found: list[FoundWord] = []
        word = beam.words_N[place]
        while word is not None:
            found.append(word)
            word = word.before
        tokens: list[int] = []
        frames: list[int] = []
        spoken: list[float] = []
        for one in reversed(found):
            spelling = self.spellings[one.word]
            many, length = len(spelling) - 1, one.end - one.start
            frames += [one.start + k * length // many for k in range(many)] if many else []
            frames.append(one.end)
            tokens += spelling
            spoken += [one.log_prob] * len(spelling)
        log_prob = float(beam.log_probs_N[place])
        return Hypothesis(tuple(tokens), tuple(frames), tuple(spoken), log_prob)

    def _num_words(self, words: tuple[int, ...], tokens: tuple[int, ...]) -> int | None:
        """How many words are spelled by the tokens that a reading should begin with; None: none."""
        spelled: list[int] = []
        for count, word in enumerate(words, start=1):
            spelled += self.spellings[word]
            if len(spelled) >= len(tokens):
                return count if tuple(spelled) == tokens else None
        return None


def _first_words(word: FoundWord, count: int) -> list[tuple[int, int]]:
    """The first so many words, and the frame behind each."""
    chain = [word]
    while chain[-1].before is not None:
        chain.append(chain[-1].before)
    return [(one.word, one.end + 1) for one in reversed(chain)][:count]


def _without_first(
    word: FoundWord | None, count: int, made: dict[int, FoundWord | None]
) -> FoundWord | None:
    """A word whose first so many words are open no more; `made` holds what was made before."""
    if word is None or len(word.words) <= count:
        return None
    if id(word) not in made:
        before = _without_first(word.before, count, made)
        made[id(word)] = replace(word, before=before, words=word.words[count:])
    return made[id(word)]


def _objects(words: Sequence[FoundWord | None]) -> np.ndarray:
    """Words as a column of a beam."""
    column = np.empty(len(words), dtype=object)
    column[:] = words
    return column
