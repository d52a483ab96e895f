# SPDX-License-Identifier: Apache-2.0
"""A decoder sees what came before and the frames that are real, and computes what torch's does.

Dimensions: B utterances, T frames, U pieces, S pieces that may be attended to, V vocabulary.
"""

import copy

import pytest
import torch
from torch import Tensor, nn

from evenear.errors import ConfigError
from evenear.models.rescorer import Rescorer, RescorerConfig
from tiny_rescorers import SETTINGS, random_frames, tiny_rescorer

PIECES_BU = torch.tensor([[1, 2, 5, 9, 4, 14], [1, 2, 3, 3, 8, 6]])
FRAMES_BTF = torch.stack([random_frames(9, seed=0), random_frames(9, seed=1)])
LENGTHS_B = torch.tensor([9, 4])


@pytest.fixture(params=["with gradients", "without"], autouse=True)
def _both_ways_to_attend(request):
    """Attention takes another path through the code for each."""
    with torch.set_grad_enabled(request.param == "with gradients"):
        yield


def filled(own: nn.MultiheadAttention, attention: nn.Module) -> None:
    """Make torch's attention ours; our keys have no bias."""
    parts = (attention.query, attention.key, attention.value)
    biases = (attention.query.bias, torch.zeros_like(attention.query.bias), attention.value.bias)
    own.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
    own.in_proj_bias.copy_(torch.cat(biases))
    own.out_proj.load_state_dict(attention.out.state_dict())


@torch.no_grad()
def torch_layer(layer: nn.Module, config: RescorerConfig) -> nn.TransformerDecoderLayer:
    """The layer of another implementation with the same weights."""
    theirs = nn.TransformerDecoderLayer(
        config.dim,
        config.num_heads,
        config.ff_dim,
        dropout=0.0,
        activation="gelu",
        batch_first=True,
        norm_first=True,
        dtype=torch.float64,
    )
    filled(theirs.self_attn, layer.attention)
    filled(theirs.multihead_attn, layer.cross)
    for own, part in (
        (theirs.norm1, layer.attention_norm),
        (theirs.norm2, layer.cross_norm),
        (theirs.norm3, layer.ff_norm),
        (theirs.linear1, layer.widen),
        (theirs.linear2, layer.narrow),
    ):
        own.load_state_dict(part.state_dict())
    return theirs.eval()


def by_torch(model: Rescorer, pieces_BU: Tensor, frames_BTF: Tensor, lengths_B: Tensor) -> Tensor:
    num_pieces = pieces_BU.shape[1]
    future_UU = torch.ones(num_pieces, num_pieces, dtype=torch.bool).triu(1)
    unreal_BT = torch.arange(frames_BTF.shape[1]) >= lengths_B[:, None]
    bridged_BTD = frames_BTF @ model.bridge.weight.T + model.bridge.bias
    x_BUD = model.embedding.weight[pieces_BU] + model.positions_UD[:num_pieces]
    for layer in model.layers:
        theirs = torch_layer(layer, model.config)
        x_BUD = theirs(x_BUD, bridged_BTD, tgt_mask=future_UU, memory_key_padding_mask=unreal_BT)
    return model.norm(x_BUD) @ model.embedding.weight.T


@pytest.mark.parametrize("changes", [{}, {"num_layers": 1, "num_heads": 1}, {"num_layers": 3}])
def test_logits_are_those_of_another_implementation(changes):
    model = tiny_rescorer(**changes).double()
    given = PIECES_BU, FRAMES_BTF.double(), LENGTHS_B
    found_BUV, expected_BUV = model(*given), by_torch(model, *given)
    assert found_BUV.shape == (2, 6, SETTINGS.vocabulary_size)
    torch.testing.assert_close(found_BUV, expected_BUV, rtol=1e-9, atol=1e-9)
    assert found_BUV.std() > 0.5  # or a mistake would be small, too


def test_a_later_piece_changes_nothing_before_it():
    model = tiny_rescorer()
    other_BU = PIECES_BU.clone()
    other_BU[:, 4:] = torch.tensor([[7, 7], [1, 13]])
    first, second = (model(each, FRAMES_BTF, LENGTHS_B) for each in (PIECES_BU, other_BU))
    torch.testing.assert_close(first[:, :4], second[:, :4])
    assert (first[:, 4:] - second[:, 4:]).abs().amax(dim=2).min() > 1e-2


def test_frames_beyond_the_last_real_one_change_nothing():
    model = tiny_rescorer()
    other_BTF = FRAMES_BTF.clone()
    other_BTF[1, 4:] = 100.0
    first, second = (model(PIECES_BU, each, LENGTHS_B) for each in (FRAMES_BTF, other_BTF))
    torch.testing.assert_close(first, second)
    other_BTF[1, 3] += 1.0
    assert (model(PIECES_BU, other_BTF, LENGTHS_B)[1] - first[1]).abs().max() > 1e-2


def test_an_utterance_padded_in_a_batch_is_judged_as_it_is_alone():
    model = tiny_rescorer()
    together_BUV = model(PIECES_BU, FRAMES_BTF, LENGTHS_B)
    alone_1UV = model(PIECES_BU[1:, :4], FRAMES_BTF[1:, :4], LENGTHS_B[1:])
    torch.testing.assert_close(together_BUV[1:, :4], alone_1UV, rtol=1e-4, atol=1e-4)


def test_pieces_in_another_order_are_read_as_well_if_they_know_their_places():
    model = tiny_rescorer()
    memory = model.remember(FRAMES_BTF[:1])
    heard_11T = torch.ones(1, 1, 9, dtype=torch.bool)
    depths_U, before_1UU = torch.arange(6), torch.ones(1, 6, 6, dtype=torch.bool).tril()
    order_U = torch.tensor([3, 0, 5, 1, 4, 2])
    plain = model.read(PIECES_BU[:1], depths_U, before_1UU, memory, heard_11T)
    mixed = model.read(
        PIECES_BU[:1, order_U],
        depths_U[order_U],
        before_1UU[:, order_U][:, :, order_U],
        memory,
        heard_11T,
    )
    torch.testing.assert_close(mixed, plain[:, order_U], rtol=1e-4, atol=1e-4)
    whole_1UV = model(PIECES_BU[:1], FRAMES_BTF[:1], LENGTHS_B[:1])
    torch.testing.assert_close(model.scores(plain), whole_1UV)


def test_dropout_is_for_training_alone():
    model = tiny_rescorer(dropout=0.4)
    given = PIECES_BU, FRAMES_BTF, LENGTHS_B
    assert torch.equal(model(*given), model(*given))
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(0)
        training = copy.deepcopy(model).train()
        assert (training(*given) - model(*given)).abs().max() > 1e-2


@pytest.mark.parametrize(
    "marks", [{"start": ()}, {"start": (1, 15)}, {"start": (-1, 2)}, {"end_id": 15}]
)
def test_marks_that_the_vocabulary_does_not_have_are_refused(marks):
    with pytest.raises(ConfigError, match="vocabulary of 15"):
        RescorerConfig(vocabulary_size=15, **marks)


def test_heads_of_unequal_width_are_refused():
    with pytest.raises(ConfigError, match="heads of equal width, got 12 for 5"):
        tiny_rescorer(num_heads=5)
