# SPDX-License-Identifier: Apache-2.0
"""Turns of any length have a voice, and turns of one voice are alike."""

import numpy as np

from evenear.streaming.twotalkers.labels import LabelConfig, SpeakerLabels
from evenear.verification.turns import TurnVoice
from tiny_speakers import buzz
from verification.hearing import tiny_embedder


def test_a_turn_has_its_recordings_voice():
    embedder = tiny_embedder()
    voice = TurnVoice(embedder)
    expected_D = embedder.embed(buzz(0, 0)).vector
    np.testing.assert_allclose(voice.embed(buzz(0, 0)), expected_D, atol=1e-6)


def test_the_shortest_turns_are_not_refused():
    voice = TurnVoice(tiny_embedder())
    for length in (0, 1, 100, 800):
        vector_D = voice.embed(buzz(0, 0)[:length])
        assert vector_D.shape == voice.embed(buzz(0, 0)).shape
        assert np.isfinite(vector_D).all()


def test_turns_are_labelled_by_voice():
    voice = TurnVoice(tiny_embedder())
    alike = float(voice.embed(buzz(0, 0)) @ voice.embed(buzz(0, 1)))
    other = float(voice.embed(buzz(0, 0)) @ voice.embed(buzz(1, 0)))
    assert alike > other
    labels = SpeakerLabels(voice, LabelConfig(least_likeness=(alike + other) / 2))
    turns = [buzz(0, 0), buzz(1, 0), buzz(0, 1)]
    assert [labels.label(turn) for turn in turns] == ["speaker-1", "speaker-2", "speaker-1"]
