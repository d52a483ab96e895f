# SPDX-License-Identifier: Apache-2.0
"""Each term of the loss is what its name says, channel by channel.

Dimensions: B mixtures, S channels of all mixtures, T frames, U tokens, V vocabulary.
"""

import copy
import functools

import pytest
import torch

from data.conversations.test_batches import maker
from evenear.config import replace
from evenear.data.conversations.batches import MixtureBatch
from evenear.errors import ConfigError
from evenear.losses.transducer.loss import transducer_loss
from evenear.models.twotalkers import SeparatorTransducer
from evenear.training.twotalkers import TwoTalkerObjective, two_talker_losses
from laws import tiny_tokenizer
from models.test_separator import MODELS, SHARES

ALONE = TwoTalkerObjective(ctc_weight=0.0, phone_weight=0.0)
EOT = tiny_tokenizer().eot_id


@functools.cache
def model(name: str = "gated, before a whole transducer") -> SeparatorTransducer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = MODELS[name]
        heads = replace(config.transducer, ctc=True, phones=3)
        return SeparatorTransducer(replace(config, transducer=heads)).eval()


@functools.cache
def batch() -> MixtureBatch:
    return maker().batch(["0-0", "0-1", "0-2"], 0)


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.no_grad():
        yield


def one_by_one(channel: int, reference: int, **more) -> torch.Tensor:
    """Transducer losses (B,) of one channel against the references of another."""
    made, size = batch(), len(batch().lengths_B)
    encoded = model().encode(made.features_BTF, made.lengths_B)
    part, rows = (
        slice(channel * size, (channel + 1) * size),
        slice(reference * size, (reference + 1) * size),
    )
    transducer = model().transducer
    projected_BTD = transducer.joiner.encoder_proj(encoded.encoded_BTD[part])
    predicted_BUD = transducer.predict(made.targets_SU[rows])
    logits_BTUV = transducer.joiner(projected_BTD[:, :, None], predicted_BUD[:, None])
    return transducer_loss(
        logits_BTUV,
        made.targets_SU[rows],
        encoded.lengths_B[part],
        made.target_lengths_S[rows],
        blank_id=model().blank_id,
        **more,
    )


def test_in_fixed_order_each_channel_says_its_own_reference():
    terms = two_talker_losses(model(), batch(), ALONE, eot_id=EOT)
    assert set(terms) == {"transducer"}
    expected_B = one_by_one(0, 0) + one_by_one(1, 1)
    torch.testing.assert_close(terms["transducer"], expected_B, atol=1e-3, rtol=1e-4)


def test_the_best_order_is_the_better_of_the_two():
    settings = replace(ALONE, assignment="best")
    terms = two_talker_losses(model(), batch(), settings, eot_id=EOT)
    straight_B = one_by_one(0, 0) + one_by_one(1, 1)
    crossed_B = one_by_one(0, 1) + one_by_one(1, 0)
    expected_B = torch.minimum(straight_B, crossed_B)
    torch.testing.assert_close(terms["transducer"], expected_B, atol=1e-3, rtol=1e-4)


def test_late_ends_of_turns_cost_more():
    plain = two_talker_losses(model(), batch(), ALONE, eot_id=EOT)["transducer"]
    settings = replace(ALONE, late_end_weight=1.0, late_end_buffer_frames=2)
    late = two_talker_losses(model(), batch(), settings, eot_id=EOT)["transducer"]
    assert (late >= plain - 1e-4).all()
    assert (late > plain + 1e-3).any()


def test_masking_is_over_silent_frames_of_both_channels():
    settings = replace(ALONE, masking_weight=0.5)
    terms = two_talker_losses(model(), batch(), settings, eot_id=EOT)
    encoded = model().encode(batch().features_BTF, batch().lengths_B).encoded_BTD
    expected = []
    for b in range(3):
        total = 0.0
        for row in (b, 3 + b):
            silent = batch().silent_ST[row][: encoded.shape[1]]
            total += encoded[row, : len(silent)][silent].square().mean().item()
        expected.append(total)
    assert terms["masking"].tolist() == pytest.approx(expected, rel=1e-4)


