# SPDX-License-Identifier: Apache-2.0
"""Fisher information against closed forms; the penalty at 0, for equal weights, and without end."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from evenear.errors import CheckpointError, ConfigError
from evenear.losses.ewc import EwcPenalty, Fisher, diagonal_fisher


class Gaussian(nn.Module):
    """-log p of x under a normal distribution of unknown mean and variance 1, less a constant."""

    def __init__(self, mean: float) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.tensor(mean, dtype=torch.float64))

    def losses(self, x_B: Tensor) -> Tensor:
        return 0.5 * (x_B - self.mean) ** 2


class Scorer(nn.Module):
    """Dropout and batch normalization, which would couple utterances if they were training."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Tanh())
        self.head = nn.Linear(6, 3)
        self.spare = nn.Linear(2, 2)

    def losses(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        x_BD, label_B = batch
        return F.cross_entropy(self.head(self.body(x_BD)), label_B, reduction="none")


def speech(count: int) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(1)
    return torch.randn(count, 4, generator=rng), torch.randint(0, 3, (count,), generator=rng)


def in_batches(size: int, count: int = 12) -> list[tuple[Tensor, Tensor]]:
    x_BD, label_B = speech(count)
    return [(x_BD[k : k + size], label_B[k : k + size]) for k in range(0, count, size)]


def test_the_fisher_information_of_a_normal_mean_is_the_mean_squared_residual():
    model = Gaussian(0.5)
    x_B = torch.tensor([0.0, 1.0, 3.0], dtype=torch.float64)
    fisher = diagonal_fisher(model, model.losses, [x_B])
    assert fisher.values["mean"].item() == pytest.approx((0.25 + 0.25 + 6.25) / 3)
    assert fisher.num_utterances == 3


def test_the_fisher_information_of_a_coin_is_that_of_bernoulli():
    model = nn.Module()
    model.logit = nn.Parameter(torch.tensor(math.log(0.3 / 0.7), dtype=torch.float64))
    heads_B = torch.tensor([1.0] * 3 + [0.0] * 7, dtype=torch.float64)

    def losses(x_B: Tensor) -> Tensor:
        logit_B = model.logit.expand(len(x_B))
        return F.binary_cross_entropy_with_logits(logit_B, x_B, reduction="none")

    fisher = diagonal_fisher(model, losses, [heads_B])
    assert fisher.values["logit"].item() == pytest.approx(0.3 * 0.7)


@pytest.mark.parametrize("size", [2, 5, 12])
def test_the_size_of_batches_changes_nothing(size):
    model = Scorer()
    alone = diagonal_fisher(model, model.losses, in_batches(1))
    together = diagonal_fisher(model, model.losses, in_batches(size))
    for name, value in alone.values.items():
        torch.testing.assert_close(together.values[name], value, rtol=1e-4, atol=1e-9)


def test_squares_are_of_each_utterance_and_not_of_the_batch():
    model = Scorer()
    fisher = diagonal_fisher(model, model.losses, in_batches(12))
    model.eval()
    (mean_loss,) = torch.autograd.grad(model.losses(speech(12)).mean(), model.head.weight)
    assert fisher.values["head.weight"].mean() > 2 * mean_loss.square().mean()


def test_the_model_is_left_as_it_was():
    model = Scorer().train()
    model.body[3].eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    diagonal_fisher(model, model.losses, in_batches(4))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert model.training
    assert model.body[1].training
    assert not model.body[3].training
    assert all(p.grad is None for p in model.parameters())


def test_frozen_weights_have_no_fisher_information():
    model = Scorer()
    model.body.requires_grad_(False)
    assert set(diagonal_fisher(model, model.losses, in_batches(4)).values) == {
        "head.weight",
        "head.bias",
        "spare.weight",
        "spare.bias",
    }


def test_an_utterance_without_a_finite_loss_is_left_out_and_counted():
    model = Gaussian(0.0)
    x_B = torch.tensor([1.0, math.inf, 1.0], dtype=torch.float64)
    fisher = diagonal_fisher(model, model.losses, x_B.split(1))
    assert (fisher.num_utterances, fisher.num_skipped) == (2, 1)
    assert fisher.values["mean"].item() == pytest.approx(1.0)


def test_fisher_information_of_nothing_is_refused():
    model = Gaussian(0.0)
    with pytest.raises(ConfigError, match="finite gradient"):
        diagonal_fisher(model, model.losses, [])
    with pytest.raises(ConfigError, match="weights that are trained"):
        diagonal_fisher(model.requires_grad_(False), model.losses, [])


def test_what_was_saved_is_read_again(tmp_path):
    model = Scorer()
    fisher = diagonal_fisher(model, model.losses, in_batches(3))
    fisher.save(tmp_path / "fisher.safetensors")
    again = Fisher.load(tmp_path / "fisher.safetensors")
    assert again.num_utterances == 12
    assert again.agreement == fisher.agreement
    assert all(torch.equal(again.values[name], value) for name, value in fisher.values.items())


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "fisher.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(CheckpointError, match="no Fisher information"):
        Fisher.load(tmp_path / "fisher.safetensors")


def test_the_report_says_what_is_wrong():
    model = Scorer()
    report = diagonal_fisher(model, model.losses, in_batches(3)).report()
    assert report["weights"] == sum(p.numel() for p in model.parameters())
    assert report["mean_by_part"]["spare"] == 0.0
    assert any("spare" in line for line in report["warnings"])
    assert any("12 utterances" in line for line in report["warnings"])
    nothing = Fisher({"a": torch.zeros(3)}, num_utterances=100)
    assert any("nothing is protected" in line for line in nothing.report()["warnings"])


def test_the_penalty_is_half_the_strength_times_the_weighted_square():
    model = Gaussian(2.0)
    penalty = EwcPenalty(model, Fisher({"mean": torch.tensor(8.0)}), strength=3.0)
    with torch.no_grad():
        model.mean += 0.5
    assert penalty(model).item() == pytest.approx(0.5 * 3.0 * 0.25)
    assert penalty.paper_lambda * 8.0 == pytest.approx(3.0)


def test_the_minimum_between_old_and_new_is_the_closed_form():
    """New loss (w - new)^2 / 2 and the penalty meet at (new + s f old) / (1 + s f), f relative."""
    model = nn.Module()
    old, new = torch.tensor([1.0, -2.0]), torch.tensor([3.0, 4.0])
    model.w = nn.Parameter(old.clone())
    penalty = EwcPenalty(model, Fisher({"w": torch.tensor([1.0, 3.0])}), strength=2.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(300):
        optimizer.zero_grad(set_to_none=True)
        (0.5 * (model.w - new).square().sum() + penalty(model)).backward()
        optimizer.step()
    relative = torch.tensor([0.5, 1.5])
    expected = (new + 2.0 * relative * old) / (1 + 2.0 * relative)
    torch.testing.assert_close(model.w.detach(), expected)


def test_equal_fisher_information_is_l2_sp():
    model = Scorer()
    anchor = [p.detach().clone() for p in model.parameters()]
    penalty = EwcPenalty(model, Fisher.ones(model), strength=0.7)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p))
    pairs = zip([p.detach() for p in model.parameters()], anchor, strict=True)
    plain = 0.35 * sum(float((p - a).square().sum()) for p, a in pairs)
    assert penalty(model).item() == pytest.approx(plain, rel=1e-5)


