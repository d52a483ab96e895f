# SPDX-License-Identifier: Apache-2.0
"""A recognizer's encoder makes frames at its own pace; one that hears blocks is refused.

Dimensions: T frames, S channels, D width.
"""

import pytest
import torch

from evenear.checkpoint import load_model
from evenear.errors import ConfigError
from evenear.reproduction.segmenting.listening import EncoderFrames
from laws import random_sound


def test_frames_are_as_wide_and_as_many_as_the_clock_says():
    hears = EncoderFrames("evenear-en-small")
    sound_N = random_sound(1.2, seed=2)
    frames_TD = hears(sound_N)
    assert frames_TD.shape == (20, hears.config.dim)
    assert hears.config.clock.frame_seconds == pytest.approx(0.06)
    assert hears(sound_N[: len(sound_N) // 2]).shape[0] == 10


def test_what_hears_blocks_is_refused():
    with pytest.raises(ConfigError, match="frame by frame"):
        EncoderFrames("evenear-en")


def test_both_channels_say_at_first_what_the_recognizer_would():
    hears = EncoderFrames("evenear-en-small")
    model, bundle = hears.begun(turns="start-and-end").eval(), load_model("evenear-en-small")
    frames_TD = torch.from_numpy(hears(random_sound(1.2, seed=2)))
    for gate in model.separator.gates:
        torch.nn.init.constant_(gate.bias, 30.0)
        torch.nn.init.zeros_(gate.weight)
    with torch.no_grad():
        both_STD, _ = model.step(frames_TD[None], model.initial_state(1))
    expected_TD = bundle.model.joiner.encoder_proj(frames_TD)
    for channel_TD in both_STD:
        torch.testing.assert_close(channel_TD, expected_TD, atol=1e-4, rtol=1e-4)
