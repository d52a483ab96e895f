# SPDX-License-Identifier: Apache-2.0
"""Silence is counted from the last voice, the same in any chunks."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings

from evenear.streaming.silence import SilenceDetector
from laws import chunkings, random_sound
from tiny_detector import tiny_detector


def heard(detector: SilenceDetector, sound_N: np.ndarray, chunks: list[int]) -> list:
    stream = detector.stream()
    parts = np.split(sound_N, np.cumsum(chunks)[:-1])
    return [silence for part in parts for silence in stream.accept(part)]


@settings(deadline=None, max_examples=20, derandomize=True)
@given(chunks=chunkings(32_000))
def test_chunks_change_no_bit(chunks):
    detector, sound_N = SilenceDetector(tiny_detector()), random_sound(2.0)
    assert heard(detector, sound_N, chunks) == heard(detector, sound_N, [len(sound_N)])


def test_silence_grows_by_a_frame_and_ends_with_voice():
    found = heard(SilenceDetector(tiny_detector()), random_sound(4.0), [64_000])
    assert [one.seconds for one in found] == pytest.approx(
        [0.02 * (n + 1) for n in range(len(found))]
    )
    assert len(found) in (199, 200)
    quiet = [0.0, *(one.quiet_seconds for one in found)]
    for before, after in itertools.pairwise(quiet):
        assert after == 0.0 or after == pytest.approx(before + 0.02)
    assert 0 < sum(one.quiet_seconds == 0 for one in found) < len(found)
    assert all(0 <= one.is_over <= 1 for one in found)


def test_a_moment_was_heard_when_it_is_told():
    stream, sound_N, total = SilenceDetector(tiny_detector()).stream(), random_sound(1.0), 0
    for start in range(0, len(sound_N), 80):
        total += len(sound_N[start : start + 80])
        for silence in stream.accept(sound_N[start : start + 80]):
            assert 0 < total / 16_000 - silence.seconds < 0.01
