# SPDX-License-Identifier: Apache-2.0
"""The simple loss against the full one, windows against all others, pruned against walked paths.

Dimensions: B utterances, T frames, U tokens (a lattice has U + 1 columns), S columns of a window,
D width, V vocabulary.
"""

import itertools

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from evenear.errors import ConfigError
from evenear.losses.transducer.loss import transducer_loss
from evenear.losses.transducer.pruned import (
    prune_ranges,
    pruned_transducer_loss,
    simple_transducer_loss,
    window,
)
from evenear.seeding import torch_rng_for
from losses.alignments import LATTICES, arcs_of, gradient_of, random_batch, walked_loss

EXACT = {"rtol": 0, "atol": 1e-10}
SIZES = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 5)), min_size=1, max_size=3)


def random_outputs(sizes, vocabulary, blank_id, seed=0, spread=2.0):
    """Encoder and predictor outputs, targets and lengths."""
    logits_BTUV, *rest = random_batch(sizes, vocabulary, blank_id, seed=seed)
    rng = torch_rng_for(seed, "pruned-test", sizes)
    predicted_BUV = torch.randn(logits_BTUV[:, 0].shape, generator=rng, dtype=torch.float64)
    return logits_BTUV[:, :, 0] / 2 * spread, predicted_BUV * spread, *rest


def windows_of(logits_BTUV, starts_BT, num_columns):
    """The logits that a joiner would compute in the windows; random where it would compute junk."""
    columns_BTS = starts_BT[:, :, None] + torch.arange(num_columns)
    columns_BTS = columns_BTS.clamp(max=logits_BTUV.shape[2] - 1)
    index_BTSV = columns_BTS[..., None].expand(-1, -1, -1, logits_BTUV.shape[-1])
    return logits_BTUV[:, : starts_BT.shape[1]].gather(2, index_BTSV)


@pytest.mark.parametrize("lattice", LATTICES)
@settings(deadline=None, max_examples=25)
@given(sizes=SIZES, blank_id=st.integers(0, 4), seed=st.integers(0, 1000))
def test_the_simple_loss_is_the_full_loss_of_added_outputs(lattice, sizes, blank_id, seed):
    encoded_BTV, predicted_BUV, *rest = random_outputs(sizes, 5, blank_id, seed)
    outputs = (encoded_BTV.requires_grad_(), predicted_BUV.requires_grad_())
    simple = simple_transducer_loss(*outputs, *rest, blank_id=blank_id, lattice=lattice)
    logits_BTUV = outputs[0][:, :, None] + outputs[1][:, None]
    loss_B = transducer_loss(logits_BTUV, *rest, blank_id=blank_id, lattice=lattice)
    torch.testing.assert_close(simple.loss_B, loss_B, **EXACT)
    torch.testing.assert_close(simple.occupancies.log_prob_B, -loss_B.detach(), **EXACT)
    for values in outputs:
        gradients = [gradient_of(loss, values) for loss in (simple.loss_B, loss_B)]
        torch.testing.assert_close(*gradients, **EXACT)


def test_smoothing_mixes_log_probabilities_of_joint_predictor_and_encoder():
    sizes = [(3, 2), (4, 3), (1, 0)]
    encoded_BTV, predicted_BUV, targets_BU, *lengths = random_outputs(sizes, 5, 1)
    outputs = (encoded_BTV.requires_grad_(), predicted_BUV.requires_grad_())
    options = {"blank_id": 1, "predictor_scale": 0.25, "encoder_scale": 0.1}
    found_B = simple_transducer_loss(*outputs, targets_BU, *lengths, **options).loss_B
    expected = []
    for b, (t, u) in enumerate(sizes):
        encoded_TV, predicted_UV = outputs[0][b, :t], outputs[1][b, : u + 1]
        average_V = predicted_UV.softmax(-1).mean(0).log()
        joint_TUV = (encoded_TV[:, None] + predicted_UV).log_softmax(-1)
        of_encoder_TV = (encoded_TV + average_V).log_softmax(-1)
        mixed_TUV = (
            0.65 * joint_TUV + 0.25 * predicted_UV.log_softmax(-1) + 0.1 * of_encoder_TV[:, None]
        )
        label_TU = mixed_TUV[:, range(u), targets_BU[b, :u]]
        expected.append(walked_loss(mixed_TUV[..., 1], label_TU))
    expected_B = torch.stack(expected)
    torch.testing.assert_close(found_B, expected_B, **EXACT)
    for values in outputs:
        gradients = [gradient_of(loss, values) for loss in (found_B, expected_B)]
        torch.testing.assert_close(*gradients, **EXACT)


