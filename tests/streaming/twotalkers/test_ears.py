# SPDX-License-Identifier: Apache-2.0
"""Both channels are heard with right context as one recognizer of single talkers would hear each.

Dimensions: T frames, F feature width, S channels, D joiner width.
"""

import functools

import pytest
import torch

from evenear.config import replace
from evenear.encoders.rightcontext import RightContext
from evenear.models.activity import ActivityConfig
from evenear.models.twotalkers import SeparatorTransducer
from evenear.streaming.twotalkers.ears import BothEars
from laws import ENCODERS, random_features
from models.test_separator import MODELS

GATED = MODELS["gated, three frames together"]


@functools.cache
def model(*, decides: bool) -> SeparatorTransducer:
    encoder = ENCODERS["transformer"]
    encoder = replace(encoder, right_frames=encoder.block_frames)
    activity = ActivityConfig(switch_cost=0.1, odd_cost=0.1) if decides else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return SeparatorTransducer(
            replace(
                GATED,
                separator=replace(GATED.separator, activity=activity),
                transducer=replace(GATED.transducer, encoder=encoder),
            )
        ).eval()


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.no_grad():
        yield


def settled(decides: bool, features_TF: torch.Tensor, lengths: list[int]) -> torch.Tensor:
    ears = BothEars(model(decides=decides))
    state, parts, start = ears.initial_state(), [], 0
    for length in lengths:
        heard = ears.step(features_TF[start : start + length], state)
        state, start = heard.state, start + length
        parts.append(heard.settled_STD)
    parts.append(ears.finish(features_TF[start:], state).settled_STD)
    return torch.cat(parts, dim=1)


@pytest.mark.parametrize("decides", [False, True])
@pytest.mark.parametrize("lengths", [[40, 3, 90, 1], [1] * 60, [0, 170]])
def test_chunks_change_nothing(decides, lengths):
    features_TF = random_features(171)[0]
    whole_STD = settled(decides, features_TF, [])
    torch.testing.assert_close(settled(decides, features_TF, lengths), whole_STD, atol=1e-4, rtol=0)


@pytest.mark.parametrize("decides", [False, True])
def test_each_channel_is_heard_as_the_recognizer_hears_with_right_context(decides):
    one, features_BTF = model(decides=decides), random_features(171)
    separated = one.separate(features_BTF, torch.tensor([171]))
    right = RightContext(one.transducer.encoder, one.transducer.encoder.right_frames)
    expected_STD, _ = right.finish(separated.channels_STD, right.initial_state(2))
    heard_STD = settled(decides, features_BTF[0], [50, 50])
    expected_STD = one.transducer.joiner.encoder_proj(expected_STD)
    torch.testing.assert_close(heard_STD, expected_STD, atol=1e-4, rtol=0)


def test_who_speaks_is_told_where_it_is_decided():
    features_TF = random_features(60)[0]
    silent, deciding = BothEars(model(decides=False)), BothEars(model(decides=True))
    assert silent.step(features_TF, silent.initial_state()).active_CG is None
    heard = deciding.step(features_TF, deciding.initial_state())
    joined, ahead = GATED.separator.joined, ActivityConfig().ahead_groups
    assert heard.active_CG is not None
    assert heard.active_CG.shape == (2, len(features_TF) // joined - ahead)
    assert deciding.late_frames > silent.late_frames
