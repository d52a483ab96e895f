# SPDX-License-Identifier: Apache-2.0
"""Turns begin and end where the tokens say, and words get the times of their tokens."""

import math

import pytest

from evenear.search import Hypothesis
from evenear.streaming import Final, Partial, TurnConfig, TurnEnded, TurnStarted
from evenear.streaming.turns import TurnTracker, words_of
from evenear.units import FrameClock
from laws import tiny_tokenizer

CLOCK = FrameClock(stride=10)  # a frame is 100 ms
CONFIG = TurnConfig(endpoint_seconds=0.8, long_seconds=2.0, longest_seconds=4.0)


def tracker() -> TurnTracker:
    return TurnTracker(CONFIG, tiny_tokenizer(), CLOCK)


def hypothesis(*frames: int, token: int | None = None) -> Hypothesis:
    """A CAT at each of these frames."""
    tokenizer = tiny_tokenizer()
    tokens = [t for t in tokenizer.encode("A") for _ in frames] if token is None else []
    tokens = tokens[: len(frames)] if token is None else [token] * len(frames)
    return Hypothesis(tuple(tokens), frames, (-0.5,) * len(frames), -1.0)


def run(emitted: list[int], num_frames: int) -> list:
    """Everything a tracker says when one-word tokens are emitted at these frames."""
    turns, events, start = tracker(), [], 0
    for frame in range(num_frames):
        best = hypothesis(*(f for f in emitted if start <= f <= frame))
        found, is_done = turns.observe(best, frame + 1)
        events += found
        if is_done:
            start = frame + 1
    return events


def test_a_turn_starts_with_its_first_token_and_ends_after_the_pause():
    started, final, ended = run([3, 5], 20)
    assert isinstance(started, TurnStarted)
    assert (started.seconds, started.known_seconds) == pytest.approx((0.3, 0.4))
    assert isinstance(final, Final)
    assert final.text == "A A"
    assert (final.seconds, final.known_seconds) == pytest.approx((0.6, 1.4))
    assert isinstance(ended, TurnEnded)
    assert ended.seconds == pytest.approx(0.6)
    assert ended.known_seconds - ended.seconds == pytest.approx(0.8)


def test_a_shorter_pause_does_not_end_a_turn():
    kinds = [type(e) for e in run([0, 8, 16], 20)]
    assert kinds == [TurnStarted]
    kinds = [type(e) for e in run([0, 9], 30)]
    assert kinds == [TurnStarted, Final, TurnEnded] * 2


def test_silence_says_nothing():
    assert run([], 100) == []


def test_a_long_turn_is_handed_out_in_parts_at_pauses_and_stays_one_turn():
    """After three seconds a pause of half the usual length parts the words, but ends no turn."""
    emitted = [*range(30), *range(34, 40)]
    events = run(emitted, 60)
    assert [type(e) for e in events] == [TurnStarted, Final, Final, TurnEnded]
    assert events[1].words[-1].end_seconds == pytest.approx(3.0)
    assert events[2].words[0].start_seconds == pytest.approx(3.4)
    assert len(events[1].words) + len(events[2].words) == len(emitted)


def test_speech_without_any_pause_is_handed_out_at_the_longest_length():
    events = run(list(range(100)), 100)
    assert [type(e) for e in events] == [TurnStarted, Final, Final]
    assert [len(e.words) for e in events[1:]] == [40, 40]
    assert events[1].known_seconds == pytest.approx(4.0)


def test_a_turn_that_was_parted_ends_when_nothing_follows():
    """Whoever speaks after the pause begins a turn of their own."""
    events = run([*range(30), 60], 80)
    kinds = [TurnStarted, Final, TurnEnded, TurnStarted, Final, TurnEnded]
    assert [type(e) for e in events] == kinds
    assert events[1].known_seconds < events[2].known_seconds
    assert events[2].seconds == pytest.approx(3.0)
    assert events[2].known_seconds == pytest.approx(3.8)
    assert events[3].seconds == pytest.approx(6.0)


def test_the_model_may_end_a_turn_itself():
    turns, tokenizer = tracker(), tiny_tokenizer()
    assert turns.observe(hypothesis(2), 3)[1] is False
    said = hypothesis(2)
    said = said._replace(
        tokens=(*said.tokens, tokenizer.eot_id), frames=(2, 4), log_probs=(-0.5, -0.1)
    )
    events, is_done = turns.observe(said, 5)
    assert is_done
    assert [type(e) for e in events] == [Final, TurnEnded]
    assert events[0].text == "A"
    assert events[1].seconds == events[0].words[-1].end_seconds
    assert events[1].known_seconds == pytest.approx(0.5)


def test_a_start_mark_opens_a_turn_before_its_first_word():
    turns = tracker()
    (event,), is_done = turns.observe(hypothesis(7, token=tiny_tokenizer().sot_id), 8)
    assert isinstance(event, TurnStarted)
    assert not is_done
    assert event.seconds == pytest.approx(0.7)


def test_a_word_that_a_beam_takes_back_is_taken_back_from_the_listener():
    turns = tracker()
    turns.observe(hypothesis(2), 3)
    (shown,) = turns.partial(hypothesis(2), 3)
    assert shown.text == "A"
    turns.observe(hypothesis(), 4)
    (taken_back,) = turns.partial(hypothesis(), 4)
    assert isinstance(taken_back, Partial)
    assert taken_back.words == ()
    events, is_done = turns.observe(hypothesis(), 11)
    assert is_done
    assert [type(e) for e in events] == [TurnEnded]


def test_a_word_taken_back_just_as_the_turn_ends_is_not_left_standing():
    turns = tracker()
    turns.observe(hypothesis(2), 3)
    turns.partial(hypothesis(2), 3)
    events, is_done = turns.observe(hypothesis(), 11)
    assert is_done
    assert [type(e) for e in events] == [Partial, TurnEnded]
    assert events[0].words == ()


def test_partials_come_only_when_a_word_changes():
    turns = tracker()
    assert turns.partial(hypothesis(), 3) == []
    assert len(turns.partial(hypothesis(2), 3)) == 1
    assert turns.partial(hypothesis(2), 4) == []
    assert len(turns.partial(hypothesis(2, 4), 5)) == 1


def test_words_have_the_times_and_the_confidence_of_their_tokens():
    tokenizer = tiny_tokenizer()
    tokens = (*tokenizer.encode("MOON"), *tokenizer.encode("A"))
    count = len(tokens) - 1
    assert count > 1
    frames = (*range(3, 3 + count), 20)
    log_probs = (*(-0.1 * k for k in range(count)), -0.7)
    moon, a = words_of(Hypothesis(tokens, frames, log_probs, -9.0), tokenizer, CLOCK)
    assert (moon.text, a.text) == ("MOON", "A")
    assert (moon.start_seconds, moon.end_seconds) == pytest.approx((0.3, (3 + count) / 10))
    assert (a.start_seconds, a.end_seconds) == pytest.approx((2.0, 2.1))
    assert moon.confidence == pytest.approx(math.exp(sum(log_probs[:-1]) / count))
    assert a.confidence == pytest.approx(math.exp(-0.7))


def test_the_pause_shrinks_from_long_to_longest():
    assert CONFIG.pause_seconds(0.0) == CONFIG.pause_seconds(2.0) == 0.8
    assert CONFIG.pause_seconds(3.0) == pytest.approx(0.4)
    assert CONFIG.pause_seconds(4.0) == CONFIG.pause_seconds(9.0) == 0.0
