# SPDX-License-Identifier: Apache-2.0
"""Which weights each optimizer moves, and how far."""

import torch

from evenear.config import replace
from evenear.models.transducer import Transducer
from evenear.training.loop.optimizers import build_optimizers, matrices_between_layers
from training.tone_words import config


def model() -> Transducer:
    asked = config().model
    return Transducer(asked.transducer(vocabulary_size=16, blank_id=0, with_ctc=True))


def test_each_weight_is_moved_by_one_optimizer():
    built = model()
    for ratio, many in ((0.0, 1), (3.0, 2)):
        settings = replace(config().optimizer, muon_ratio=ratio)
        optimizers = build_optimizers(built, settings)
        assert len(optimizers) == many
        moved = [id(p) for o in optimizers for group in o.param_groups for p in group["params"]]
        assert len(set(moved)) == len(moved)
        assert set(moved) == {id(p) for p in built.parameters()}


def test_embeddings_and_scores_of_tokens_are_no_matrices_between_layers():
    built = model()
    hidden = {id(parameter) for parameter in matrices_between_layers(built)}
    names = {name for name, p in built.named_parameters() if p.ndim == 2 and id(p) not in hidden}
    assert names == {"predictor.embedding.weight", "joiner.output.weight", "ctc.weight"}


def test_muon_moves_all_directions_of_a_matrix_alike():
    """A gradient with one strong and one weak direction: both move as far."""
    built = model()
    weight = built.joiner.encoder_proj.weight
    before = weight.detach().clone()
    weight.grad = torch.zeros_like(weight)
    weight.grad[0, 0], weight.grad[1, 1] = 10.0, 0.1
    settings = replace(config().optimizer, muon_ratio=1.0, weight_decay=0.0)
    _, muon = build_optimizers(built, settings)
    for group in muon.param_groups:
        group["lr"] = 0.1 * group["rate_ratio"]
    muon.step()
    moved = before - weight.detach()
    strong, weak = moved[0, 0].item(), moved[1, 1].item()
    # Newton and Schulz in five steps: singular values come near 1, not to it.
    assert 0.5 < weak / strong < 2.0
    assert moved.abs().sum().item() < 1.01 * (strong + weak)


def test_betas_and_decay_are_those_of_the_settings():
    settings = replace(config().optimizer, muon_ratio=1.0, betas=(0.7, 0.83), weight_decay=0.037)
    adam, muon = build_optimizers(model(), settings)
    assert [group["betas"] for group in adam.param_groups] == [(0.7, 0.83)] * 2
    assert [group["weight_decay"] for group in adam.param_groups] == [0.037, 0.0]
    assert [group["weight_decay"] for group in muon.param_groups] == [0.037]


def test_what_decays_shrinks_by_rate_times_decay():
    settings = replace(config().optimizer, muon_ratio=0.0, weight_decay=0.25)
    built = model()
    (adam,) = build_optimizers(built, settings)
    weight, bias = built.joiner.output.weight, built.joiner.output.bias
    before = weight.detach().clone(), bias.detach().clone()
    for parameter in (weight, bias):
        parameter.grad = torch.zeros_like(parameter)
    for group in adam.param_groups:
        group["lr"] = 0.1
    adam.step()
    torch.testing.assert_close(weight.detach(), before[0] * (1 - 0.1 * 0.25))
    assert torch.equal(bias.detach(), before[1])
