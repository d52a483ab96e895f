# SPDX-License-Identifier: Apache-2.0
"""Nothing of a block is known before its end, and nothing lies behind the end of the sound."""

import math

import pytest

from evenear.features import FeatureConfig
from evenear.search import Hypothesis
from evenear.streaming.moments import Moments, words_of
from evenear.units import FrameClock
from laws import tiny_tokenizer

CLOCK = FeatureConfig().clock  # 30 ms
TOKENIZER = tiny_tokenizer()


def test_frames_of_a_block_become_known_together():
    moments = Moments(CLOCK, 4)
    assert [round(moments.known(n), 2) for n in (0, 1, 4, 5, 8)] == [0.0, 0.12, 0.12, 0.24, 0.24]
    assert moments.at(5) == pytest.approx(0.15)


def test_without_blocks_a_frame_is_known_at_its_end():
    assert Moments(CLOCK).known(7) == pytest.approx(0.21)


def test_where_blocks_wait_all_is_known_now_and_taken_in_the_order_of_the_sound():
    moments = Moments(CLOCK, 4, heard_frames=20)
    assert moments.known(3) == moments.known(17) == pytest.approx(0.6)
    assert moments.order(3) == pytest.approx(0.09)
    assert (moments.told(0.2), moments.told(0.7)) == (pytest.approx(0.6), 0.7)
    plain = Moments(CLOCK, 4)
    assert (plain.order(3), plain.told(0.2)) == (plain.known(3), 0.2)


def test_no_moment_is_behind_the_end_of_the_sound():
    moments = Moments(CLOCK, 4, end_seconds=0.2)
    assert moments.known(30) == moments.at(30) == 0.2
    tokens = tuple(TOKENIZER.encode("THE CAT"))
    frames = (1,) * (len(tokens) - 1) + (20,)
    reading = Hypothesis(tokens, frames, (-0.1,) * len(tokens), -1.0)
    words = moments.words(reading, TOKENIZER)
    assert " ".join(word.text for word in words) == "THE CAT"
    assert words[-1].end_seconds == 0.2
    assert all(0 <= word.start_seconds <= word.end_seconds for word in words)


def test_words_have_the_times_and_the_confidence_of_their_tokens():
    tokenizer = TOKENIZER
    tokens = (*tokenizer.encode("MOON"), *tokenizer.encode("A"))
    count = len(tokens) - 1
    assert count > 1
    frames = (*range(3, 3 + count), 20)
    log_probs = (*(-0.1 * k for k in range(count)), -0.7)
    moon, a = words_of(
        Hypothesis(tokens, frames, log_probs, -9.0), tokenizer, FrameClock(stride=10)
    )
    assert (moon.text, a.text) == ("MOON", "A")
    assert (moon.start_seconds, moon.end_seconds) == pytest.approx((0.3, (3 + count) / 10))
    assert (a.start_seconds, a.end_seconds) == pytest.approx((2.0, 2.1))
    assert moon.confidence == pytest.approx(math.exp(sum(log_probs[:-1]) / count))
    assert a.confidence == pytest.approx(math.exp(-0.7))
