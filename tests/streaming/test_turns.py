# SPDX-License-Identifier: Apache-2.0
"""Turns begin and end where the tokens say, and words get the times of their tokens."""

import math

import pytest

from evenear.errors import ConfigError
from evenear.search import Hypothesis
from evenear.streaming import (
    EagerTurnEnd,
    Final,
    Partial,
    TurnConfig,
    TurnEnded,
    TurnResumed,
    TurnStarted,
    TurnState,
)
from evenear.streaming.moments import Moments
from evenear.streaming.silence import Silence
from evenear.streaming.turns import TurnTracker
from evenear.units import FrameClock
from laws import tiny_tokenizer

CLOCK = FrameClock(stride=10)  # a frame is 100 ms
CONFIG = TurnConfig(endpoint_seconds=0.8, long_seconds=2.0, longest_seconds=4.0)


def tracker(config: TurnConfig = CONFIG) -> TurnTracker:
    return TurnTracker(config, tiny_tokenizer(), Moments(CLOCK))


def known(num_frames: int) -> float:
    return CLOCK.seconds_at(num_frames)


def hypothesis(*frames: int, token: int | None = None) -> Hypothesis:
    """A CAT at each of these frames."""
    tokenizer = tiny_tokenizer()
    tokens = [t for t in tokenizer.encode("A") for _ in frames] if token is None else []
    tokens = tokens[: len(frames)] if token is None else [token] * len(frames)
    return Hypothesis(tuple(tokens), frames, (-0.5,) * len(frames), -1.0)


def run(emitted: list[int], num_frames: int, config: TurnConfig = CONFIG) -> list:
    """Everything a tracker says when one-word tokens are emitted at these frames."""
    turns, state, events, start = tracker(config), TurnState(), [], 0
    for frame in range(num_frames):
        best = hypothesis(*(f for f in emitted if start <= f <= frame))
        found, state, is_over = turns.observe(state, best, frame + 1)
        events += found
        if is_over:
            found, state = turns.close(state, best, known(frame + 1))
            events += found
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


def test_the_pause_may_tell_eagerly_that_a_turn_ends_and_take_it_back():
    eager = TurnConfig(endpoint_seconds=0.8, eager_seconds=0.3)
    events = run([3, 4, 9], 30, eager)
    kinds = [TurnStarted, EagerTurnEnd, TurnResumed, EagerTurnEnd, Final, TurnEnded]
    assert [type(e) for e in events] == kinds
    _, first, resumed, second, _, ended = events
    assert first.text == "A A"
    assert (first.seconds, first.known_seconds) == pytest.approx((0.5, 0.8))
    assert (resumed.seconds, resumed.known_seconds) == pytest.approx((0.9, 1.0))
    assert second.text == "A A A"
    assert second.known_seconds < ended.known_seconds
    assert [type(e) for e in run([3, 4, 9], 30)] == [TurnStarted, Final, TurnEnded]


def test_an_eager_end_after_the_end_is_refused():
    with pytest.raises(ConfigError, match="before the end of the turn"):
        TurnConfig(endpoint_seconds=0.5, eager_seconds=0.5)


def test_words_are_late_once_their_time_is_up_and_then_half_of_it_becomes_final():
    turns = tracker(TurnConfig(final_seconds=2.0))  # asked every 0.2 s, so after 1.8 s
    best = hypothesis(*range(0, 30, 2))
    assert not turns.is_late(best, 18)
    assert turns.is_late(best, 19)
    assert turns.num_late(best, 19) == 5  # those at frames 0 to 8
    assert turns.num_late(hypothesis(0), 99) == 0  # the last word waits for the next


def test_whole_words_that_all_readings_share_are_ready_but_the_last():
    tokenizer, turns = tiny_tokenizer(), tracker()
    tokens = (*tokenizer.encode("MOON"), *tokenizer.encode("A"), *tokenizer.encode("A"))
    count = len(tokens) - 2
    assert count > 1
    best = Hypothesis(tokens, tuple(range(len(tokens))), (-0.5,) * len(tokens), -1.0)
    ready = [turns.num_ready(best, shared) for shared in range(len(tokens) + 1)]
    assert ready == [0] * count + [count] + [count + 1] * 2


def test_finals_within_a_turn_go_on_with_the_same_partial():
    turns, best = tracker(), hypothesis(2, 4, 6)
    (shown,), state = turns.partial(TurnState(), best, 7)
    assert shown.text == "A A A"
    (final,), state = turns.hand_out(state, best, 2, known(8))
    assert (final.text, final.seconds) == ("A A", pytest.approx(0.5))
    assert turns.partial(state, hypothesis(6), 8) == ([], state)


def test_the_model_may_end_a_turn_itself():
    turns, tokenizer = tracker(), tiny_tokenizer()
    _, state, is_over = turns.observe(TurnState(), hypothesis(2), 3)
    assert is_over is False
    said = hypothesis(2)
    said = said._replace(
        tokens=(*said.tokens, tokenizer.eot_id), frames=(2, 4), log_probs=(-0.5, -0.1)
    )
    events, state, is_over = turns.observe(state, said, 5)
    assert is_over
    assert events == []
    (final, ended), state = turns.close(state, said, known(5))
    assert final.text == "A"
    assert ended.seconds >= final.words[-1].end_seconds
    assert ended.known_seconds == pytest.approx(0.5)
    assert ended.confidence == pytest.approx(math.exp(-0.1))
    assert state == TurnState()


def test_an_end_that_follows_from_a_pause_has_no_confidence():
    assert run([3], 20)[-1].confidence is None


