# SPDX-License-Identifier: Apache-2.0
"""A cohort is another mean: the trained pair and the ordinary recognizers hear alike."""

import copy

import pytest
import torch

from evenear.seeding import torch_rng_for
from evenear.training.mitigation.adaptation.embedding import UNKNOWN, CohortRecognizer
from training.mitigation.tone_speakers import write_model


@pytest.fixture
def pair(tmp_path) -> CohortRecognizer:
    model = copy.deepcopy(write_model(tmp_path / "model").model)
    model.scale_F.mul_(0.5)
    return CohortRecognizer(model, 2, torch_rng_for(0, "cohort embedding"))


def features(pair: CohortRecognizer) -> torch.Tensor:
    rng = torch.Generator().manual_seed(3)
    return torch.randn(3, 9, pair.transducer.encoder.feature_dim, generator=rng)


def test_no_cohort_makes_a_difference_at_first(pair):
    x_BTF = features(pair)
    assert torch.equal(pair.shifted(x_BTF, torch.tensor([0, 1, 2])), x_BTF)
    assert torch.equal(pair.recognizer(1).mean_F, pair.transducer.mean_F)


def test_the_recognizer_of_a_cohort_hears_as_the_pair_does(pair):
    with torch.no_grad():
        pair.projection_FE.normal_()
    x_BTF, lengths_B = features(pair), torch.tensor([9, 9, 9])
    for cohort in (UNKNOWN, 1, 2):
        shifted_BTF = pair.shifted(x_BTF, torch.full((3,), cohort))
        together = pair.transducer.encode(shifted_BTF, lengths_B).encoded_BTD
        alone = pair.recognizer(cohort).encode(x_BTF, lengths_B).encoded_BTD
        torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-4)
    means = [pair.recognizer(cohort).mean_F for cohort in (UNKNOWN, 1, 2)]
    assert not torch.equal(means[0], means[1])
    assert not torch.equal(means[1], means[2])


def test_both_numbers_and_their_projection_learn(pair):
    with torch.no_grad():
        pair.projection_FE.normal_()
    pair.shifted(features(pair), torch.tensor([1, 1, 2])).square().sum().backward()
    assert pair.projection_FE.grad is not None
    assert pair.embedding_CE.grad is not None
    assert bool((pair.embedding_CE.grad[UNKNOWN] == 0).all())