def test_separation_is_nothing_for_channels_that_hand_on_their_own_sound():
    settings = replace(ALONE, transducer_weight=0.0, separation_weight=1.0, floor=-50.0)
    mixed = two_talker_losses(model(), batch(), settings, eot_id=EOT)
    assert set(mixed) == {"separation"}
    assert (mixed["separation"] > 0.05).all()
    doubled = batch()._replace(sources_STF=batch().features_BTF.repeat(2, 1, 1))
    open_gates = SeparatorTransducer(model().config).eval()
    for gate in open_gates.separator.gates:
        gate.weight.zero_()
        gate.bias.fill_(60.0)
    terms = two_talker_losses(open_gates, doubled, settings, eot_id=EOT)
    assert terms["separation"].max() < 1e-4


def test_separation_in_the_best_order_does_not_care_which_source_is_first():
    settings = replace(ALONE, transducer_weight=0.0, separation_weight=1.0, assignment="best")
    swapped = batch()._replace(sources_STF=batch().sources_STF.roll(3, dims=0))
    first = two_talker_losses(model(), batch(), settings, eot_id=EOT)["separation"]
    second = two_talker_losses(model(), swapped, settings, eot_id=EOT)["separation"]
    torch.testing.assert_close(first, second)


def test_what_is_below_the_floor_is_equal():
    settings = replace(ALONE, transducer_weight=0.0, separation_weight=1.0, floor=50.0)
    terms = two_talker_losses(model(), batch(), settings, eot_id=EOT)
    assert terms["separation"].max() == 0.0


def test_hearing_is_nothing_for_channels_that_hand_on_their_own_sound():
    settings = replace(ALONE, transducer_weight=0.0, hearing_weight=1.0)
    assert not settings.learns_text
    mixed = two_talker_losses(model(), batch(), settings, eot_id=EOT)
    assert set(mixed) == {"hearing"}
    assert (mixed["hearing"] > 1e-4).all()
    doubled = batch()._replace(sources_STF=batch().features_BTF.repeat(2, 1, 1))
    open_gates = SeparatorTransducer(model().config).eval()
    open_gates.load_state_dict(model().state_dict())
    for gate in open_gates.separator.gates:
        gate.weight.data.zero_()
        gate.bias.data.fill_(60.0)
    terms = two_talker_losses(open_gates, doubled, settings, eot_id=EOT)
    assert terms["hearing"].max() < 1e-6


def test_hearing_moves_the_separator_and_takes_its_target_as_given():
    settings = replace(ALONE, transducer_weight=0.0, hearing_weight=1.0)
    moving = copy.deepcopy(model())
    moving.transducer.requires_grad_(False)
    with torch.enable_grad():
        two_talker_losses(moving, batch(), settings, eot_id=EOT)["hearing"].sum().backward()
    assert all(p.grad is None for p in moving.transducer.parameters())
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in moving.separator.parameters())


def test_auxiliary_losses_are_given_where_the_model_has_their_heads():
    settings = replace(ALONE, ctc_weight=0.3, phone_weight=0.3)
    terms = two_talker_losses(model(), batch(), settings, eot_id=EOT)
    assert set(terms) == {"transducer", "ctc", "phones"}
    assert terms["phones"].tolist() == [0.0] * 3  # no dictionary, no phones
    assert (terms["ctc"] > 0).all()


def test_all_terms_have_a_gradient():
    settings = TwoTalkerObjective(
        masking_weight=0.1, separation_weight=1.0, fastemit=0.01, late_end_weight=1.0
    )
    with torch.enable_grad():
        terms = two_talker_losses(model(), batch(), settings, eot_id=EOT)
        for name, term_B in terms.items():
            if name == "phones":
                continue
            gradient = torch.autograd.grad(
                term_B.sum(), model().separator.floor_F, retain_graph=True
            )
            assert torch.isfinite(gradient[0]).all()
            assert gradient[0].abs().max() > 0, name


def test_an_unknown_order_is_refused():
    with pytest.raises(ValueError, match="assignment"):
        TwoTalkerObjective(assignment="random")


