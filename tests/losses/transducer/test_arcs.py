# SPDX-License-Identifier: Apache-2.0
"""Reading arcs from logits and writing the gradient back, cell by cell.

Dimensions: B utterances, T frames, U tokens (a lattice has U + 1 columns), N cells, V vocabulary.
"""

import pytest
import torch

from evenear.losses.transducer.arcs import Cells, Settings, arc_loss, read_arcs, write_gradient
from evenear.losses.transducer.checks import Batch
from evenear.seeding import torch_rng_for

BATCH = Batch(torch.tensor([[2, 1, 0], [3, 0, 0]]), [3, 2], [2, 1], blank_id=0)
SIZES = [(3, 3), (2, 2)]


def random_logits(*shape):
    rng = torch_rng_for(0, "arcs-test", shape)
    return torch.randn(shape, generator=rng, dtype=torch.float64)


def packed(values_BTUV):
    return torch.cat([values_BTUV[b, :t, :u].flatten(0, 1) for b, (t, u) in enumerate(SIZES)])


def test_cells_know_their_logits_their_lattice_place_and_their_next_token():
    padded_BTUV = random_logits(2, 4, 3, 5)
    for logits in (padded_BTUV, packed(padded_BTUV)):
        cells = Cells(BATCH, logits)
        assert cells.shape == (2, 3, 3)
        cells.at_once = 5
        places, tokens = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13], [2, 1, 0] * 3 + [3, 0] * 2
        for some, first in zip(cells.chunks(), (0, 5, 10), strict=True):
            found_NV = logits.view(-1, 5)[some.rows]
            assert torch.equal(found_NV, packed(padded_BTUV)[first : first + 5])
            assert some.lattice_N.tolist() == places[first : first + 5]
            assert some.next_N1[:, 0].tolist() == tokens[first : first + 5]


@pytest.mark.parametrize("layout", ["padded", "packed"])
def test_arcs_are_log_probabilities_of_the_blank_and_the_next_token(layout):
    logits_BTUV = random_logits(2, 4, 3, 5)
    logits = logits_BTUV if layout == "padded" else packed(logits_BTUV)
    blank_BTU, label_BTU = read_arcs(logits, Cells(BATCH, logits))
    assert tuple(blank_BTU.shape) == (2, 3, 3)
    for b, (t, u) in enumerate(SIZES):
        log_probs_TUV = logits_BTUV[b, :t, :u].log_softmax(-1)
        tokens_U = BATCH.targets_BU[b, :u]
        torch.testing.assert_close(blank_BTU[b, :t, :u], log_probs_TUV[..., 0])
        torch.testing.assert_close(label_BTU[b, :t, :u], log_probs_TUV[:, range(u), tokens_U])
    assert bool((blank_BTU[1, 2:] == -torch.inf).all())
    assert bool((label_BTU[1, :, 2:] == -torch.inf).all())


@pytest.mark.parametrize("layout", ["padded", "packed"])
@pytest.mark.parametrize("vocabulary", [5, 70_000])
def test_the_gradient_is_that_of_weighted_arcs_however_it_is_cut_into_pieces(vocabulary, layout):
    logits_BTUV = random_logits(2, 4, 3, vocabulary).requires_grad_()
    weights = (random_logits(2, 3, 3), random_logits(2, 3, 3).flip(0))
    arcs = read_arcs_differentiably(logits_BTUV)
    total = sum(
        (-arc_TU * weight_BTU[b, : len(arc_TU), : arc_TU.shape[1]]).sum()
        for weight_BTU, arcs_of_kind in zip(weights, arcs, strict=True)
        for b, arc_TU in enumerate(arcs_of_kind)
    )
    assert isinstance(total, torch.Tensor)
    expected = torch.autograd.grad(total, logits_BTUV)[0]
    logits = logits_BTUV.detach() if layout == "padded" else packed(logits_BTUV.detach())
    found = write_gradient(logits, Cells(BATCH, logits), *weights)
    wanted = expected if layout == "padded" else packed(expected)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


def read_arcs_differentiably(logits_BTUV):
    blank, label = [], []
    for b, (t, u) in enumerate(SIZES):
        log_probs_TUV = logits_BTUV[b, :t, :u].log_softmax(-1)
        blank.append(log_probs_TUV[..., 0])
        label.append(log_probs_TUV[:, range(u), BATCH.targets_BU[b, :u]])
    return blank, label


@pytest.mark.parametrize("layout", ["padded", "packed"])
def test_half_floats_are_worked_on_in_float32_and_doubles_in_doubles(layout):
    logits_BTUV = random_logits(2, 4, 3, 5)
    for dtype, expected in [(torch.bfloat16, torch.float32), (torch.float64, torch.float64)]:
        logits = (logits_BTUV if layout == "padded" else packed(logits_BTUV)).to(dtype)
        logits.requires_grad_()
        loss_B = arc_loss(logits, None, Cells(BATCH, logits), Settings())
        assert loss_B.dtype == expected
        loss_B.sum().backward()
        assert logits.grad is not None
        assert logits.grad.dtype == dtype
