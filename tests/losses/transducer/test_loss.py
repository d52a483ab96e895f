# SPDX-License-Identifier: Apache-2.0
"""The loss against the sum over every alignment, and against itself seen in other ways.

Dimensions: B utterances, T frames, U tokens (logits have U + 1 columns), V vocabulary, N cells.
"""

import itertools
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from evenear.errors import ConfigError
from evenear.losses.transducer.loss import packed_transducer_loss, transducer_loss
from losses.alignments import LATTICES, arcs_of, gradient_of, random_batch, walked_loss

ALL_SIZES = list(itertools.product(range(1, 5), range(4)))
SIZES = st.lists(st.tuples(st.integers(1, 7), st.integers(0, 5)), min_size=1, max_size=4)
EXACT = {"rtol": 0, "atol": 1e-10}


def packed(values_BTUX: Tensor, sizes: list[tuple[int, int]]) -> Tensor:
    """The cells of each utterance, one after another."""
    cells = [values_TUX[:t, : u + 1] for values_TUX, (t, u) in zip(values_BTUX, sizes, strict=True)]
    return torch.cat([cells_TUX.flatten(0, 1) for cells_TUX in cells])


@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("blank_id", [0, 2, 4])
def test_loss_and_gradient_equal_the_sum_over_every_alignment(lattice, blank_id):
    logits_BTUV, targets_BU, *lengths = random_batch(ALL_SIZES, 5, blank_id)
    logits_BTUV.requires_grad_()
    loss_B = transducer_loss(logits_BTUV, targets_BU, *lengths, blank_id=blank_id, lattice=lattice)
    arcs = arcs_of(logits_BTUV, targets_BU, ALL_SIZES, blank_id)
    expected_B = torch.stack([walked_loss(*arc) for arc in arcs])
    torch.testing.assert_close(loss_B, expected_B, **EXACT)
    gradients = [gradient_of(loss, logits_BTUV) for loss in (loss_B, expected_B)]
    torch.testing.assert_close(*gradients, **EXACT)


@pytest.mark.parametrize("lattice", LATTICES)
def test_gradients_of_logits_and_penalties_pass_finite_differences(lattice):
    logits_BTUV, *rest = random_batch([(3, 2), (4, 3), (1, 0)], 4, 1)
    penalty_BTU = torch.rand(3, 4, 3, dtype=torch.float64, requires_grad=True)

    def loss(logits_BTUV: Tensor, penalty_BTU: Tensor) -> Tensor:
        options = {"label_penalty_BTU": penalty_BTU, "lattice": lattice}
        return transducer_loss(logits_BTUV, *rest, blank_id=1, **options)

    assert torch.autograd.gradcheck(loss, (logits_BTUV.requires_grad_(), penalty_BTU))


@pytest.mark.parametrize("lattice", LATTICES)
def test_penalties_and_fastemit_equal_changed_arcs_differentiated_by_torch(lattice):
    logits_BTUV, targets_BU, *lengths = random_batch(ALL_SIZES, 5, 3)
    logits_BTUV.requires_grad_()
    penalty_BTU = torch.rand(len(ALL_SIZES), 4, 3, dtype=torch.float64, requires_grad=True)
    options = {"fastemit": 0.3, "label_penalty_BTU": penalty_BTU, "lattice": lattice}
    loss_B = transducer_loss(logits_BTUV, targets_BU, *lengths, blank_id=3, **options)
    expected = []
    for b, (blank_TU, label_TU) in enumerate(arcs_of(logits_BTUV, targets_BU, ALL_SIZES, 3)):
        stronger_TU = label_TU + 0.3 * (label_TU - label_TU.detach())
        num_frames, num_tokens = label_TU.shape
        stronger_TU = stronger_TU - penalty_BTU[b, :num_frames, :num_tokens]
        expected.append(walked_loss(blank_TU, stronger_TU))
    expected_B = torch.stack(expected)
    torch.testing.assert_close(loss_B, expected_B, **EXACT)
    for values in (logits_BTUV, penalty_BTU):
        gradients = [gradient_of(loss, values) for loss in (loss_B, expected_B)]
        torch.testing.assert_close(*gradients, **EXACT)


