# SPDX-License-Identifier: Apache-2.0
"""Speech is found inside recordings, and a store gives back what the files hold."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenear.data.conversations.sounds import (
    FileSounds,
    SoundStore,
    build_sound_store,
    speech_bounds,
)
from evenear.errors import ManifestError
from evenear.seeding import rng_for
from tiny_corpora import spoken_tone


@given(st.integers(0, 8000), st.integers(3200, 8000), st.integers(0, 8000))
def test_speech_is_found_between_silences(before, speech, after):
    rng = rng_for(0, "noise")
    samples_N = 1e-5 * rng.standard_normal(before + speech + after)
    samples_N[before : before + speech] += 0.1 * rng.standard_normal(speech)
    first, end = speech_bounds(samples_N.astype(np.float32))
    assert max(0, before - 800) <= first <= before
    assert before + speech - 160 <= end <= min(len(samples_N), before + speech + 800)


def test_silence_has_no_speech():
    assert speech_bounds(np.zeros(8000, np.float32)) == (0, 0)
    assert speech_bounds(np.zeros(0, np.float32)) == (0, 0)


def test_a_store_gives_what_the_files_hold_and_is_built_once(tmp_path):
    utterances = [spoken_tone(tmp_path / f"{n}.wav", n, n.upper(), 0.5) for n in ("a", "b")]
    built = build_sound_store(utterances, tmp_path / "store")
    files, again = FileSounds(utterances), SoundStore(tmp_path / "store")
    assert [v.text for v in again.voices] == ["A", "B"]
    assert again.by_id() == {"a": 0, "b": 1}
    for index in range(2):
        np.testing.assert_allclose(again.samples(index), files.samples(index), atol=1e-4)
        assert again.bounds(index) == files.bounds(index) == built.bounds(index)
    utterances[0].audio.unlink()  # not read again
    build_sound_store(utterances, tmp_path / "store")


def test_a_store_knows_corpora_and_one_from_before_has_none(tmp_path):
    one = spoken_tone(tmp_path / "a.wav", "a", "A", 0.5)
    named = replace(one, attributes={**one.attributes, "corpus": "tones"})
    store = build_sound_store([named], tmp_path / "store")
    assert store.by_corpus == {"tones": [one.speaker]}
    rows = json.loads((tmp_path / "store" / "sounds.json").read_text())
    older = [[*row[:3], *row[-4:]] for row in rows]
    (tmp_path / "store" / "sounds.json").write_text(json.dumps(older))
    again = SoundStore(tmp_path / "store")
    assert again.by_corpus == {"": [one.speaker]}
    assert again.bounds(0) == store.bounds(0)


def test_a_store_without_speech_is_refused(tmp_path):
    with pytest.raises(ManifestError, match="at least one recording"):
        build_sound_store([], tmp_path / "store")
