# SPDX-License-Identifier: Apache-2.0
"""A recognizer's encoder makes frames at its own pace; one that hears blocks is refused."""

import pytest

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
