# SPDX-License-Identifier: Apache-2.0
"""Silence is cut off and speech is not; two utterances become one with a pause between."""

import numpy as np

from evenear.data.batching.joining import Spoken, joined, trimmed
from evenear.seeding import rng_for


def spoken(before: int, words: int, after: int, *, text: str = "ONE", clean: bool = True) -> Spoken:
    """Frames of loud speech between frames of near silence, numbered by their first bin."""
    loud_T = np.r_[np.zeros(before), np.full(words, 9.0), np.zeros(after)]
    frames_TM = np.stack([loud_T + 0.01 * np.arange(len(loud_T)), loud_T], axis=1)
    frames_TM = frames_TM.astype(np.float32)
    return Spoken(frames_TM + 1.0, frames_TM if clean else None, text)


def test_all_speech_stays_and_little_silence():
    for seed in range(20):
        cut = trimmed(spoken(40, 30, 50), rng_for(seed, "cut"))
        assert int((cut.frames_TM[:, 1] > 5).sum()) == 30
        assert 30 + 4 <= len(cut.frames_TM) <= 30 + 12
        assert cut.clean_TM is not None
        assert np.array_equal(cut.frames_TM, cut.clean_TM + 1.0)


def test_what_has_no_silence_or_no_frames_stays_whole():
    full = spoken(0, 30, 0)
    assert len(trimmed(full, rng_for(0, "cut")).frames_TM) >= 20
    none = Spoken(np.zeros((0, 2), np.float32), None, "")
    assert len(trimmed(none, rng_for(0, "cut")).frames_TM) == 0


def test_two_utterances_are_said_one_after_the_other():
    first, second = spoken(5, 10, 5), spoken(3, 7, 2, text="TWO")
    lengths = set()
    for seed in range(20):
        both = joined(first, second, rng_for(seed, "pause"))
        assert both.text == "ONE TWO"
        assert np.array_equal(both.frames_TM[:20], first.frames_TM)
        assert np.array_equal(both.frames_TM[-12:], second.frames_TM)
        pause_TM = both.frames_TM[20:-12]
        assert not len(pause_TM) or pause_TM[:, 1].max() < 5  # of the quietest frames
        assert both.clean_TM is not None
        assert np.array_equal(both.frames_TM, both.clean_TM + 1.0)
        lengths.add(len(pause_TM))
    assert max(lengths) <= 100
    assert len(lengths) > 10


def test_without_clean_frames_there_are_none_afterwards():
    plain = spoken(5, 10, 5, clean=False)
    assert joined(plain, plain, rng_for(0, "pause")).clean_TM is None
    assert trimmed(plain, rng_for(0, "cut")).clean_TM is None