@settings(deadline=None, max_examples=30)
@given(sizes=SIZES, blank_id=st.integers(0, 5), seed=st.integers(0, 1000))
def test_packed_logits_give_the_loss_and_gradient_of_padded_ones(sizes, blank_id, seed):
    logits_BTUV, *rest = random_batch(sizes, 6, blank_id, seed=seed)
    logits_NV = packed(logits_BTUV, sizes).requires_grad_()
    logits_BTUV.requires_grad_()
    penalty_BTU = torch.rand(logits_BTUV.shape[:3], dtype=torch.float64)
    options = {"blank_id": blank_id, "fastemit": 0.1}
    packed_B = packed_transducer_loss(logits_NV, *rest, label_penalty=penalty_BTU, **options)
    padded_B = transducer_loss(logits_BTUV, *rest, label_penalty_BTU=penalty_BTU, **options)
    torch.testing.assert_close(packed_B, padded_B, **EXACT)
    expected_NV = packed(gradient_of(padded_B, logits_BTUV), sizes)
    torch.testing.assert_close(gradient_of(packed_B, logits_NV), expected_NV, **EXACT)


@settings(deadline=None, max_examples=30)
@given(sizes=SIZES, lattice=st.sampled_from(LATTICES), seed=st.integers(0, 1000))
def test_batching_strangers_changes_nothing(sizes, lattice, seed):
    logits_BTUV, targets_BU, *lengths = random_batch(sizes, 4, 2, seed=seed)
    loss_B = transducer_loss(logits_BTUV, targets_BU, *lengths, blank_id=2, lattice=lattice)
    for b, (t, u) in enumerate(sizes):
        alone = (logits_BTUV[b : b + 1, :t, : u + 1], targets_BU[b : b + 1, :u])
        own_lengths = (torch.tensor([t]), torch.tensor([u]))
        alone_B = transducer_loss(*alone, *own_lengths, blank_id=2, lattice=lattice)
        torch.testing.assert_close(alone_B[0], loss_B[b], **EXACT)


@pytest.mark.parametrize("lattice", LATTICES)
def test_padding_is_never_read_and_gets_no_gradient(lattice):
    sizes = [(3, 1), (2, 3), (4, 0)]
    logits_BTUV, targets_BU, *lengths = random_batch(sizes, 5, 0)
    clean_B = transducer_loss(logits_BTUV, targets_BU, *lengths, blank_id=0, lattice=lattice)
    outside_BTU = torch.ones(logits_BTUV.shape[:3], dtype=torch.bool)
    for b, (t, u) in enumerate(sizes):
        outside_BTU[b, :t, : u + 1] = False
        targets_BU[b, u:] = -100
    dirty_BTUV = logits_BTUV.masked_fill(outside_BTU[..., None], torch.nan).requires_grad_()
    loss_B = transducer_loss(dirty_BTUV, targets_BU, *lengths, blank_id=0, lattice=lattice)
    torch.testing.assert_close(loss_B, clean_B, **EXACT)
    gradient_BTUV = gradient_of(loss_B, dirty_BTUV)
    assert bool((gradient_BTUV[outside_BTU] == 0).all())
    assert bool((gradient_BTUV[~outside_BTU] != 0).all())


def test_permuting_the_vocabulary_permutes_the_gradient():
    logits_BTUV, targets_BU, *lengths = random_batch([(4, 3), (3, 2)], 6, 0)
    order_V = torch.tensor([4, 2, 5, 0, 3, 1])
    logits_BTUV.requires_grad_()
    loss_B = transducer_loss(logits_BTUV, targets_BU, *lengths, blank_id=0)
    permuted_BTUV = logits_BTUV.detach()[..., order_V.argsort()].requires_grad_()
    blank_id = int(order_V[0])
    permuted_B = transducer_loss(permuted_BTUV, order_V[targets_BU], *lengths, blank_id=blank_id)
    torch.testing.assert_close(permuted_B, loss_B, **EXACT)
    gradient_BTUV = gradient_of(permuted_B, permuted_BTUV)[..., order_V]
    torch.testing.assert_close(gradient_BTUV, gradient_of(loss_B, logits_BTUV), **EXACT)


