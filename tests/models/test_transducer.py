# SPDX-License-Identifier: Apache-2.0
"""The transducer's parts agree with each other: whole with streamed, packed with padded.

Dimensions: B utterances, T frames, U tokens, D width, V vocabulary, N lattice cells.
"""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.config import from_json, replace, to_json
from evenear.encoders.base import Encoded
from evenear.errors import ConfigError
from evenear.models.transducer import Transducer, TransducerConfig
from laws import ENCODERS, FEATURES, PREDICTORS, chunkings, random_features, tiny_transducer

laws = settings(deadline=None, max_examples=15, derandomize=True)


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.no_grad():
        yield


def some_tokens(*lengths: int) -> torch.Tensor:
    rows = [[(7 * b + 3 * u) % 37 + 3 for u in range(max(lengths))] for b in range(len(lengths))]
    return torch.tensor(rows, dtype=torch.int64).reshape(len(lengths), max(lengths))


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("predictor", PREDICTORS)
def test_settings_survive_json_and_build_the_same_model(encoder, predictor):
    model = tiny_transducer(encoder, predictor)
    again = from_json(TransducerConfig, to_json(model.config))
    assert again == model.config
    Transducer(again).load_state_dict(model.state_dict(), strict=True)


@pytest.mark.parametrize("predictor", PREDICTORS)
@laws
@given(data=st.data(), length=st.integers(0, 9))
def test_a_predictor_reads_tokens_in_any_chunks(predictor, data, length):
    model = tiny_transducer(predictor=predictor)
    tokens_BU = some_tokens(length, length)
    whole_BUD = model.predict(tokens_BU)
    state, parts = model.predictor.initial_state(2), []
    inputs_BU = torch.cat([torch.full((2, 1), model.blank_id), tokens_BU], dim=1)
    for chunk_BU in inputs_BU.split(data.draw(chunkings(length + 1)), dim=1):
        if chunk_BU.shape[1]:
            predicted_BUD, state = model.predictor.step(chunk_BU, state)
            parts.append(model.joiner.predictor_proj(predicted_BUD))
    torch.testing.assert_close(torch.cat(parts, dim=1), whole_BUD, atol=1e-5, rtol=1e-5)


def test_a_stateless_predictor_forgets_and_an_lstm_does_not():
    """Two pasts that differ three tokens ago."""
    pasts_BU = torch.tensor([[5, 8, 9, 10], [6, 8, 9, 10]])
    for predictor, differs in (("stateless", False), ("lstm", True)):
        predicted_BUD = tiny_transducer(predictor=predictor).predict(pasts_BU)
        assert (float((predicted_BUD[0, -1] - predicted_BUD[1, -1]).abs().max()) > 1e-5) == differs


def test_hidden_tokens_are_read_as_blank():
    model = tiny_transducer()
    tokens_BU = some_tokens(4)
    hidden = torch.tensor([[False, True, False, True]])
    blanked_BU = tokens_BU.masked_fill(hidden, model.blank_id)
    assert torch.equal(model.predict(tokens_BU, hidden), model.predict(blanked_BU))
    assert not torch.equal(model.predict(tokens_BU, hidden), model.predict(tokens_BU))


def test_packed_logits_are_the_joiner_at_every_real_cell():
    model = tiny_transducer()
    frames, lengths = [5, 3], [2, 4]
    rng = torch.Generator().manual_seed(0)
    encoded_BTD = torch.randn(2, 5, model.encoder.dim, generator=rng)
    predicted_BUD = model.predict(some_tokens(*lengths))
    packed_NV = model.packed_logits(
        Encoded(encoded_BTD, torch.tensor(frames)), predicted_BUD, torch.tensor(lengths)
    )
    expected = [
        model.joiner(model.joiner.encoder_proj(encoded_BTD[b, t]), predicted_BUD[b, u])
        for b in range(2)
        for t in range(frames[b])
        for u in range(lengths[b] + 1)
    ]
    torch.testing.assert_close(packed_NV, torch.stack(expected), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("encoder", ["lstm-reduced-2", "convrnn-reduced-2"])
def test_streaming_projects_what_whole_utterances_encode(encoder):
    model = tiny_transducer(encoder)
    features_BTF = random_features(21)
    encoded = model.encode(features_BTF, torch.tensor([21]))
    state, parts = model.encoder.initial_state(1), []
    for chunk_BTF in features_BTF.split(4, dim=1):
        projected_BTD, state = model.step(chunk_BTF, state)
        parts.append(projected_BTD)
    streamed_BTD = torch.cat([*parts, model.flush(state)], dim=1)
    whole_BTD = model.joiner.encoder_proj(encoded.encoded_BTD)
    torch.testing.assert_close(streamed_BTD, whole_BTD, atol=1e-4, rtol=0)


def test_normalization_takes_the_mean_out_before_the_scale():
    model = Transducer(tiny_transducer().config)
    model.mean_F.fill_(3.0)
    model.scale_F.fill_(0.5)
    assert model.normalize(torch.full((1, 1, FEATURES.dim), 7.0)).unique().tolist() == [2.0]


def test_each_frame_scores_the_phones_of_the_steps_it_spans_in_their_order():
    model = Transducer(replace(tiny_transducer().config, phones=5))
    projected_BTD = torch.randn(2, 3, model.config.joiner_dim)
    logits_BTP = model.phone_logits(projected_BTD)
    head, stride = model.phones, model.encoder.stride
    assert stride > 1
    assert head is not None
    assert logits_BTP.shape == (2, 3 * stride, 6)
    for frame, step in itertools.product(range(3), range(stride)):
        rows = slice(6 * step, 6 * step + 6)
        expected_BP = projected_BTD[:, frame] @ head.weight[rows].T + head.bias[rows]
        torch.testing.assert_close(logits_BTP[:, stride * frame + step], expected_BP)


def test_a_model_without_a_head_for_phones_has_no_scores_of_them():
    with pytest.raises(ConfigError, match="made with a number of them"):
        tiny_transducer().phone_logits(torch.zeros(1, 1, 11))


def test_blank_may_sit_anywhere_in_the_vocabulary():
    """Permuting the vocabulary permutes the logits and nothing else."""
    model = tiny_transducer()
    size, blank = model.config.vocabulary_size, model.blank_id
    new_of_old = torch.randperm(size, generator=torch.Generator().manual_seed(1))
    assert new_of_old[blank] != blank
    permuted = permute_vocabulary(model, new_of_old)
    tokens_BU = some_tokens(5)
    logits_UV = model.joiner(torch.zeros(11), model.predict(tokens_BU)[0])
    permuted_UV = permuted.joiner(torch.zeros(11), permuted.predict(new_of_old[tokens_BU])[0])
    torch.testing.assert_close(permuted_UV[:, new_of_old], logits_UV)


def permute_vocabulary(model: Transducer, new_of_old: torch.Tensor) -> Transducer:
    """The same model, with token k called `new_of_old[k]`."""
    permuted = Transducer(replace(model.config, blank_id=int(new_of_old[model.blank_id]))).eval()
    weights = model.state_dict()
    for name in ("predictor.embedding.weight", "joiner.output.weight", "joiner.output.bias"):
        weights[name] = weights[name].clone()
        weights[name][new_of_old] = model.state_dict()[name]
    permuted.load_state_dict(weights)
    return permuted
