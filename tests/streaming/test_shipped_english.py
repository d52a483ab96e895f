# SPDX-License-Identifier: Apache-2.0
"""The shipped `evenear-en` obeys the laws at each block, and hears nothing in what is no speech."""

import functools
import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from evenear.audio import read_audio
from evenear.checkpoint import shipped_models
from evenear.metrics.words import normalize, word_errors
from evenear.seeding import rng_for
from evenear.streaming import Final, Recognizer

pytestmark = pytest.mark.skipif(
    "evenear-en" not in shipped_models(), reason="this checkout does not ship evenear-en"
)
RATE = 16_000


@functools.cache
def recognizer(block: int = 320) -> Recognizer:
    return Recognizer.load("evenear-en", block_milliseconds=block)


@functools.cache
def clips() -> list[tuple[str, np.ndarray]]:
    folder = Path(str(resources.files("evenear") / "shipped" / "clips"))
    rows = json.loads((folder / "clips.json").read_text())
    return [(row["text"], read_audio(folder / row["file"])) for row in rows]


def heard(samples_N: np.ndarray, chunk: int, block: int = 320) -> str:
    stream = recognizer(block).stream()
    events = []
    for start in range(0, len(samples_N), chunk):
        events += stream.accept(samples_N[start : start + chunk])
    events += stream.finish()
    return " ".join(event.text for event in events if isinstance(event, Final))


@pytest.mark.parametrize("block", [160, 320, 640])
def test_chunks_change_nothing(block):
    _, samples_N = clips()[0]
    whole = heard(samples_N, len(samples_N), block)
    assert whole
    for chunk in (1600, 2560, 7001):
        assert heard(samples_N, chunk, block) == whole


def test_strangers_in_a_batch_change_nothing():
    model = recognizer()
    streams = [model.stream() for _ in clips()]
    events: list[list] = [[] for _ in streams]
    longest = max(len(samples_N) for _, samples_N in clips())
    for start in range(0, longest, 4000):
        chunks = [samples_N[start : start + 4000] for _, samples_N in clips()]
        for own, new in zip(events, model.advance(streams, chunks), strict=True):
            own += new
    for own, new in zip(events, model.finish(streams), strict=True):
        own += new
    for (_, samples_N), own in zip(clips(), events, strict=True):
        text = " ".join(event.text for event in own if isinstance(event, Final))
        assert text == heard(samples_N, 4000)


def test_the_clips_are_heard_as_they_were_when_it_was_shipped():
    """A bound and not the words: bits of sums differ between processors."""
    counted = [word_errors(normalize(text), heard(sound_N, 5120)) for text, sound_N in clips()]
    errors = sum(one.errors for one in counted)
    assert errors / sum(one.reference_words for one in counted) < 0.35


@pytest.mark.parametrize("sound", ["silence", "noise", "tone"])
def test_what_is_no_speech_gives_at_most_a_word_a_minute(sound):
    time_N = np.arange(60 * RATE) / RATE
    samples_N = {
        "silence": np.zeros(len(time_N)),
        "noise": 0.02 * rng_for(0, "noise").standard_normal(len(time_N)),
        "tone": 0.1 * np.sin(2 * np.pi * 440 * time_N),
    }[sound]
    assert len(heard(samples_N.astype(np.float32), 32_000).split()) <= 1


def test_a_short_tone_is_no_word():
    """The decoder alone would call the end of one NO."""
    found = []
    for length in range(32_000, 64_000, 4_000):
        samples_N = 0.05 * np.sqrt(2) * np.sin(2 * np.pi * 440 * np.arange(length) / RATE)
        found += heard(samples_N.astype(np.float32), 2560).split()
    assert len(found) <= 1
