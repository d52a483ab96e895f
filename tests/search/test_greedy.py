# SPDX-License-Identifier: Apache-2.0
"""Greedy search against its definition, and under the laws of streaming.

Dimensions: B streams, T frames, D width, V vocabulary.
"""

import math

import pytest
import torch

from evenear.models.transducer import Transducer
from evenear.search import GreedySearch, greedy_search
from laws import random_projected, tiny_transducer


@torch.no_grad()
def written_out(model: Transducer, projected_TD: torch.Tensor, limit: int) -> tuple:
    """One stream, one frame, one token at a time; the predictor rereads everything each time."""
    tokens, frames, log_probs, log_prob = [], [], [], 0.0
    for t, frame_D in enumerate(projected_TD):
        for symbol in range(limit + 1):
            predicted_D = model.predict(torch.tensor([tokens], dtype=torch.int64))[0, -1]
            log_probs_V = model.joiner(frame_D, predicted_D).log_softmax(dim=0)
            token = model.blank_id if symbol == limit else int(log_probs_V.argmax())
            log_prob += float(log_probs_V[token])
            if token == model.blank_id:
                break
            tokens.append(token)
            frames.append(t)
            log_probs.append(float(log_probs_V[token]))
    return tuple(tokens), tuple(frames), tuple(log_probs), log_prob


@pytest.mark.parametrize("predictor", ["lstm", "stateless"])
@pytest.mark.parametrize("limit", [1, 4])
def test_greedy_search_is_its_definition(predictor, limit):
    model = tiny_transducer(predictor=predictor)
    search = GreedySearch(model, max_symbols_per_frame=limit)
    projected_BTD = random_projected(model, 40, batch_size=3)
    states = search.step(projected_BTD, [search.initial_state() for _ in range(3)])
    for projected_TD, state in zip(projected_BTD, states, strict=True):
        tokens, frames, log_probs, log_prob = written_out(model, projected_TD, limit)
        found = search.best(state)
        assert found.tokens == tokens
        assert found.frames == frames
        assert len(set(tokens)) > 1
        assert found.log_probs == pytest.approx(log_probs, abs=1e-4)
        assert found.log_prob == pytest.approx(log_prob, abs=1e-3)


def test_a_frame_is_left_after_the_limit_even_without_blank():
    model = tiny_transducer()
    projected_BTD = random_projected(model, 40)
    for limit in (1, 2):
        search = GreedySearch(model, max_symbols_per_frame=limit)
        frames = search.best(*search.step(projected_BTD, [search.initial_state()])).frames
        counts = [frames.count(t) for t in range(40)]
        assert max(counts) == limit


def test_padding_behind_an_utterance_is_not_read():
    model = tiny_transducer()
    from laws import random_features

    features_BTF = random_features(40, batch_size=3)
    lengths = [40, 17, 6]
    together = greedy_search(model, model.encode(features_BTF, torch.tensor(lengths)))
    for b, length in enumerate(lengths):
        alone_BTF = features_BTF[b : b + 1, :length]
        (alone,) = greedy_search(model, model.encode(alone_BTF, torch.tensor([length])))
        assert together[b].tokens == alone.tokens
        assert together[b].frames == alone.frames
        assert math.isclose(together[b].log_prob, alone.log_prob, abs_tol=1e-3)


def test_reading_goes_on_after_a_restart_with_the_clock_but_without_the_words():
    model = tiny_transducer()
    search = GreedySearch(model)
    projected_BTD = random_projected(model, 40)
    (state,) = search.step(projected_BTD[:, :20], [search.initial_state()])
    assert search.best(state).tokens
    (after,) = search.step(projected_BTD[:, 20:], [search.restart(state)])
    (fresh,) = search.step(projected_BTD[:, 20:], [search.initial_state()])
    assert search.best(after).tokens == search.best(fresh).tokens
    assert search.best(after).frames == tuple(20 + t for t in search.best(fresh).frames)


def test_no_streams_and_no_frames_are_fine():
    model = tiny_transducer()
    search = GreedySearch(model)
    assert search.step(random_projected(model, 5)[:0], []) == []
    state = search.initial_state()
    assert search.step(random_projected(model, 5)[:, :0], [state]) == [state]


def test_committed_tokens_change_nothing_of_what_follows():
    search, projected_BTD = GreedySearch(tiny_transducer()), random_projected(tiny_transducer(), 40)
    (plain,) = search.step(projected_BTD, [search.initial_state()])
    (state,) = search.step(projected_BTD[:, :20], [search.initial_state()])
    best = search.best(state)
    assert search.num_shared(state) == len(best.tokens) > 2
    (state,) = search.step(projected_BTD[:, 20:], [search.commit(state, best, 2)])
    whole, left = search.best(plain), search.best(state)
    assert best.tokens[:2] + left.tokens == whole.tokens
    assert left.frames == whole.frames[2:]
    assert left.log_prob == pytest.approx(whole.log_prob)
