# SPDX-License-Identifier: Apache-2.0
"""Adversarial reweighting: its formulas, its steps, and the idea on planted data.

Dimensions: B utterances, N speakers, M utterances of each, D width.
"""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from evenear.config import replace
from evenear.errors import ConfigError
from evenear.losses.reweighting.arw import (
    Adversary,
    Reweighting,
    ReweightingConfig,
    accumulated_pairwise,
    normalized_weights,
    row_shares,
)
from evenear.seeding import torch_rng_for

VARIANTS = ("aps", "aps-similar", "pl", "pw", "pw-row")
EXACT = {"rtol": 0, "atol": 1e-12}


def batch(size=12, dim=4, seed=0):
    rng = torch_rng_for(seed, "batch")
    embeddings_BD = nn.functional.normalize(torch.randn(size, dim, generator=rng), dim=1)
    return embeddings_BD, torch.rand(size, generator=rng), torch.arange(size) // 2


def ready(settings, dim=4):
    """An adversary that knows regions of random points."""
    reweighting = Reweighting(settings, dim)
    reweighting.fit_regions(batch(200, dim, seed=9)[0], epoch=0)
    return reweighting


def test_arl_weights_are_one_plus_n_times_the_share():
    scores_B = torch.tensor([0.1, 0.3, 0.6, 0.2], dtype=torch.float64)
    expected_B = 1 + 4 * scores_B / scores_B.sum()
    torch.testing.assert_close(normalized_weights(scores_B), expected_B, **EXACT)
    assert float(normalized_weights(scores_B).mean()) == pytest.approx(2.0)


def test_mean_one_weights_are_n_times_the_share():
    scores_B = torch.tensor([0.1, 0.3, 0.6, 0.2], dtype=torch.float64)
    weights_B = normalized_weights(scores_B, "mean-one")
    torch.testing.assert_close(weights_B, 4 * scores_B / scores_B.sum(), **EXACT)
    assert float(weights_B.mean()) == pytest.approx(1.0)


def test_scores_near_zero_do_not_explode():
    weights_B = normalized_weights(torch.full((5,), 1e-30))
    assert weights_B.isfinite().all()


def test_the_linear_adversary_is_one_layer():
    assert [tuple(p.shape) for p in Adversary(5).parameters()] == [(1, 5), (1,)]
    assert len(list(Adversary(5, hidden_dim=3).parameters())) == 4


def test_weighting_accumulated_pairs_is_weighting_pairs_by_sums_of_weights():
    """The identity that the module's docstring claims, by a loop over pairs."""
    size, speakers_B = 6, torch.tensor([0, 0, 1, 1, 2, 2])
    rng = torch_rng_for(0, "pairs")
    raw_BB = torch.randn(size, size, generator=rng, dtype=torch.float64)
    logits_BB = raw_BB + raw_BB.T
    weights_B = torch.rand(size, generator=rng, dtype=torch.float64)
    found = float((weights_B * accumulated_pairwise(logits_BB, speakers_B)).sum())
    expected, num_same, num_different = 0.0, 6, 24
    for i in range(size):
        for j in range(size):
            if i == j:
                continue
            same = bool(speakers_B[i] == speakers_B[j])
            p = 1 / (1 + math.exp(-float(logits_BB[i, j])))
            bce = -math.log(p if same else 1 - p)
            share = 0.5 * size / (num_same if same else num_different)
            pair_weight = float(weights_B[i] + weights_B[j])
            expected += 0.5 * pair_weight * share * bce
    assert found == pytest.approx(expected, abs=1e-12)


def test_accumulated_pairs_average_to_the_mean_of_both_kinds():
    size, speakers_B = 6, torch.tensor([0, 0, 0, 1, 1, 2])
    raw_BB = torch.randn(size, size, generator=torch_rng_for(1, "pairs"), dtype=torch.float64)
    logits_BB = raw_BB + raw_BB.T
    same_BB = speakers_B[:, None] == speakers_B[None]
    bce_BB = nn.functional.binary_cross_entropy_with_logits(
        logits_BB, same_BB.double(), reduction="none"
    )
    off_BB = ~torch.eye(size, dtype=torch.bool)
    expected = 0.5 * (bce_BB[same_BB & off_BB].mean() + bce_BB[~same_BB].mean())
    found = accumulated_pairwise(logits_BB, speakers_B).mean()
    torch.testing.assert_close(found, expected, **EXACT)


@pytest.mark.parametrize("num_each", [2, 3])
def test_row_shares_weigh_rows_by_query_and_prototype(num_each):
    rng = torch_rng_for(0, "rows")
    losses_NM = torch.rand(4, num_each, generator=rng, dtype=torch.float64)
    weights_NM = torch.rand(4, num_each, generator=rng, dtype=torch.float64)
    found = float((weights_NM * row_shares(losses_NM)).sum())
    expected = 0.0
    for n in range(4):
        for m in range(num_each):
            others = [float(weights_NM[n, i]) for i in range(num_each) if i != m]
            row_weight = float(weights_NM[n, m]) + sum(others) / len(others)
            expected += 0.5 * row_weight * float(losses_NM[n, m])
    assert found == pytest.approx(expected, abs=1e-12)
    torch.testing.assert_close(row_shares(losses_NM).mean(), losses_NM.mean(), **EXACT)


@pytest.mark.parametrize("variant", VARIANTS)
def test_weights_average_to_two_and_follow_the_losses(variant):
    reweighting = ready(ReweightingConfig(variant=variant, rate=0.1))
    embeddings_BD, losses_B, speakers_B = batch()
    for update in range(1, 200):
        weights_B = reweighting.weigh(embeddings_BD, losses_B, speakers_B, update=update)
    assert float(weights_B.mean()) == pytest.approx(2.0, abs=1e-5)
    assert not weights_B.requires_grad
    assert reweighting.last is not None
    assert reweighting.last.correlation > 0.3


