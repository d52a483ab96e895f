# SPDX-License-Identifier: Apache-2.0
"""Reading arcs from logits and writing the gradient back, cell by cell.

Dimensions: B utterances, T frames, U tokens (a lattice has U + 1 columns), R rows, V vocabulary.
"""

import pytest
import torch

from evenear.losses.transducer.arcs import Cells, Settings, arc_loss, read_arcs, write_gradient
from evenear.seeding import torch_rng_for

TARGETS = [torch.tensor([[2, 1, 0]]), torch.tensor([[3, 0]])]
PADDED = Cells([3, 2], [2, 1], [3, 2], TARGETS, None, blank_id=0, is_packed=False)
PACKED = PADDED._replace(is_packed=True)
SIZES = [(3, 3), (2, 2)]


def random_logits(*shape):
    rng = torch_rng_for(0, "arcs-test", shape)
    return torch.randn(shape, generator=rng, dtype=torch.float64)


def test_padded_and_packed_views_show_the_same_cells_without_copying():
    padded_BTRV = random_logits(2, 4, 3, 5)
    views = PADDED.views(padded_BTRV)
    assert [tuple(view.shape) for view in views] == [(3, 3, 5), (2, 2, 5)]
    assert [view.data_ptr() for view in views] == [padded_BTRV[b].data_ptr() for b in (0, 1)]
    packed_NV = torch.cat([view.flatten(0, 1) for view in views])
    for one, other in zip(views, PACKED.views(packed_NV), strict=True):
        assert torch.equal(one, other)
    assert PACKED.views(packed_NV)[1].data_ptr() == packed_NV[9].data_ptr()


def test_arcs_are_log_probabilities_of_the_blank_and_the_next_token():
    logits_BTRV = random_logits(2, 4, 3, 5)
    blank_BTU, label_BTU = read_arcs(logits_BTRV, PADDED)
    assert tuple(blank_BTU.shape) == (2, 3, 3)
    for b, (t, r) in enumerate(SIZES):
        log_probs_TRV = logits_BTRV[b, :t, :r].log_softmax(-1)
        torch.testing.assert_close(blank_BTU[b, :t, :r], log_probs_TRV[..., 0])
        torch.testing.assert_close(label_BTU[b, :t, :r], log_probs_TRV[:, range(r), TARGETS[b][0]])
    assert bool((blank_BTU[1, 2:] == -torch.inf).all())
    assert bool((label_BTU[1, :, 2:] == -torch.inf).all())


def test_rows_of_a_window_land_in_their_columns():
    columns = [torch.tensor([[0, 1], [1, 2], [1, 2]]), torch.tensor([[0, 1], [0, 1]])]
    targets = [torch.tensor([[2, 1], [1, 0], [1, 0]]), torch.tensor([[3, 0], [3, 0]])]
    cells = PADDED._replace(num_rows=[2, 2], columns=columns, targets=targets)
    logits_BTRV = random_logits(2, 3, 2, 5)
    blank_BTU, label_BTU = read_arcs(logits_BTRV, cells)
    log_probs_BTRV = logits_BTRV.log_softmax(-1)
    assert blank_BTU[0, 0].tolist() == [*log_probs_BTRV[0, 0, :, 0].tolist(), -torch.inf]
    assert blank_BTU[0, 1].tolist() == [-torch.inf, *log_probs_BTRV[0, 1, :, 0].tolist()]
    assert label_BTU[0, 1, 1] == log_probs_BTRV[0, 1, 0, 1]
    everything = slice(0, 3)
    assert torch.equal(cells.take(blank_BTU, 0, everything), log_probs_BTRV[0, ..., 0])


@pytest.mark.parametrize("vocabulary", [5, 70_000])
def test_the_gradient_is_that_of_weighted_arcs_however_it_is_cut_into_pieces(vocabulary):
    logits_BTRV = random_logits(2, 4, 3, vocabulary).requires_grad_()
    weights = (random_logits(2, 3, 3), random_logits(2, 3, 3).flip(0))
    arcs = read_arcs_differentiably(logits_BTRV)
    total = sum(
        (-arc_TR * weight_BTU[b, : len(arc_TR), : arc_TR.shape[1]]).sum()
        for weight_BTU, arcs_of_kind in zip(weights, arcs, strict=True)
        for b, arc_TR in enumerate(arcs_of_kind)
    )
    assert isinstance(total, torch.Tensor)
    expected = torch.autograd.grad(total, logits_BTRV)[0]
    found = write_gradient(logits_BTRV.detach(), PADDED, *weights)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def read_arcs_differentiably(logits_BTRV):
    blank, label = [], []
    for b, (t, r) in enumerate(SIZES):
        log_probs_TRV = logits_BTRV[b, :t, :r].log_softmax(-1)
        blank.append(log_probs_TRV[..., 0])
        label.append(log_probs_TRV[:, range(r), TARGETS[b][0]])
    return blank, label


def test_half_floats_are_worked_on_in_float32_and_doubles_in_doubles():
    logits_BTRV = random_logits(2, 4, 3, 5)
    for dtype, expected in [(torch.bfloat16, torch.float32), (torch.float64, torch.float64)]:
        loss_B = arc_loss(logits_BTRV.to(dtype), None, PADDED, Settings())
        assert loss_B.dtype == expected
