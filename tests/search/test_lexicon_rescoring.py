# SPDX-License-Identifier: Apache-2.0
"""A search for words that asks an attention decoder takes the reading that all judges like best.

Dimensions: B streams, T frames, D width.
"""

import math

import numpy as np
import pytest
import torch

from evenear.config import replace
from evenear.search import LexiconSearch
from evenear.search.judgement import log_probs
from evenear.search.rescoring import Rescoring
from laws import random_projected
from search.test_lexicon import WIDE, model, search, words_of
from tiny_rescorers import tiny_rescorer


def decoder(**changes) -> Rescoring:
    """One that reads the frames of `model()`, and spells words its own way."""
    made = tiny_rescorer(frame_dim=model().config.joiner_dim, **changes)
    return Rescoring(made, [(), (3,), (3, 4), (5, 6), (7,), (8, 9)])


def judged_by_all(searching: LexiconSearch, state, frames_TD, said=(), *, is_over=True) -> dict:
    """What each reading is worth to beam, transducer and decoder, asked one by one."""
    settings, scores = searching.config, {}
    assert searching.rescoring is not None
    for place in np.flatnonzero(state.beam.nodes_N == 0):
        reading = searching._reading(state.beam, int(place))
        words = words_of(searching, reading.tokens)
        score = float(state.beam.scores_N[place])
        (own,) = searching.rescoring.log_probs(frames_TD, [words], said, is_over=is_over)
        score += settings.rescorer_weight * own
        if state.context is not None:
            (own,) = log_probs(searching.model, state.heard.tail(), [reading.tokens], state.context)
            score += settings.transducer_weight * own
        scores[reading.tokens] = max(scores.get(reading.tokens, -math.inf), score)
    return scores


@pytest.mark.parametrize("transducer_weight", [0.0, 0.6])
def test_a_settled_reading_is_the_best_for_the_decoder_too(transducer_weight):
    wide = replace(WIDE, width=200, num_readings=99, transducer_weight=transducer_weight)
    asked = search(replace(wide, rescorer_weight=0.5), rescoring=decoder())
    unasked, differ = search(wide, rescoring=decoder()), 0
    for seed in range(6):
        projected_BTD = random_projected(asked.model, 5, seed=seed)
        (state,) = asked.step(projected_BTD, [asked.initial_state()])
        (other,) = unasked.step(projected_BTD, [unasked.initial_state()])
        scores = judged_by_all(asked, state, projected_BTD[0])
        assert len(scores) > 5
        assert asked.finalized(state).tokens == max(scores, key=lambda tokens: scores[tokens])
        differ += asked.finalized(state).tokens != unasked.finalized(other).tokens
    assert differ > 0


class Talkative(Rescoring):
    """A decoder that knows no silence."""

    def log_probs(self, frames_TF, readings, said=(), **_):
        return [0.0 if words else -1e6 for words in readings]


def test_where_the_others_find_nothing_said_the_decoder_is_not_asked():
    """It has never read of silence and would find a word (a tone of 2 s was NO)."""
    talkative = Talkative(decoder().model, decoder().spellings)
    settings = replace(WIDE, width=200, num_readings=99, rescorer_weight=1.0)
    for bonus, is_silence in ((-60.0, True), (5.0, False)):
        searching = search(replace(settings, word_bonus=bonus), rescoring=talkative)
        projected_BTD = random_projected(searching.model, 5)
        (state,) = searching.step(projected_BTD, [searching.initial_state()])
        assert (searching.best(state).tokens == ()) is is_silence
        assert (searching.finalized(state).tokens == ()) is is_silence


@pytest.mark.parametrize("seed", [1, 2])
def test_the_decoder_hears_again_what_was_said_last_and_is_told_so(seed):
    settings = replace(WIDE, width=12, max_gap=9.0, num_readings=99, rescorer_weight=0.5)
    judge = decoder(max_pieces=400)
    searching = search(settings, rescoring=judge)
    projected_BTD = random_projected(searching.model, 400, seed=seed)
    state, committed = searching.initial_state(), []
    num_told, most_before = 0, 0
    for start in range(0, 400, 4):
        (state,) = searching.step(projected_BTD[:, start : start + 4], [state])
        count = searching.num_shared(state)
        if count:
            best = searching.best(state)
            committed += words_of(searching, best.tokens[:count])
            state = searching.commit(state, best, count)
        heard = state.heard
        assert torch.equal(heard.whole(), projected_BTD[0, heard.first : start + 4])
        assert heard.open - heard.first <= 125
        most_before = max(most_before, heard.open - heard.first)
        assert list(heard.words) == committed[len(committed) - len(heard.words) :]
        assert all(heard.first < end <= heard.open for _, end in heard.said)
        if start % 40 == 0 and len(heard.tail()):
            num_told += bool(heard.words)
            for is_over in (True, False):
                scores = judged_by_all(
                    searching, state, heard.whole(), heard.words, is_over=is_over
                )
                found = searching.finalized(state, is_over=is_over)
                best = max(scores.values())
                assert scores[found.tokens] == pytest.approx(best, abs=1e-3)
    assert num_told > 3
    assert most_before > 60  # so much is kept, and no more
    assert len(committed) > 20


def test_a_decoder_without_a_weight_is_not_asked_and_no_frames_are_kept_for_it():
    searching = search(WIDE, rescoring=decoder())
    projected_BTD = random_projected(searching.model, 8)
    (state,) = searching.step(projected_BTD, [searching.initial_state()])
    assert state.heard.num_frames == 0
    assert searching.finalized(state) == searching.best(state)


def test_a_decoder_to_which_every_reading_is_too_long_is_not_heard():
    searching = search(replace(WIDE, rescorer_weight=9.0), rescoring=decoder(max_pieces=2))
    projected_BTD = random_projected(searching.model, 5)
    (state,) = searching.step(projected_BTD, [searching.initial_state()])
    assert searching.finalized(state) == searching.best(state)
