# SPDX-License-Identifier: Apache-2.0
"""Conversations are scored from the events of a stream, with one channel or two."""

import numpy as np
import pytest

from evenear.audio import write_audio
from evenear.errors import ManifestError
from evenear.metrics.latency import ComputeTime
from evenear.streaming.events import Final, Partial, TurnEnded, TurnStarted
from evenear.streaming.twotalkers.recognizer import TwoTalkerRecognizer
from evenear.streaming.twotalkers.scores import (
    ConversationScore,
    Heard,
    hear,
    hear_session,
    load_sessions,
    normalized,
    score_session,
    turn_moments,
)
from evenear.transcripts import Segment, Word, write_transcript
from laws import random_sound
from two_talkers import tiny_two_talkers


def segment(text: str, start: float, end: float, channel: int, session: str = "m") -> Segment:
    return Segment(
        session_id=session,
        speaker=f"speaker {channel}",
        start_seconds=start,
        end_seconds=end,
        text=text,
        channel=channel,
    )


def turn(text: str, start: float, end: float, channel: int) -> list:
    """Events of a turn that was told 0.2 s late."""
    words = tuple(
        Word(text=word, start_seconds=start + 0.1, end_seconds=end - 0.1) for word in text.split()
    )
    last = end + 0.2
    return [
        TurnStarted(seconds=start, known_seconds=start + 0.2, channel=channel),
        Final(seconds=end, known_seconds=last, words=words, channel=channel),
        TurnEnded(seconds=end, known_seconds=last, channel=channel),
    ]


REFERENCES = [segment("A B", 0.5, 2.0, 0), segment("C D", 1.5, 3.0, 1), segment("E", 3.5, 4.0, 0)]
EVENTS = (*turn("A B", 0.5, 2.0, 0), *turn("C X", 1.5, 3.0, 1), *turn("E", 3.5, 4.0, 0))


def test_a_conversation_is_scored_by_words_turns_and_delays():
    score = score_session(REFERENCES, Heard(EVENTS, ComputeTime(5.0, (0.1,))))
    values = score.to_dict()
    assert values["orc_wer"] == pytest.approx(1 / 5)
    assert values["turn_accuracy"] == 1.0
    assert values["turn_matrix"] == {3: {3: 1}}
    assert values["latency_milliseconds"]["end_of_turn"]["p50"] == pytest.approx(200)
    assert values["latency_milliseconds"]["start_of_turn"]["mean"] == pytest.approx(200)
    assert values["latency_milliseconds"]["last_word"]["p90"] == pytest.approx(-100)
    assert values["false_cut_rate"] == values["missed_end_rate"] == 0.0
    assert values["end_delay_p50_milliseconds"] == pytest.approx(200)
    assert values["real_time_factor"] == pytest.approx(0.02)
    assert values["omitted"] == pytest.approx(1 / 2)
    both = score + score
    assert (both.sessions, both.words.errors, both.endpoints.turns) == (2, 2, 6)


def test_one_channel_is_held_against_all_references():
    events = tuple(event for event in EVENTS if event.channel == 0)
    values = score_session(REFERENCES, Heard(events, ComputeTime())).to_dict()
    assert values["orc_wer"] == pytest.approx(2 / 5)
    assert values["turn_matrix"] == {3: {2: 1}}
    assert values["latency_milliseconds"]["end_of_turn"]["turns"] == 0


def test_silence_misses_everything():
    values = score_session(REFERENCES, Heard((), ComputeTime())).to_dict()
    assert values["orc_wer"] == 1.0
    assert values["missed_end_rate"] == 1.0
    assert ConversationScore().to_dict()["orc_wer"] is None


def test_turns_without_words_do_not_count():
    empty = [
        TurnStarted(seconds=1.0, known_seconds=1.0),
        Partial(seconds=1.1, known_seconds=1.1),
        TurnEnded(seconds=1.2, known_seconds=1.2),
    ]
    assert turn_moments([*empty, *turn("A", 2.0, 3.0, 0)], 0)[0].start_seconds == pytest.approx(2.2)
    assert len(turn_moments([*empty, *turn("A", 2.0, 3.0, 0)], 0)) == 1


def test_words_may_become_final_behind_their_turn():
    """They are those of the nearest turn, whether it is the last or one before."""
    first, second = turn("A B", 1.0, 2.0, 0), turn("C", 3.0, 4.0, 0)
    in_order = turn_moments([*first, *second], 0)
    finals = [e for e in (*first, *second) if isinstance(e, Final)]
    others = [e for e in (*first, *second) if not isinstance(e, Final)]
    assert turn_moments([*others, *finals], 0) == in_order
    assert len(in_order) == 2


def test_a_simulated_folder_is_loaded_and_heard(tmp_path):
    (tmp_path / "audio").mkdir()
    write_audio(tmp_path / "audio" / "m.wav", random_sound(3.0))
    segments = [segment("c, d!", 1.5, 3.0, 1), segment("a b", 0.5, 2.0, 0)]
    write_transcript(segments, tmp_path / "reference.seglst.json", "seglst")
    (session,) = load_sessions(tmp_path)
    assert [s.text for s in session.references] == ["A B", "C D"]
    recognizer = TwoTalkerRecognizer(tiny_two_talkers())
    heard = hear_session(recognizer.stream(), session)
    again = hear(recognizer.stream(), random_sound(3.0), chunk_seconds=1.0)
    assert heard.compute.heard_seconds == again.compute.heard_seconds == pytest.approx(3.0)
    assert any(isinstance(event, TurnEnded) for event in heard.events)
    score = score_session(session.references, heard)
    assert score.words.reference_words == 4


def test_folders_that_lack_something_are_refused(tmp_path):
    with pytest.raises(ManifestError, match="reference"):
        load_sessions(tmp_path)
    write_transcript([segment("A", 0, 1, 0)], tmp_path / "reference.seglst.json", "seglst")
    with pytest.raises(ManifestError, match="no recording"):
        load_sessions(tmp_path)


def test_texts_are_normalized_in_order():
    found = normalized([segment("B.", 1, 2, 0), segment("a", 0, 1, 1)])
    assert [s.text for s in found] == ["A", "B"]
    assert np.isclose(found[0].start_seconds, 0)