def test_without_tokens_the_loss_is_that_of_blanks_alone():
    logits_BTUV, _, frame_lengths_B, _ = random_batch([(4, 0), (2, 0)], 3, 1)
    no_targets_BU = torch.zeros(2, 0, dtype=torch.int64)
    loss_B = transducer_loss(
        logits_BTUV, no_targets_BU, frame_lengths_B, torch.tensor([0, 0]), blank_id=1
    )
    blank_BT = logits_BTUV[:, :, 0].log_softmax(-1)[..., 1]
    expected_B = -torch.stack([blank_BT[0, :4].sum(), blank_BT[1, :2].sum()])
    torch.testing.assert_close(loss_B, expected_B, **EXACT)


@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_short_floats_lose_only_what_their_rounding_loses(lattice, dtype):
    exact_BTUV, *rest = random_batch([(40, 12), (25, 9)], 11, 0)
    logits_BTUV = exact_BTUV.to(dtype).requires_grad_()
    loss_B = transducer_loss(logits_BTUV, *rest, blank_id=0, lattice=lattice)
    rounded_BTUV = logits_BTUV.detach().double().requires_grad_()
    expected_B = transducer_loss(rounded_BTUV, *rest, blank_id=0, lattice=lattice)
    assert loss_B.dtype == torch.float32
    torch.testing.assert_close(loss_B.double(), expected_B, rtol=1e-6, atol=0)
    gradient_BTUV = gradient_of(loss_B, logits_BTUV)
    assert gradient_BTUV.dtype == dtype
    expected_BTUV = gradient_of(expected_B, rounded_BTUV)
    atol = torch.finfo(dtype).eps if dtype == torch.float32 else 1e-4
    rtol = 10 * torch.finfo(dtype).eps
    torch.testing.assert_close(gradient_BTUV.double(), expected_BTUV, rtol=rtol, atol=10 * atol)


@pytest.mark.parametrize("lattice", LATTICES)
def test_a_long_utterance_keeps_its_digits_in_float32(lattice):
    logits_BTUV, *rest = random_batch([(3000, 20)], 5, 0)
    exact_B = transducer_loss(logits_BTUV, *rest, blank_id=0, lattice=lattice)
    loss_B = transducer_loss(logits_BTUV.float(), *rest, blank_id=0, lattice=lattice)
    torch.testing.assert_close(loss_B.double(), exact_B, rtol=1e-6, atol=0)


@pytest.mark.parametrize("lattice", LATTICES)
def test_an_impossible_sentence_has_infinite_loss_and_no_gradient(lattice):
    logits_BTUV, *rest = random_batch([(3, 2), (3, 2)], 4, 0)
    penalty_BTU = torch.zeros(2, 3, 2)
    penalty_BTU[0, :, 1] = torch.inf
    logits_BTUV.requires_grad_()
    options = {"label_penalty_BTU": penalty_BTU, "lattice": lattice}
    loss_B = transducer_loss(logits_BTUV, *rest, blank_id=0, **options)
    assert loss_B[0] == torch.inf
    assert loss_B[1].isfinite()
    gradient_BTUV = gradient_of(loss_B, logits_BTUV)
    assert bool((gradient_BTUV[0] == 0).all())
    assert bool(gradient_BTUV[1].any())


