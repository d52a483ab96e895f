# SPDX-License-Identifier: Apache-2.0
"""What all searches share: predictors that read for many hypotheses, and whole utterances."""

import pytest
import torch

from evenear.nn.state import map_state, state_tensors
from evenear.search import BeamSearch, GreedySearch, Hypothesis
from evenear.search.hypotheses import num_alike, read_tokens
from laws import PREDICTORS, random_features, tiny_transducer


@pytest.mark.parametrize("predictor", PREDICTORS)
@torch.no_grad()
def test_predictors_read_for_many_as_for_one(predictor):
    model = tiny_transducer(predictor=predictor)
    start = model.predictor.initial_state(1)
    ((after_five, _),) = read_tokens(model, [5], [start])
    states, tokens = [start, after_five, after_five], [7, 7, 9]
    before = [map_state(torch.clone, state) for state in states]
    together = read_tokens(model, tokens, states)
    for (state, projected_1D), token, own in zip(together, tokens, states, strict=True):
        ((alone, alone_1D),) = read_tokens(model, [token], [own])
        torch.testing.assert_close(projected_1D, alone_1D, atol=1e-5, rtol=1e-5)
        for first, second in zip(state_tensors(state), state_tensors(alone), strict=True):
            torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-5)
    for state, kept in zip(states, before, strict=True):
        pairs = zip(state_tensors(state), state_tensors(kept), strict=True)
        assert all(torch.equal(first, second) for first, second in pairs)


@pytest.mark.parametrize("predictor", PREDICTORS)
@torch.no_grad()
def test_reading_tokens_is_predicting(predictor):
    """Token by token as in a search, and all at once as in training."""
    model = tiny_transducer(predictor=predictor)
    tokens, state, rows = [5, 8, 9, 10], model.predictor.initial_state(1), []
    for token in [model.blank_id, *tokens]:
        ((state, projected_1D),) = read_tokens(model, [token], [state])
        rows.append(projected_1D)
    expected_UD = model.predict(torch.tensor([tokens]))[0]
    torch.testing.assert_close(torch.cat(rows), expected_UD, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", [GreedySearch, BeamSearch])
def test_whole_utterances_are_read_to_their_own_length(kind):
    model = tiny_transducer()
    features_BTF, lengths = random_features(40, batch_size=3), [40, 21, 8]
    search = kind(model)
    together = search.read(model.encode(features_BTF, torch.tensor(lengths)))
    assert together[0].tokens
    for b, length in enumerate(lengths):
        (alone,) = search.read(
            model.encode(features_BTF[b : b + 1, :length], torch.tensor([length]))
        )
        assert together[b].tokens == alone.tokens
        assert together[b].frames == alone.frames


def test_alike_is_what_all_begin_with():
    assert num_alike([(1, 2, 3), (1, 2, 4), (1, 2)]) == 2
    assert num_alike([(1, 2), (3,)]) == 0
    assert num_alike([(1, 2), ()]) == 0
    assert num_alike([(7, 8)]) == 2


def test_a_hypothesis_without_its_first_tokens_keeps_the_probability_of_the_whole():
    left = Hypothesis((4, 5, 6), (1, 2, 9), (-0.1, -0.2, -0.3), -2.0).without_first(2)
    assert left == Hypothesis((6,), (9,), (-0.3,), -2.0)
