# SPDX-License-Identifier: Apache-2.0
"""Joined recordings are of one speaker, hold all their speech, and are drawn once."""

from dataclasses import replace

import numpy as np
import pytest

from evenear.data.conversations.joined import JoinedSounds
from evenear.data.conversations.sounds import FileSounds
from evenear.errors import ConfigError
from tiny_corpora import spoken_tone


@pytest.fixture
def words(tmp_path) -> FileSounds:
    names = [(speaker, word) for speaker in ("ada", "eve") for word in ("ON", "OFF")]
    made = {f"{s}-{w}": spoken_tone(tmp_path / f"{s}-{w}.wav", s, w, 0.3) for s, w in names}
    return FileSounds([replace(one, utterance_id=name) for name, one in made.items()])


def test_a_turn_is_of_one_speaker_and_says_what_its_recordings_say(words):
    joined = JoinedSounds(words, count=40, parts=(1, 3), seed=3)
    texts = {voice.utterance_id: voice.text for voice in words.voices}
    speakers = {voice.utterance_id: voice.speaker for voice in words.voices}
    lengths = set()
    for index, voice in enumerate(joined.voices):
        parts = voice.utterance_id.split(":", 1)[1].split("+")
        assert {speakers[part] for part in parts} == {voice.speaker}
        assert voice.text.split() == [texts[part] for part in parts]
        assert joined.bounds(index) == (0, len(joined.samples(index)))
        lengths.add(len(parts))
    assert lengths == {1, 2, 3}
    assert {voice.speaker for voice in joined.voices} == {"speaker of ada", "speaker of eve"}


def test_the_same_seed_joins_the_same(words):
    one, same, other = (JoinedSounds(words, count=9, parts=(1, 3), seed=s) for s in (1, 1, 2))
    assert one.voices == same.voices != other.voices
    np.testing.assert_array_equal(one.samples(4), same.samples(4))


def test_parts_are_equally_loud_with_silence_between(words):
    joined = JoinedSounds(words, count=5, parts=(2, 2), pause_seconds=(0.1, 0.1))
    samples_N = joined.samples(0)
    assert int((samples_N == 0).sum()) >= 1600
    half = len(samples_N) // 2
    loudness = [np.sqrt(np.mean(part**2)) for part in (samples_N[:half], samples_N[half:])]
    assert loudness[0] == pytest.approx(loudness[1], rel=0.2)


def test_turns_of_nothing_are_refused(words):
    with pytest.raises(ConfigError, match="1 recording or more"):
        JoinedSounds(words, count=1, parts=(0, 2))