def test_the_backward_pass_can_be_repeated_and_leaves_the_logits_alone():
    logits_BTUV, *rest = random_batch([(4, 3), (2, 1)], 5, 0)
    before_BTUV = logits_BTUV.clone()
    loss_B = transducer_loss(logits_BTUV.requires_grad_(), *rest, blank_id=0)
    first, second = (gradient_of(loss_B, logits_BTUV) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(logits_BTUV.detach(), before_BTUV)


@pytest.mark.parametrize("lattice", LATTICES)
def test_the_value_without_gradients_is_the_same(lattice):
    logits_BTUV, *rest = random_batch([(5, 3), (2, 1), (7, 0)], 5, 0)
    with torch.no_grad():
        value_B = transducer_loss(logits_BTUV, *rest, blank_id=0, lattice=lattice)
    loss_B = transducer_loss(logits_BTUV.requires_grad_(), *rest, blank_id=0, lattice=lattice)
    assert not value_B.requires_grad
    torch.testing.assert_close(value_B, loss_B.detach(), **EXACT)


def test_mixed_precision_around_the_loss_changes_nothing():
    logits_BTUV, *rest = random_batch([(4, 3), (2, 1)], 5, 0)
    logits_BTUV = logits_BTUV.float().requires_grad_()
    loss_B = transducer_loss(logits_BTUV, *rest, blank_id=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed_B = transducer_loss(logits_BTUV, *rest, blank_id=0)
    assert torch.equal(mixed_B, loss_B)
    assert torch.equal(gradient_of(mixed_B, logits_BTUV), gradient_of(loss_B, logits_BTUV))


def test_views_of_a_larger_tensor_work_like_copies():
    logits_BTUV, *rest = random_batch([(4, 3), (2, 1)], 5, 0)
    scattered_BTUV = logits_BTUV.permute(3, 1, 0, 2).contiguous().permute(2, 1, 3, 0)
    losses = [
        transducer_loss(x.requires_grad_(), *rest, blank_id=0)
        for x in (logits_BTUV, scattered_BTUV)
    ]
    torch.testing.assert_close(*losses, **EXACT)
    gradients = [gradient_of(losses[0], logits_BTUV), gradient_of(losses[1], scattered_BTUV)]
    torch.testing.assert_close(*gradients, **EXACT)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits_BTUV": torch.zeros(2, 4, 3)}, "must be .B, T, U"),
        ({"logits_BTUV": torch.zeros(2, 3, 3, 5)}, r"at least \(2, 4, 3\)"),
        ({"logits_BTUV": torch.zeros(2, 4, 2, 5)}, r"at least \(2, 4, 3\)"),
        ({"logits_BTUV": torch.zeros(3, 4, 3, 5)}, r"at least \(2, 4, 3\)"),
        ({"label_penalty_BTU": torch.zeros(2, 4, 1)}, r"penalties must be at least \(2, 4, 2\)"),
        ({"lattice": "jax"}, "got 'jax'"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    arguments = {
        "logits_BTUV": torch.zeros(2, 4, 3, 5),
        "targets_BU": torch.tensor([[1, 2], [3, 0]]),
        "frame_lengths_B": torch.tensor([4, 2]),
        "target_lengths_B": torch.tensor([2, 1]),
        "blank_id": 0,
    }
    transducer_loss(**arguments)
    with pytest.raises(ConfigError, match=message):
        transducer_loss(**(arguments | change))


@pytest.mark.parametrize("shape", [(10, 5), (12, 5), (1, 11, 5)])
def test_packed_logits_of_another_size_are_refused(shape):
    rest = (torch.tensor([[1, 2], [3, 0]]), torch.tensor([3, 1]), torch.tensor([2, 1]))
    packed_transducer_loss(torch.zeros(11, 5), *rest, blank_id=0)
    with pytest.raises(ConfigError, match="Packed logits must"):
        packed_transducer_loss(torch.zeros(shape), *rest, blank_id=0)


WITHOUT_NUMBA = """
import sys
sys.modules["numba"] = None
import torch
from evenear.losses import transducer_loss
loss = transducer_loss(
    torch.zeros(1, 2, 2, 4, requires_grad=True),
    torch.tensor([[1]]), torch.tensor([2]), torch.tensor([1]), blank_id=0,
)
loss.sum().backward()
print(float(loss))
assert "evenear.losses.transducer.compiled" not in sys.modules
"""


def test_the_loss_needs_no_numba():
    run = subprocess.run([sys.executable, "-c", WITHOUT_NUMBA], capture_output=True, check=True)
    two_paths_of_three_arcs = 3 * torch.tensor(4.0).log() - torch.tensor(2.0).log()
    assert float(run.stdout) == pytest.approx(float(two_paths_of_three_arcs), abs=1e-6)


EXTRA_MEMORY = """
import sys, torch
from evenear.losses import transducer_loss

def peak():
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024

def step(frames):
    logits = torch.zeros(16, frames, 41, 128).uniform_().requires_grad_()
    before = peak()
    rest = (torch.ones(16, 40, dtype=torch.int64), torch.full((16,), frames), torch.full((16,), 40))
    transducer_loss(logits, *rest, blank_id=0, lattice=sys.argv[1]).sum().backward()
    return (peak() - before) / logits.nbytes

step(2)
print(step(100))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
@pytest.mark.parametrize("lattice", LATTICES)
def test_loss_and_gradient_need_little_more_memory_than_the_gradient_itself(lattice):
    command = [sys.executable, "-c", EXTRA_MEMORY, lattice]
    run = subprocess.run(command, capture_output=True, check=True)
    assert 0.9 < float(run.stdout) < 1.25