def test_activity_is_the_cross_entropy_of_who_speaks():
    name = "deciding who speaks, two groups ahead"
    settings = replace(ALONE, transducer_weight=0.0, activity_weight=1.0)
    made, one = batch(), model(name)
    (activity_B,) = two_talker_losses(one, made, settings, eot_id=EOT).values()
    separated = one.separate(made.features_BTF, made.lengths_B)
    joined, size = one.separator.config.joined, len(made.lengths_B)
    for b, length in enumerate(made.lengths_B.tolist()):
        total, groups = 0.0, range(0, length, joined)
        for g, start in enumerate(groups):
            frames = [
                any(
                    not bool(made.silent_ST[c * size + b, t // one.stride])
                    for t in range(start, min(start + joined, length))
                )
                for c in range(2)
            ]
            state = frames[0] + 2 * frames[1]
            total -= float(separated.talk_BGA[b, g].log_softmax(dim=0)[state])
        assert float(activity_B[b]) == pytest.approx(total / len(groups), rel=1e-4)


def test_separation_counts_more_where_both_speak():
    name = "deciding who speaks, at once"
    plain = replace(ALONE, transducer_weight=0.0, separation_weight=1.0, floor=-50.0)
    terms = [
        two_talker_losses(model(name), batch(), settings, eot_id=EOT)["separation"]
        for settings in (
            plain,
            replace(plain, overlap_factor=3.0),
            replace(plain, overlap_factor=5.0),
        )
    ]
    torch.testing.assert_close(terms[2] - terms[1], terms[1] - terms[0])
    assert (terms[1] > terms[0]).any()


def test_activity_without_a_head_is_refused():
    settings = replace(ALONE, transducer_weight=0.0, activity_weight=1.0)
    with pytest.raises(ConfigError, match="decides who speaks"):
        two_talker_losses(model(), batch(), settings, eot_id=EOT)


def test_shares_are_learned_from_the_energies_of_the_sources():
    """A cross entropy, loud bins first and overlapped frames most; least at the true shares."""
    sharing, made = model(SHARES), batch()
    sharing.separator.nat_F.fill_(1.0)
    own = replace(
        ALONE, transducer_weight=0.0, separation_weight=1.0, overlap_factor=4.0, floor=-30.0
    )
    mixture_BTF = sharing.normalize(made.features_BTF)
    parts_STF = (sharing.normalize(made.sources_STF) - mixture_BTF.repeat(2, 1, 1)).exp()
    sums_BTF = (parts_STF[:3] + parts_STF[3:]).clamp(min=1.0)
    true_STF = parts_STF / sums_BTF.repeat(2, 1, 1)
    found = two_talker_losses(sharing, made, own, eot_id=EOT)["separation"]
    gates_STF = sharing.separate(made.features_BTF, made.lengths_B).gates_STF
    loud_BTF = (mixture_BTF + 30.0).clamp(0.0, 2.0)
    frames = made.features_BTF.shape[1]
    silent_ST = made.silent_ST.repeat_interleave(sharing.stride, dim=1)[:, :frames]
    inside_BT = torch.arange(frames) < made.lengths_B[:, None]
    both_BT = ~silent_ST[:3] & ~silent_ST[3:] & inside_BT
    weights_BT = torch.where(both_BT, 4.0, inside_BT.float())

    def entropy(given_STF):
        wrong_STF = -(true_STF * given_STF.log() + (1 - true_STF) * (1 - given_STF).log())
        by_frame_ST = (wrong_STF.nan_to_num(0.0) * loud_BTF.repeat(2, 1, 1)).mean(dim=2)
        by_row_S = (by_frame_ST * weights_BT.repeat(2, 1)).sum(dim=1) / weights_BT.sum(1).repeat(2)
        return by_row_S[:3] + by_row_S[3:]

    torch.testing.assert_close(found, entropy(gates_STF), atol=1e-4, rtol=1e-4)
    assert (entropy(true_STF.clamp(1e-6, 1 - 1e-6)) <= found).all()