def tuned(strength: float | None) -> list[Tensor]:
    """Weights after some updates on new speech, with a penalty or without one."""
    model = Scorer().eval()
    fisher = diagonal_fisher(model, model.losses, in_batches(1))
    penalty = EwcPenalty(model, fisher, strength) if strength is not None else None
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    x_BD, label_B = speech(30)
    for _ in range(40):
        optimizer.zero_grad(set_to_none=True)
        loss = model.losses((x_BD + 1.0, label_B)).mean()
        (loss if penalty is None else loss + penalty(model)).backward()
        optimizer.step()
    return [p.detach() for p in model.head.parameters()]


def test_strength_0_is_fine_tuning_bit_for_bit():
    assert all(torch.equal(a, b) for a, b in zip(tuned(0.0), tuned(None), strict=True))


def test_without_end_of_strength_nothing_moves():
    start = [p.detach() for p in Scorer().head.parameters()]

    def moved(weights: list[Tensor]) -> float:
        return max(float((a - b).abs().max()) for a, b in zip(weights, start, strict=True))

    # The first step of Adam is as long as the rate, whatever the gradient; then it is pulled back.
    assert moved(tuned(1e8)) < 2 * 1e-2 < moved(tuned(None)) / 5


@pytest.mark.parametrize("strength", [-1.0, math.inf, math.nan])
def test_a_strength_below_0_or_without_end_is_refused(strength):
    model = Gaussian(0.0)
    with pytest.raises(ConfigError, match="strength"):
        EwcPenalty(model, Fisher.ones(model), strength)


def test_fisher_information_of_another_model_is_refused():
    with pytest.raises(ConfigError, match="lacks mean"):
        EwcPenalty(Gaussian(0.0), Fisher({"other": torch.ones(())}), 1.0)
    with pytest.raises(ConfigError, match="mean above 0"):
        EwcPenalty(Gaussian(0.0), Fisher({"mean": torch.zeros(())}), 1.0)
