# SPDX-License-Identifier: Apache-2.0
"""Losses of speakers against loops that follow their formulas, in float64.

Dimensions: N speakers, M utterances of each, D width, B utterances.
"""

import math

import pytest
import torch

from evenear.errors import ConfigError
from evenear.losses.prototypical import (
    AamSoftmax,
    AngularPrototypical,
    Ge2e,
    SoftmaxPrototypical,
    SpeakerSoftmax,
    prototype_scores,
)
from evenear.seeding import torch_rng_for

EXACT = {"rtol": 0, "atol": 1e-12}


def embeddings(num_speakers=4, num_each=3, dim=5, seed=0):
    rng = torch_rng_for(seed, "embeddings")
    found = torch.randn(num_speakers, num_each, dim, generator=rng, dtype=torch.float64)
    return torch.nn.functional.normalize(found, dim=2)


def cosine(first, second):
    return float(first @ second) / (float(first.norm()) * float(second.norm()))


def log_softmax(scores, right):
    top = max(scores)
    return scores[right] - top - math.log(sum(math.exp(s - top) for s in scores))


def loops(e_NMD, m, scale=10.0, offset=-5.0):
    """Angular prototypical losses of utterance m of each speaker, by the formula."""
    num_speakers, num_each, _ = e_NMD.shape
    rest = [i for i in range(num_each) if i != m]
    means = [sum(e_NMD[k, i] for i in rest) / len(rest) for k in range(num_speakers)]
    rows = [[scale * cosine(e_NMD[j, m], c) + offset for c in means] for j in range(num_speakers)]
    return [-log_softmax(row, j) for j, row in enumerate(rows)]


@pytest.mark.parametrize("num_each", [2, 3])
def test_angular_prototypical_follows_its_formula(num_each):
    e_NMD = embeddings(num_each=num_each)
    found_NM = AngularPrototypical().double()(e_NMD)
    for m in range(num_each):
        expected_N = torch.tensor(loops(e_NMD, m), dtype=torch.float64)
        torch.testing.assert_close(found_NM[:, m], expected_N, **EXACT)


def test_the_first_query_alone_is_the_published_loss():
    e_NMD = embeddings(num_each=3)
    loss = AngularPrototypical().double()
    expected = sum(loops(e_NMD, 0)) / 4
    assert float(loss.of_query(e_NMD, 0).mean().detach()) == pytest.approx(expected, abs=1e-12)
    scores_NN = loss.scaled(prototype_scores(e_NMD, 0))
    rows = torch.nn.functional.cross_entropy(scores_NN, torch.arange(4))
    assert float(rows.detach()) == pytest.approx(expected, abs=1e-12)


def test_a_negative_scale_is_not_used_as_it_is():
    e_NMD = embeddings()
    loss = AngularPrototypical(scale=-3.0).double()
    assert torch.allclose(loss(e_NMD), torch.tensor(math.log(4.0), dtype=torch.float64), atol=1e-5)


@pytest.mark.parametrize("contrast", [False, True])
def test_ge2e_follows_its_formula(contrast):
    e_NMD = embeddings()
    found_NM = Ge2e(contrast=contrast).double()(e_NMD)
    for j in range(4):
        for m in range(3):
            scores = []
            for k in range(4):
                used = [e_NMD[k, i] for i in range(3) if (k, i) != (j, m)]
                scores.append(10.0 * cosine(e_NMD[j, m], sum(used)) - 5.0)
            if contrast:
                alike = [1 / (1 + math.exp(-s)) for s in scores]
                expected = 1 - alike[j] + max(a for k, a in enumerate(alike) if k != j)
            else:
                expected = -log_softmax(scores, j)
            assert float(found_NM[j, m].detach()) == pytest.approx(expected, abs=1e-12)


def test_aam_softmax_adds_the_margin_to_the_angle():
    e_BD = embeddings(num_speakers=6, num_each=1)[:, 0]
    speakers_B = torch.tensor([0, 1, 2, 0, 1, 2])
    loss = AamSoftmax(5, 3, margin=0.3, scale=20.0).double()
    unit_KD = torch.nn.functional.normalize(loss.weight_KD, dim=1)
    for found, e_D, right in zip(loss(e_BD, speakers_B), e_BD, speakers_B, strict=True):
        angles = [math.acos(cosine(e_D, weight_D)) for weight_D in unit_KD.detach()]
        assert angles[right] + 0.3 < math.pi
        scores = [20.0 * math.cos(a + 0.3 * (k == int(right))) for k, a in enumerate(angles)]
        assert float(found.detach()) == pytest.approx(-log_softmax(scores, int(right)), abs=1e-9)


