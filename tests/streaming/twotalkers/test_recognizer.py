# SPDX-License-Identifier: Apache-2.0
"""Two channels are heard alike in any chunks, and their turns are told in order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.audio import read_audio, write_audio
from evenear.checkpoint.folders import find_folder, shipped_models
from evenear.checkpoint.twotalkers import TWO_TALKERS
from evenear.errors import AudioError, ConfigError, StateError
from evenear.streaming.events import Final, Partial, TurnEnded, TurnStarted
from evenear.streaming.twotalkers.recognizer import TwoTalkerRecognizer
from held import bytes_held
from laws import chunkings, random_sound
from two_talkers import tiny_two_talkers

SOUND_N = random_sound(6.0, seed=5)


def recognizer(*, with_words: bool = False) -> TwoTalkerRecognizer:
    return TwoTalkerRecognizer(tiny_two_talkers(with_words=with_words), endpoint_seconds=0.3)


def heard(chunks, *, with_words: bool = False) -> list:
    """All events but partial ones, whose moments follow the chunks."""
    stream = recognizer(with_words=with_words).stream()
    events, start = [], 0
    for length in chunks:
        events += stream.accept(SOUND_N[start : start + length])
        start += length
    return [event for event in events + stream.finish() if not isinstance(event, Partial)]


def rounded(events) -> list:
    return [
        (
            type(e).__name__,
            e.channel,
            round(e.seconds, 6),
            round(e.known_seconds, 6),
            *tuple(word.text for word in e.words),
        )
        for e in events
    ]


@pytest.mark.parametrize("with_words", [False, True])
@settings(deadline=None, max_examples=6)
@given(chunkings(len(SOUND_N)))
def test_chunks_change_nothing(with_words, chunks):
    whole = heard([len(SOUND_N)], with_words=with_words)
    assert rounded(heard(chunks, with_words=with_words)) == rounded(whole)


@pytest.mark.parametrize("with_words", [False, True])
def test_turns_of_a_channel_begin_speak_and_end_in_order(with_words):
    events = heard([len(SOUND_N)], with_words=with_words)
    assert {event.channel for event in events} == {0, 1}
    for channel in range(2):
        is_open = False
        for event in (e for e in events if e.channel == channel):
            if isinstance(event, TurnStarted):
                assert not is_open
                is_open = True
            elif isinstance(event, TurnEnded):
                assert is_open
                is_open = False
            else:
                assert is_open
                assert event.words
        assert not is_open


def test_the_future_is_invisible():
    """What was told of the first part of a stream does not depend on the rest."""
    first, second = recognizer().stream(), recognizer().stream()
    told = first.accept(SOUND_N[:48_000])
    assert rounded(second.accept(SOUND_N[:48_000])) == rounded(told)
    state = first.state
    first.accept(-SOUND_N[48_000:])
    assert state is second.state or state.num_frames == second.state.num_frames


def test_a_step_leaves_its_state_as_it_was():
    one = recognizer()
    features_TF = np.random.default_rng(0).standard_normal((60, one.features.dim)).astype("f4")
    start = one.initial_state()
    _, state = one.step(features_TF, start)
    again, _ = one.step(features_TF, state)
    assert rounded(one.step(features_TF, state)[0]) == rounded(again)
    assert start.num_frames == 0
    assert rounded(one.step(features_TF, start)[0]) == rounded(
        one.step(features_TF, one.initial_state())[0]
    )


def test_a_file_is_a_stream(tmp_path):
    write_audio(tmp_path / "talk.wav", SOUND_N)
    segments = list(recognizer().segments(tmp_path / "talk.wav"))
    finals = [event for event in heard([len(SOUND_N)]) if isinstance(event, Final)]
    assert [(s.channel, s.text) for s in segments] == [(e.channel, e.text) for e in finals]
    assert {s.session_id for s in segments} == {"talk"}
    assert segments[0].speaker.startswith("channel-")


@pytest.mark.parametrize("length", [8_000, 31_999, 96_000])
def test_no_moment_lies_in_the_silence_behind_the_end(length):
    stream = recognizer(with_words=True).stream()
    events = stream.accept(SOUND_N[:length]) + stream.finish()
    assert any(isinstance(event, Final) for event in events)
    for event in events:
        assert event.seconds <= length / 16_000
        assert event.known_seconds <= length / 16_000
        assert all(word.end_seconds <= length / 16_000 for word in event.words)


def test_silence_is_heard_behind_the_end():
    """The same sound, with that silence put behind it by whoever records, says as much."""
    alone = recognizer().stream()
    own = alone.accept(SOUND_N[:40_000]) + alone.finish()
    longer = recognizer().stream()
    silence_N = np.zeros(9_600, np.float32)
    other = longer.accept(np.concatenate([SOUND_N[:40_000], silence_N]))
    other += longer.finish()
    said = [[e.text for e in events if isinstance(e, Final)] for events in (own, other)]
    assert said[0][: len(said[1])] == said[1][: len(said[0])]


def test_what_cannot_be_heard_is_refused():
    stream = recognizer().stream()
    with pytest.raises(AudioError, match="mono"):
        stream.accept(np.zeros((2, 2)))
    stream.finish()
    with pytest.raises(StateError, match="finished"):
        stream.accept(np.zeros(3))
    with pytest.raises(ConfigError, match="Threads"):
        TwoTalkerRecognizer.load("evenear-en-duo", threads=0)


@pytest.mark.skipif("evenear-en-duo" not in shipped_models(TWO_TALKERS), reason="not shipped")
def test_the_shipped_model_hears_real_voices_alike_in_any_chunks():
    folder = find_folder("evenear-en").parent / "clips"
    first_N, second_N = (read_audio(folder / f"{name}.flac") for name in ("library", "weather"))
    mixed_N = np.zeros(6 * 16_000, np.float32)
    mixed_N[: min(len(first_N), 64_000)] += first_N[:64_000]
    mixed_N[32_000:] += np.pad(second_N, (0, 64_000))[:64_000]
    ears = TwoTalkerRecognizer.load("evenear-en-duo")
    told = []
    for chunk in (len(mixed_N), 2_560, 1_111):
        stream, events = ears.stream(), []
        for start in range(0, len(mixed_N), chunk):
            events += stream.accept(mixed_N[start : start + chunk])
        told.append(rounded(e for e in events + stream.finish() if not isinstance(e, Partial)))
    assert told[0] == told[1] == told[2]
    assert any(name == "Final" for name, *_ in told[0])


@given(st.integers(0, 400))
@settings(deadline=None, max_examples=4)
def test_short_streams_say_nothing_or_end_their_turns(length):
    stream = recognizer().stream()
    events = stream.accept(SOUND_N[:length]) + stream.finish()
    assert sum(isinstance(e, TurnStarted) for e in events) == sum(
        isinstance(e, TurnEnded) for e in events
    )


@pytest.mark.parametrize("with_words", [False, True])
def test_a_stream_holds_no_more_after_minutes_than_after_one(with_words):
    """Whoever talks for an hour takes no more memory than whoever talks for a minute."""
    stream = recognizer(with_words=with_words).stream()
    sizes = []
    for second in range(0, 240, 4):
        stream.accept(random_sound(4.0, seed=second))
        sizes.append(bytes_held(stream.state))
    half = len(sizes) // 2
    assert max(sizes[half:]) < 1.2 * max(sizes[:half])