def test_outputs_far_apart_do_not_underflow_the_normalizer():
    encoded_BTV, predicted_BUV, *rest = random_outputs([(4, 2)], 3, 0, spread=100.0)
    logits_BTUV = encoded_BTV[:, :, None] + predicted_BUV[:, None]
    expected_B = transducer_loss(logits_BTUV, *rest, blank_id=0)
    found_B = simple_transducer_loss(encoded_BTV, predicted_BUV, *rest, blank_id=0).loss_B
    torch.testing.assert_close(found_B, expected_B, rtol=1e-12, atol=0)
    short = (encoded_BTV.bfloat16().double(), predicted_BUV.bfloat16().double())
    expected_B = simple_transducer_loss(*short, *rest, blank_id=0).loss_B
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found_B = simple_transducer_loss(*(x.bfloat16() for x in short), *rest, blank_id=0).loss_B
    torch.testing.assert_close(found_B, expected_B.float(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("lattice", LATTICES)
@settings(deadline=None, max_examples=25)
@given(sizes=SIZES, num_columns=st.integers(2, 7), seed=st.integers(0, 1000))
def test_a_path_fits_through_the_windows_and_they_stay_in_the_lattice(
    lattice, sizes, num_columns, seed
):
    assume(all(t * (num_columns - 1) >= u for t, u in sizes))
    encoded_BTV, predicted_BUV, *rest = random_outputs(sizes, 5, 0, seed)
    outputs = (encoded_BTV, predicted_BUV)
    occupancies = simple_transducer_loss(*outputs, *rest, blank_id=0, lattice=lattice).occupancies
    starts_BT = prune_ranges(occupancies, *rest[1:], num_columns=num_columns)
    assert starts_BT.dtype == torch.int64
    for starts_T, (t, u) in zip(starts_BT, sizes, strict=True):
        steps_T = starts_T.diff()
        assert int(starts_T[0]) == 0
        assert int(starts_T[t - 1]) == int(starts_T[-1]) == max(u + 1 - num_columns, 0)
        assert bool(((steps_T >= 0) & (steps_T < num_columns)).all())
    logits_BTUV = encoded_BTV[:, :, None] + predicted_BUV[:, None]
    logits_BTSV = windows_of(logits_BTUV, starts_BT, num_columns)
    pruned_B = pruned_transducer_loss(logits_BTSV, starts_BT, *rest, blank_id=0, lattice=lattice)
    assert bool(pruned_B.isfinite().all())


@pytest.mark.parametrize("seed", range(5))
def test_windows_are_the_best_of_all_sequences(seed):
    (frames, tokens), num_columns = (4, 5), 3
    encoded_BTV, predicted_BUV, *rest = random_outputs([(frames, tokens)], 6, 0, seed)
    occupancies = simple_transducer_loss(encoded_BTV, predicted_BUV, *rest, blank_id=0).occupancies
    blank_TU, label_TU = occupancies.blank_BTU[0], occupancies.label_BTU[0]

    def worth(starts):
        inside = [blank_TU[t, p : p + num_columns].sum() for t, p in enumerate(starts)]
        entered = [label_TU[t, p - 1] for t, p in enumerate(starts) if p > 0]
        return float(sum(inside) - sum(entered))

    last = tokens + 1 - num_columns
    possible = [
        starts
        for starts in itertools.product(range(last + 1), repeat=frames)
        if starts[0] == 0
        and starts[-1] == last
        and all(0 <= q - p < num_columns for p, q in itertools.pairwise(starts))
    ]
    assert len(possible) > 5
    found = prune_ranges(occupancies, *rest[1:], num_columns=num_columns)[0].tolist()
    assert tuple(found) == max(possible, key=worth)


@pytest.mark.parametrize("lattice", LATTICES)
@settings(deadline=None, max_examples=25)
@given(sizes=SIZES, more=st.integers(0, 2), seed=st.integers(0, 1000))
def test_windows_of_all_columns_give_exactly_the_full_loss(lattice, sizes, more, seed):
    logits_BTUV, *rest = random_batch(sizes, 5, 3, seed=seed)
    num_columns = max(u for _, u in sizes) + 1 + more
    starts_BT = torch.zeros(logits_BTUV.shape[:2], dtype=torch.int64)
    penalty_BTU = torch.rand(logits_BTUV.shape[:3], dtype=torch.float64)
    options = {"blank_id": 3, "fastemit": 0.2, "label_penalty_BTU": penalty_BTU, "lattice": lattice}
    logits_BTUV.requires_grad_()
    logits_BTSV = windows_of(logits_BTUV, starts_BT, num_columns)
    pruned_B = pruned_transducer_loss(logits_BTSV, starts_BT, *rest, **options)
    full_B = transducer_loss(logits_BTUV, *rest, **options)
    assert torch.equal(pruned_B, full_B)
    gradients = [gradient_of(loss, logits_BTUV) for loss in (pruned_B, full_B)]
    assert torch.equal(*gradients)


@pytest.mark.parametrize("lattice", LATTICES)
def test_the_pruned_loss_sums_exactly_the_paths_inside(lattice):
    sizes = [(4, 3), (3, 3), (2, 1)]
    starts_BT = torch.tensor([[0, 0, 1, 2], [0, 1, 2, 2], [0, 0, 0, 0]])
    logits_BTUV, targets_BU, *lengths = random_batch(sizes, 5, 2)
    logits_BTUV.requires_grad_()
    logits_BTSV = windows_of(logits_BTUV, starts_BT, 2)
    options = {"blank_id": 2, "lattice": lattice}
    pruned_B = pruned_transducer_loss(logits_BTSV, starts_BT, targets_BU, *lengths, **options)
    expected = []
    for b, (blank_TU, label_TU) in enumerate(arcs_of(logits_BTUV, targets_BU, sizes, 2)):
        distance_TU = torch.arange(blank_TU.shape[1]) - starts_BT[b, : len(blank_TU), None]
        outside_TU = (distance_TU < 0) | (distance_TU > 1)
        lost_TU = outside_TU * -1e5
        expected.append(walked_loss(blank_TU + lost_TU, label_TU + lost_TU[:, :-1]))
    expected_B = torch.stack(expected)
    torch.testing.assert_close(pruned_B, expected_B, **EXACT)
    gradients = [gradient_of(loss, logits_BTUV) for loss in (pruned_B, expected_B)]
    torch.testing.assert_close(*gradients, **EXACT)
    full_B = transducer_loss(logits_BTUV, targets_BU, *lengths, **options)
    assert bool((pruned_B >= full_B - 1e-12).all())
    assert bool((pruned_B > full_B)[:2].all())


def test_windows_of_a_trained_joiner_keep_nearly_all_paths():
    """Where the simple joiner is sure of the alignment, pruning costs next to nothing."""
    frames, tokens, vocabulary = 30, 12, 15
    targets_BU = torch.arange(1, tokens + 1)[None]
    encoded_BTV = torch.zeros(1, frames, vocabulary, dtype=torch.float64)
    predicted_BUV = torch.zeros(1, tokens + 1, vocabulary, dtype=torch.float64)
    encoded_BTV[..., 0] = 4.0
    for u in range(tokens):
        encoded_BTV[0, 2 * u + 3, u + 1] = 16.0
        predicted_BUV[0, u + 1 :, u + 1] = -16.0
    rest = (targets_BU, torch.tensor([frames]), torch.tensor([tokens]))
    simple = simple_transducer_loss(encoded_BTV, predicted_BUV, *rest, blank_id=0)
    starts_BT = prune_ranges(simple.occupancies, *rest[1:], num_columns=4)
    logits_BTSV = windows_of(encoded_BTV[:, :, None] + predicted_BUV[:, None], starts_BT, 4)
    pruned_B = pruned_transducer_loss(logits_BTSV, starts_BT, *rest, blank_id=0)
    torch.testing.assert_close(pruned_B, simple.loss_B, rtol=1e-3, atol=0)


def test_a_window_of_the_predictor_is_what_the_joiner_needs():
    predicted_BUD = torch.arange(2 * 4 * 3.0).view(2, 4, 3)
    starts_BT = torch.tensor([[0, 1], [0, 3]])
    predicted_BTSD = window(predicted_BUD, starts_BT, num_columns=2)
    assert torch.equal(predicted_BTSD[0, 1], predicted_BUD[0, 1:3])
    assert torch.equal(predicted_BTSD[1, 1], predicted_BUD[1, [3, 3]])


@pytest.mark.parametrize(
    "starts", [[0, 0, 0, 0], [1, 1, 2, 2], [0, 2, 1, 2], [0, 0, 2, 2], [0, 1, 2, 3], [0, 1, 2]]
)
def test_windows_that_no_path_fits_through_are_refused(starts):
    logits_BTUV, *rest = random_batch([(4, 3)], 5, 0)
    logits_BTSV = logits_BTUV[:, :4, :2]
    good_BT = torch.tensor([[0, 1, 2, 2]])
    assert pruned_transducer_loss(logits_BTSV, good_BT, *rest, blank_id=0).isfinite()
    with pytest.raises(ConfigError, match="Window"):
        pruned_transducer_loss(logits_BTSV, torch.tensor([starts]), *rest, blank_id=0)


def test_windows_too_narrow_for_the_tokens_are_refused():
    outputs = random_outputs([(2, 3)], 5, 0)
    occupancies = simple_transducer_loss(*outputs, blank_id=0).occupancies
    with pytest.raises(ConfigError, match=r"2 windows of 2 columns, .* column 3, got 2"):
        prune_ranges(occupancies, *outputs[3:], num_columns=2)
    with pytest.raises(ConfigError, match="at least 1 column, got 0"):
        prune_ranges(occupancies, *outputs[3:], num_columns=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoded_BTV": torch.zeros(1, 2, 5)}, r"Encoder outputs must be at least \(1, 3, 5\)"),
        ({"predicted_BUV": torch.zeros(1, 2, 5)}, r"Predictor outputs must be at .* \(1, 3, 5\)"),
        ({"predicted_BUV": torch.zeros(1, 3, 6)}, r"Predictor outputs must be at .* \(1, 3, 5\)"),
        ({"predictor_scale": -0.1}, "must not be negative"),
        ({"predictor_scale": 0.6, "encoder_scale": 0.5}, "nor more than 1 together"),
    ],
)
def test_simple_arguments_that_do_not_fit_are_refused(change, message):
    arguments = {
        "encoded_BTV": torch.zeros(1, 3, 5),
        "predicted_BUV": torch.zeros(1, 3, 5),
        "targets_BU": torch.tensor([[1, 2]]),
        "frame_lengths_B": torch.tensor([3]),
        "target_lengths_B": torch.tensor([2]),
        "blank_id": 0,
    }
    simple_transducer_loss(**arguments)
    with pytest.raises(ConfigError, match=message):
        simple_transducer_loss(**(arguments | change))