@pytest.mark.parametrize("normalization", ["arl", "mean-one"])
def test_the_constant_control_never_changes_anything_but_the_scale(normalization):
    settings = ReweightingConfig(variant="constant", normalization=normalization)
    reweighting = Reweighting(settings, 4)
    before = [p.clone() for p in reweighting.adversary.parameters()]
    weights_B = reweighting.weigh(*batch(), update=9)
    expected = 2.0 if normalization == "arl" else 1.0
    assert weights_B.tolist() == [expected] * 12
    after = list(reweighting.adversary.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_before_the_warmup_ends_weights_are_constant_and_the_adversary_rests():
    reweighting = ready(ReweightingConfig(warmup_updates=3))
    weight = reweighting.adversary.layers.weight.clone()
    assert set(reweighting.weigh(*batch(), update=3).tolist()) == {2.0}
    assert torch.equal(reweighting.adversary.layers.weight, weight)
    assert len(set(reweighting.weigh(*batch(), update=4).tolist())) > 1
    assert not torch.equal(reweighting.adversary.layers.weight, weight)


def test_a_step_of_the_adversary_is_the_gradient_of_the_weighted_loss():
    """By the derivative of sum_i w_i l_i / n, worked out by hand for a linear adversary."""
    settings = ReweightingConfig(variant="aps", rate=0.01)
    reweighting = Reweighting(settings, 4)
    embeddings_BD, losses_B, speakers_B = batch()
    weight_D = reweighting.adversary.layers.weight[0].detach().double()
    bias = reweighting.adversary.layers.bias.detach().double()
    f_B = (embeddings_BD.double() @ weight_D + bias).sigmoid()
    total = f_B.sum()
    mean_loss = (f_B * losses_B.double()).sum() / total
    by_score_B = (losses_B.double() - mean_loss) / total  # of (1/n) sum_i n f_i l_i / sum_j f_j
    gradient_D = ((by_score_B * f_B * (1 - f_B))[:, None] * embeddings_BD.double()).sum(dim=0)
    reweighting.weigh(embeddings_BD, losses_B, speakers_B, update=1)
    moved_D = reweighting.adversary.layers.weight[0].detach().double() - weight_D
    expected_D = 0.01 * gradient_D / (gradient_D.abs() + 1e-10)  # Adagrad's first step
    torch.testing.assert_close(moved_D, expected_D, rtol=1e-3, atol=1e-6)


def test_simultaneous_weights_are_those_before_the_step():
    settings = ReweightingConfig(variant="aps", rate=0.5)
    alternating = Reweighting(settings, 4)
    simultaneous = Reweighting(replace(settings, order="simultaneous"), 4)
    first = simultaneous.weigh(*batch(), update=1)
    assert torch.equal(first, normalized_weights(Adversary_of(settings)(batch()[0])).detach())
    after = alternating.weigh(*batch(), update=1)
    assert torch.equal(simultaneous.weigh(*batch(), update=2), after)


def Adversary_of(settings) -> Adversary:  # noqa: N802
    return Reweighting(settings, 4).adversary


def test_regions_are_needed_where_they_are_seen():
    with pytest.raises(ConfigError, match="regions"):
        Reweighting(ReweightingConfig(variant="pw"), 4).weigh(*batch(), update=1)


def test_a_snapshot_goes_on_bit_for_bit():
    settings = ReweightingConfig(variant="pw", hidden_dim=5)
    first = ready(settings)
    first.weigh(*batch(), update=1)
    second = Reweighting(settings, 4, seed=3)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert torch.equal(first.weigh(*batch(), update=2), second.weigh(*batch(), update=2))
    assert torch.equal(first.scores(batch()[0], batch()[2]), second.scores(batch()[0], batch()[2]))


def planted(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Two kinds of people: most follow one rule, a small group (15 %) another, with some noise."""
    rng = torch_rng_for(seed, "people")
    x = torch.randn(800, 2, generator=rng)
    is_small = torch.rand(800, generator=rng) < 0.15
    rule = torch.where(is_small, x[:, 1], x[:, 0]) + 0.5 * torch.randn(800, generator=rng)
    return x, (rule > 0).float(), is_small


def group_losses(settings: ReweightingConfig, seed: int) -> tuple[float, float]:
    """Losses of the small group and of the others, with a learner too simple for both rules.

    The learner does not see who is in the group; the adversary sees it as a number among others.
    """
    x, labels, is_small = planted(seed)
    seen = torch.cat([x, labels[:, None], is_small[:, None].float()], dim=1)
    weight = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.2)
    reweighting = Reweighting(settings, 4, seed=seed)
    everyone = torch.arange(len(x))
    for update in range(1, 201):
        losses = nn.functional.binary_cross_entropy_with_logits(
            x @ weight, labels, reduction="none"
        )
        weights = reweighting.weigh(seen, losses, everyone, update=update)
        optimizer.zero_grad()
        (weights * losses).mean().backward()
        optimizer.step()
    losses = losses.detach()
    return float(losses[is_small].mean()), float(losses[~is_small].mean())


def test_reweighting_helps_a_small_group_that_nobody_named():
    """The idea of the source, on planted people, against an equally weighted control."""
    helped = ReweightingConfig(variant="aps", rate=0.3, normalization="mean-one")
    for seed in range(3):
        plain = group_losses(replace(helped, variant="constant"), seed)
        fair = group_losses(helped, seed)
        assert plain[0] > plain[1] + 0.1  # there is a gap to close
        assert fair[0] < plain[0] - 0.02
        assert fair[0] - fair[1] < plain[0] - plain[1] - 0.04
