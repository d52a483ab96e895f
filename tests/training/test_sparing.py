# SPDX-License-Identifier: Apache-2.0
"""A speech gate learns from what a recognizer says, and its plans cost what streams spend."""

import copy

import pytest
import torch
from torch import nn

from evenear.config import replace
from evenear.encoders.gated.encoder import GatedTransformer
from evenear.encoders.gated.speech import Plan, SpeechGate, SpeechGateConfig
from evenear.errors import ConfigError
from evenear.models.transducer import Transducer
from evenear.training.sparing import (
    Listened,
    learn_speech,
    listen,
    measured_plans,
    set_silence,
    set_threshold,
)
from laws import random_features, tiny_transducer


def with_heads(**heads) -> Transducer:
    """A tiny recognizer with fresh heads, in evaluation mode."""
    tiny = tiny_transducer("gated-sparing")
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(0)
        model = Transducer(replace(tiny.config, **heads))
    model.load_state_dict(tiny.state_dict(), strict=False)
    return model.eval()


def made_up(seed: int, num_frames: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    """Features that are loud where something is said, and whether it is, frame by frame."""
    rng = torch.Generator().manual_seed(seed)
    said_BK = (torch.rand(4, num_frames // 20, generator=rng) < 0.5).repeat_interleave(5, dim=1)
    features_BTF = torch.randn(4, num_frames, 6, generator=rng)
    return features_BTF + 2.0 * said_BK.repeat_interleave(4, dim=1)[:, :, None], said_BK.float()


def listened(seed: int) -> Listened:
    features_BTF, said_BK = made_up(seed)
    real_BK = torch.ones_like(said_BK, dtype=torch.bool)
    return Listened(features_BTF, said_BK, real_BK, torch.zeros(3), 0)


def fresh_gate() -> SpeechGate:
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(0)
        return SpeechGate(SpeechGateConfig(hidden_dim=8), feature_dim=6, stride=4, dim=3)


def test_a_gate_learns_what_is_planted():
    gate, losses = fresh_gate(), []
    batches = [listened(seed) for seed in range(6)]
    learn_speech(gate, batches, num_updates=150, report=lambda _, loss: losses.append(loss))
    assert losses[-1] < 0.2 < losses[0]
    skipped = set_threshold(gate, [listened(99)], block=5, missed=0.01)
    assert skipped > 0.9


@pytest.mark.parametrize("missed", [0.0, 0.1, 0.5])
def test_the_threshold_loses_what_it_may_lose(missed):
    gate = fresh_gate()
    held = listened(7)
    set_threshold(gate, [held], block=5, missed=missed)
    logits_BK, _ = gate.step(held.features_BTF, gate.initial_state(4))
    loudest_BT = logits_BK.unflatten(1, (-1, 5)).amax(dim=2)
    said_BT = held.said_BK.unflatten(1, (-1, 5)).amax(dim=2) > 0.5
    lost = float((loudest_BT[said_BT] <= gate.threshold).float().mean())
    assert lost == pytest.approx(missed, abs=0.05)


@torch.no_grad()
def test_what_is_said_is_told_by_the_head_for_phones_and_reaches_to_its_neighbours():
    model = with_heads(phones=3, phone_steps=2)
    assert isinstance(model.phones, nn.Linear)
    model.phones.bias.zero_()
    model.phones.weight.normal_(generator=torch.Generator().manual_seed(1))
    features_BTF, lengths_B = random_features(40, batch_size=2), torch.tensor([40, 22])
    found = listen(model, features_BTF, lengths_B)
    encoder = model.encoder
    assert isinstance(encoder, GatedTransformer)
    encoded_1KD = encoder.backbone.encode_unbounded(
        model.normalize(features_BTF[1:, :22]), torch.ones(1, 22, dtype=torch.bool)
    )
    logits = model.phone_logits(model.joiner.encoder_proj(encoded_1KD))[0].unflatten(0, (-1, 2))
    each_K = 1 - logits.softmax(dim=2)[:, :, 0].amin(dim=1)
    expected = [float(each_K[max(0, k - 2) : k + 3].max()) for k in range(6)]
    assert found.said_BK[1, :6].tolist() == pytest.approx(expected, abs=1e-5)
    assert found.real_BK.sum(dim=1).tolist() == [10, 6]


@torch.no_grad()
def test_silence_is_the_mean_of_what_surely_says_nothing():
    model = with_heads(ctc=True)
    assert model.ctc is not None
    model.ctc.weight.zero_()
    model.ctc.bias.zero_()
    model.ctc.bias[model.blank_id] = 20.0
    gate = model.encoder.speech
    assert isinstance(gate, SpeechGate)
    features_BTF = random_features(24, batch_size=2)
    heard = listen(model, features_BTF, torch.tensor([24, 24]))
    set_silence(gate, [heard])
    encoded_BKD = model.encoder.backbone.encode_unbounded(
        model.normalize(features_BTF), torch.ones(2, 24, dtype=torch.bool)
    )
    torch.testing.assert_close(gate.silence_D, encoded_BKD.mean(dim=(0, 1)), atol=1e-5, rtol=1e-4)
    model.ctc.bias[model.blank_id] = -20.0
    with pytest.raises(ConfigError, match="no silence"):
        set_silence(gate, [listen(model, features_BTF, torch.tensor([24, 24]))])


def test_models_that_say_nothing_frame_by_frame_teach_nothing():
    with pytest.raises(ConfigError, match="neither"):
        listen(tiny_transducer("gated-sparing"), random_features(16), torch.tensor([16]))
    with pytest.raises(ConfigError, match="Transformer"):
        listen(tiny_transducer("lstm"), random_features(16), torch.tensor([16]))


def test_plans_cost_less_with_longer_windows_and_closed_gates():
    model = copy.deepcopy(tiny_transducer("gated-sparing"))
    sounds = [random_features(8 * 30, seed=seed)[0] for seed in range(3)]
    ways = ((8, 1.0), (24, 1.0), (24, 0.3))
    plans = measured_plans(model, sounds, right_frames=8, ways=ways)
    assert [plan[1:] for plan in plans] == list(ways)
    shares = [plan.share for plan in plans]
    assert 1 > shares[0] > shares[1] > shares[2] > 0
    assert isinstance(plans[0], Plan)