def test_aam_softmax_without_a_margin_is_a_softmax_of_cosines():
    e_BD = embeddings(num_speakers=5, num_each=1)[:, 0]
    speakers_B = torch.tensor([0, 1, 2, 0, 1])
    loss = AamSoftmax(5, 3, margin=0.0, scale=7.0).double()
    cosines_BK = e_BD @ torch.nn.functional.normalize(loss.weight_KD, dim=1).T
    expected_B = torch.nn.functional.cross_entropy(7.0 * cosines_BK, speakers_B, reduction="none")
    torch.testing.assert_close(loss(e_BD, speakers_B), expected_B, **EXACT)


def test_aam_softmax_never_rewards_a_greater_angle():
    loss = AamSoftmax(2, 2, margin=0.4, scale=5.0).double()
    with torch.no_grad():
        loss.weight_KD.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    angles = torch.linspace(0.0, math.pi, 60, dtype=torch.float64)
    e_BD = torch.stack([angles.cos(), angles.sin()], dim=1)
    losses_B = loss(e_BD, torch.zeros(60, dtype=torch.int64))
    assert (losses_B.diff() >= -1e-9).all()


def test_softmax_and_prototypical_are_added():
    e_NMD = embeddings()
    both = SoftmaxPrototypical(5, 9).double()
    speakers_N = torch.tensor([8, 1, 3, 0])
    classified_B = both.softmax(e_NMD.flatten(0, 1), speakers_N.repeat_interleave(3))
    logits_BK = both.softmax.classify(e_NMD[2, 1])
    assert float(classified_B[7].detach()) == pytest.approx(
        -float(logits_BK.log_softmax(0)[3].detach())
    )
    expected_NM = classified_B.view(4, 3) + both.prototypical(e_NMD)
    torch.testing.assert_close(both(e_NMD, speakers_N), expected_NM, **EXACT)


@pytest.mark.parametrize("loss", [AngularPrototypical(), Ge2e(), Ge2e(contrast=True)])
def test_gradients_pass_finite_differences(loss):
    loss.double()
    assert torch.autograd.gradcheck(loss, (embeddings(3, 2, 4).requires_grad_(),))


def test_gradients_of_aam_pass_finite_differences():
    loss, speakers_B = AamSoftmax(4, 3).double(), torch.tensor([0, 1, 2])
    e_BD = embeddings(3, 1, 4)[:, 0].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda e: loss(e, speakers_B), (e_BD,))


def test_turning_all_embeddings_alike_changes_nothing():
    e_NMD = embeddings()
    turn_DD = torch.linalg.qr(
        torch.randn(5, 5, dtype=torch.float64, generator=torch_rng_for(1, "turn"))
    )[0]
    for loss in (AngularPrototypical(), Ge2e(), Ge2e(contrast=True)):
        loss.double()
        torch.testing.assert_close(loss(e_NMD @ turn_DD), loss(e_NMD))


@pytest.mark.parametrize("shape", [(1, 3, 4), (3, 1, 4), (3, 4)])
def test_one_speaker_or_one_utterance_of_each_is_refused(shape):
    with pytest.raises(ConfigError, match="two or more"):
        AngularPrototypical()(torch.ones(shape))
    with pytest.raises(ConfigError, match="two or more"):
        Ge2e()(torch.ones(shape))


def test_a_margin_beyond_a_right_angle_is_refused():
    with pytest.raises(ConfigError, match="margin"):
        AamSoftmax(4, 3, margin=2.0)


def test_softmax_classifies_by_its_layer():
    layer = SpeakerSoftmax(4, 3)
    losses_B = layer(torch.zeros(2, 4), torch.tensor([0, 2]))
    logits_K = layer.classify.bias
    torch.testing.assert_close(losses_B, -logits_K.log_softmax(0)[[0, 2]])