def test_a_start_mark_opens_a_turn_before_its_first_word():
    mark = hypothesis(7, token=tiny_tokenizer().sot_id)
    (event,), _, is_over = tracker().observe(TurnState(), mark, 8)
    assert isinstance(event, TurnStarted)
    assert not is_over
    assert event.seconds == pytest.approx(0.7)


def test_a_word_that_a_beam_takes_back_is_taken_back_from_the_listener():
    turns = tracker()
    _, state, _ = turns.observe(TurnState(), hypothesis(2), 3)
    (shown,), state = turns.partial(state, hypothesis(2), 3)
    assert shown.text == "A"
    _, state, _ = turns.observe(state, hypothesis(), 4)
    (taken_back,), state = turns.partial(state, hypothesis(), 4)
    assert isinstance(taken_back, Partial)
    assert taken_back.words == ()
    _, state, is_over = turns.observe(state, hypothesis(), 11)
    assert is_over
    events, _ = turns.close(state, hypothesis(), known(11))
    assert [type(e) for e in events] == [TurnEnded]


def test_a_word_taken_back_just_as_the_turn_ends_is_not_left_standing():
    turns = tracker()
    _, state, _ = turns.observe(TurnState(), hypothesis(2), 3)
    _, state = turns.partial(state, hypothesis(2), 3)
    _, state, is_over = turns.observe(state, hypothesis(), 11)
    assert is_over
    events, _ = turns.close(state, hypothesis(), known(11))
    assert [type(e) for e in events] == [Partial, TurnEnded]
    assert events[0].words == ()


def test_partials_come_only_when_a_word_changes():
    turns, state = tracker(), TurnState()
    counts = []
    for best, num_frames in [
        (hypothesis(), 3),
        (hypothesis(2), 3),
        (hypothesis(2), 4),
        (hypothesis(2, 4), 5),
    ]:
        events, state = turns.partial(state, best, num_frames)
        counts.append(len(events))
    assert counts == [0, 1, 0, 1]


def test_a_silence_ends_a_turn_the_sooner_the_surer_the_detector_is():
    config = TurnConfig(silence_seconds=(0.4, 1.2), sure_logits=(2.0, -2.0))
    assert [config.needed_silence(x) for x in (9, 2, 0, -2, -9)] == [0.4, 0.4, 0.8, 1.2, 1.2]
    turns = TurnTracker(config, tiny_tokenizer(), Moments(CLOCK), hears_voices=True)
    _, state, _ = turns.observe(TurnState(), hypothesis(2), 3)
    for seconds, logit, expected in [(0.78, 0.0, False), (0.8, 0.0, True), (0.4, 3.0, True)]:
        silence = Silence(2.0, seconds, logit)
        assert turns.hear(state, hypothesis(2), silence, 20)[2] is expected
    unread = turns.hear(state, hypothesis(2), Silence(2.0, 0.9, 3.0), 12)
    assert unread == ([], state, False)  # the recognizer has heard 0.1 s of it
    assert turns.hear(TurnState(), hypothesis(), Silence(2.0, 2.0, 3.0), 20)[2] is False
    final, ended = turns.close(state, hypothesis(2), 2.0, 0.9)[0]
    assert (final.known_seconds, ended.known_seconds, ended.confidence) == (2.0, 2.0, 0.9)


def test_with_a_detector_a_missing_token_ends_a_turn_late():
    config = TurnConfig(endpoint_seconds=0.5, patience_seconds=2.0)
    turns = TurnTracker(config, tiny_tokenizer(), Moments(CLOCK), hears_voices=True)
    _, state, _ = turns.observe(TurnState(), hypothesis(2), 3)
    assert [turns.observe(state, hypothesis(2), n)[2] for n in (10, 22, 23)] == [False, False, True]


def test_a_silence_may_tell_eagerly_and_take_it_back():
    config = TurnConfig(eager_seconds=0.2, silence_seconds=(0.6, 0.6))
    turns = TurnTracker(config, tiny_tokenizer(), Moments(CLOCK), hears_voices=True)
    _, state, _ = turns.observe(TurnState(), hypothesis(2), 3)
    told = []
    for seconds, quiet in [(0.5, 0.1), (0.6, 0.2), (0.7, 0.3), (0.8, 0.0)]:
        events, state, is_over = turns.hear(state, hypothesis(2), Silence(seconds, quiet, 0.0), 9)
        told += [(type(e), e.seconds, e.known_seconds) for e in events]
        assert not is_over
    assert told == [(EagerTurnEnd, pytest.approx(0.3), 0.6), (TurnResumed, 0.8, 0.8)]


def test_nothing_is_known_before_its_block_is_heard():
    turns = TurnTracker(CONFIG, tiny_tokenizer(), Moments(CLOCK, 8))
    (started,), state, _ = turns.observe(TurnState(), hypothesis(1), 2)
    (shown,), _ = turns.partial(state, hypothesis(1), 2)
    assert (started.seconds, started.known_seconds) == pytest.approx((0.1, 0.8))
    assert shown.known_seconds == pytest.approx(0.8)
    assert turns.moments.known(9) == 1.6


def test_events_tell_the_channel_of_their_tracker():
    turns = TurnTracker(CONFIG, tiny_tokenizer(), Moments(CLOCK), channel=1)
    events, state, _ = turns.observe(TurnState(), hypothesis(2), 3)
    more, _ = turns.close(state, hypothesis(2), known(3))
    assert [e.channel for e in events + more] == [1, 1, 1]


def test_the_pause_shrinks_from_long_to_longest():
    assert CONFIG.pause_seconds(0.0) == CONFIG.pause_seconds(2.0) == 0.8
    assert CONFIG.pause_seconds(3.0) == pytest.approx(0.4)
    assert CONFIG.pause_seconds(4.0) == CONFIG.pause_seconds(9.0) == 0.0
