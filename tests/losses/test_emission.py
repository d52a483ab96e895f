# SPDX-License-Identifier: Apache-2.0
"""Late ends of turns cost what the formula says, in every alignment; silence is drawn to zero."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.errors import ConfigError
from evenear.losses.emission import late_end_penalty, masking_loss
from evenear.losses.transducer.loss import transducer_loss
from losses.alignments import walked_loss

EOT = 3


def logits_of(num_frames: int, num_tokens: int, seed: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    shape = (1, num_frames, num_tokens + 1, 5)
    return torch.randn(shape, generator=rng, dtype=torch.float64)


@settings(deadline=None, max_examples=25)
@given(
    st.integers(1, 4),
    st.lists(st.sampled_from([1, 2, EOT]), min_size=1, max_size=3),
    st.integers(0, 3),
    st.integers(0, 2),
    st.floats(0.0, 3.0),
    st.sampled_from([1.5, 20.0]),
    st.sampled_from([0.0, 0.01]),
)
def test_the_penalized_loss_is_the_sum_over_all_alignments(
    num_frames, tokens, true_end, buffer, alpha, most, fastemit
):
    """Each alignment is walked, and pays for every end of turn by the frame it comes in."""
    logits_BTUV = logits_of(num_frames, len(tokens), seed=num_frames)
    targets_BU = torch.tensor([tokens])
    penalty_BTU = late_end_penalty(
        targets_BU,
        torch.full_like(targets_BU, true_end),
        num_frames,
        eot_id=EOT,
        alpha=alpha,
        buffer_frames=buffer,
        most=most,
    )
    loss_B = transducer_loss(
        logits_BTUV,
        targets_BU,
        torch.tensor([num_frames]),
        torch.tensor([len(tokens)]),
        blank_id=0,
        label_penalty_BTU=penalty_BTU,
        fastemit=fastemit,
    )
    log_probs_TUV = logits_BTUV[0].log_softmax(dim=-1)
    label_TU = torch.full((num_frames, len(tokens) + 1), float("-inf"), dtype=torch.float64)
    for t in range(num_frames):
        for u, token in enumerate(tokens):
            cost = 0.0
            if token == EOT:
                cost = min(most, max(0.0, alpha * (t - buffer - true_end)))
            label_TU[t, u] = log_probs_TUV[t, u, token] - cost
    assert loss_B.item() == pytest.approx(walked_loss(log_probs_TUV[..., 0], label_TU).item())


def test_only_late_ends_of_turns_are_penalized_up_to_the_limit():
    targets_BU = torch.tensor([[1, EOT, 2, EOT]])
    ends_BU = torch.tensor([[-1, 2, -1, 4]])
    penalty_BTU = late_end_penalty(
        targets_BU, ends_BU, 8, eot_id=EOT, alpha=2.0, buffer_frames=1, most=5.0
    )
    assert penalty_BTU[0, :, 0].tolist() == [0.0] * 8
    assert penalty_BTU[0, :, 2].tolist() == [0.0] * 8
    assert penalty_BTU[0, :, 1].tolist() == [0, 0, 0, 0, 2, 4, 5, 5]
    assert penalty_BTU[0, :, 3].tolist() == [0, 0, 0, 0, 0, 0, 2, 4]


def test_with_a_limit_a_missed_end_of_turn_keeps_a_gradient_with_fastemit():
    """All the speech ended 900 frames ago: without a limit nothing could be learned from it."""
    logits_BTUV = torch.zeros(1, 2, 2, 4, requires_grad=True)
    penalty_BTU = late_end_penalty(
        torch.tensor([[EOT]]), torch.tensor([[-900]]), 2, eot_id=EOT, alpha=1.0
    )
    lengths = (torch.tensor([[EOT]]), torch.tensor([2]), torch.tensor([1]))
    loss_B = transducer_loss(
        logits_BTUV, *lengths, blank_id=0, label_penalty_BTU=penalty_BTU, fastemit=0.005
    )
    loss_B.sum().backward()
    assert loss_B.item() < 30
    assert logits_BTUV.grad is not None
    assert torch.isfinite(logits_BTUV.grad).all()
    assert logits_BTUV.grad.abs().max() > 0.1


@pytest.mark.parametrize("bad", [{"alpha": -1.0}, {"buffer_frames": -1}, {"most": -0.1}])
def test_values_below_0_are_refused(bad):
    with pytest.raises(ConfigError, match="at least 0"):
        late_end_penalty(torch.tensor([[EOT]]), torch.tensor([[0]]), 2, eot_id=EOT, **bad)


def test_masking_is_the_mean_square_of_silent_frames():
    rng = torch.Generator().manual_seed(0)
    encoded_BTD = torch.randn(3, 6, 4, generator=rng)
    silent_BT = torch.tensor([[1, 0, 1, 0, 0, 0], [0] * 6, [1] * 6], dtype=torch.bool)
    expected = [
        sum(encoded_BTD[0, t, d].item() ** 2 for t in (0, 2) for d in range(4)) / 8,
        0.0,
        encoded_BTD[2].square().mean().item(),
    ]
    assert masking_loss(encoded_BTD, silent_BT).tolist() == pytest.approx(expected)


def test_masking_moves_silent_frames_alone():
    encoded_BTD = torch.ones(1, 3, 2, requires_grad=True)
    masking_loss(encoded_BTD, torch.tensor([[True, False, False]])).sum().backward()
    assert encoded_BTD.grad is not None
    assert encoded_BTD.grad[0].sum(dim=1).tolist() == [2.0, 0.0, 0.0]
