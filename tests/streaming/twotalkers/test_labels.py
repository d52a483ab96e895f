# SPDX-License-Identifier: Apache-2.0
"""Turns of one voice keep one label, whatever comes between them; nobody talks over themselves."""

import numpy as np
import pytest

from evenear.features import FeatureConfig
from evenear.seeding import rng_for
from evenear.streaming.twotalkers.labels import (
    LabelConfig,
    LogMelVoice,
    SpeakerLabels,
    label_segments,
)
from evenear.transcripts import Segment

RATE = 16_000


class Given:
    """A voice whose vector is written into its sound."""

    def embed(self, samples_N):
        return np.eye(4)[round(float(np.median(samples_N)) * 10)]


def sound(voice: int, seconds: float = 1.0) -> np.ndarray:
    return np.full(round(seconds * RATE), voice / 10, np.float32)


def test_a_voice_that_comes_back_gets_its_label_again():
    labels = SpeakerLabels(Given())
    assert [labels.label(sound(voice)) for voice in (2, 0, 2, 1, 0)] == [
        "speaker-1",
        "speaker-2",
        "speaker-1",
        "speaker-3",
        "speaker-2",
    ]


def test_turns_that_overlap_are_of_different_people():
    labels = SpeakerLabels(Given())
    first = labels.label(sound(1))
    assert labels.label(sound(1), not_these=[first]) != first


def test_no_more_speakers_than_allowed():
    labels = SpeakerLabels(Given(), LabelConfig(most_speakers=2))
    found = {labels.label(sound(voice)) for voice in (0, 1, 2, 3)}
    assert found == {"speaker-1", "speaker-2"}


def test_segments_are_heard_where_they_are_alone():
    """The second turn is of voice 1, but mostly covered by voice 2."""
    samples_N = np.concatenate([sound(2, 3.0), sound(1, 1.0), sound(2, 1.0)])
    times = [(0.0, 3.0, 0), (1.5, 4.0, 1), (4.0, 5.0, 0)]
    segments = [
        Segment(
            session_id="m",
            speaker="",
            start_seconds=start,
            end_seconds=end,
            text=str(number),
            channel=channel,
        )
        for number, (start, end, channel) in enumerate(times)
    ]
    found = label_segments(segments, samples_N, SpeakerLabels(Given()))
    assert [(s.text, s.speaker) for s in found] == [
        ("0", "speaker-1"),
        ("1", "speaker-2"),
        ("2", "speaker-1"),
    ]


@pytest.mark.parametrize("loud", [0.01, 0.3])
def test_statistics_of_frames_know_a_color_again_at_any_loudness(loud):
    rng = rng_for(0, "colors")

    def noise(low: bool) -> np.ndarray:
        white_N = rng.standard_normal(RATE)
        smooth_N = np.convolve(white_N, np.ones(12) / 12, mode="same")
        return (smooth_N if low else white_N - smooth_N).astype(np.float32)

    labels = SpeakerLabels(LogMelVoice(FeatureConfig()))
    first = labels.label(0.1 * noise(True))
    second = labels.label(0.1 * noise(False))
    assert first != second
    assert labels.label(loud * noise(True)) == first
    assert labels.label(loud * noise(False)) == second


def test_no_sound_has_a_vector_of_nothing():
    assert not LogMelVoice().embed(np.zeros(0, np.float32)).any()
