# SPDX-License-Identifier: Apache-2.0
"""Simulated conversations are written as sound, references, cuts and a list that rebuilds them."""

import json

import numpy as np
import pytest

from evenear.audio import read_audio
from evenear.data.conversations.mixtures import MixtureConfig, render
from evenear.data.conversations.simulation import (
    plan_mixtures,
    read_librispeechmix,
    read_plans,
    reference_segments,
    write_mixtures,
    write_plans,
)
from evenear.data.conversations.sounds import FileSounds
from evenear.data.corpora.manifests import load_cuts, utterances
from evenear.errors import ManifestError
from evenear.transcripts import read_transcript
from tiny_corpora import spoken_tone, write_json_lines


@pytest.fixture
def sounds(tmp_path):
    names = ("a-1", "a-2", "b-1", "b-2")
    return FileSounds([spoken_tone(tmp_path / f"{n}.wav", n, n.upper(), 0.7) for n in names])


def test_what_is_written_can_be_read_and_made_again(tmp_path, sounds):
    plans = plan_mixtures(MixtureConfig(num_turns=(2, 3)), sounds, num_mixtures=3, seed=5)
    write_mixtures(plans, sounds, tmp_path / "out")
    assert read_plans(tmp_path / "out" / "mixtures.jsonl") == plans
    for plan in plans:
        written_N = read_audio(tmp_path / "out" / "audio" / f"{plan.mixture_id}.wav")
        np.testing.assert_allclose(written_N, render(plan, sounds).samples_N, atol=1e-4)
    segments = read_transcript(tmp_path / "out" / "reference.seglst.json")
    expected = [segment for plan in plans for segment in reference_segments(plan)]
    assert [(s.session_id, s.speaker, s.text, s.channel) for s in segments] == [
        (s.session_id, s.speaker, s.text, s.channel) for s in expected
    ]
    cuts = list(load_cuts(tmp_path / "out"))
    assert [cut.id for cut in cuts] == [plan.mixture_id for plan in plans]
    for cut, plan in zip(cuts, plans, strict=True):
        found = utterances(cut)
        assert [u.text for u in found] == [turn.text for turn in plan.turns]
        assert found[0].audio.is_file()


def test_more_mixtures_leave_the_first_ones_as_they_are(sounds):
    few = plan_mixtures(MixtureConfig(), sounds, num_mixtures=2, seed=1)
    many = plan_mixtures(MixtureConfig(), sounds, num_mixtures=5, seed=1)
    assert many[:2] == few


def test_lists_of_librispeechmix_become_plans(tmp_path, sounds):
    row = {
        "id": "test-clean-2mix/test-clean-2mix-0000",
        "mixed_wav": "x.wav",
        "texts": ["A ONE", "B ONE"],
        "wavs": ["test-clean/a/a-1.wav", "test-clean/b/b-1.wav"],
        "delays": [0.0, 0.5],
        "speakers": ["a", "b"],
        "durations": [0.7, 0.7],
        "genders": ["f", "m"],
    }
    path = write_json_lines(tmp_path / "list.jsonl", [row])
    (plan,) = read_librispeechmix(path, sounds)
    assert plan.mixture_id == "test-clean-2mix-test-clean-2mix-0000"
    assert [turn.channel for turn in plan.turns] == [0, 1]
    expected_N = np.zeros(plan.num_samples, np.float32)
    expected_N[:11200] += sounds.samples(0)
    expected_N[8000:] += sounds.samples(2)
    np.testing.assert_allclose(render(plan, sounds).samples_N, expected_N, atol=1e-5)


def test_lists_that_do_not_fit_are_refused(tmp_path, sounds):
    path = write_json_lines(tmp_path / "list.jsonl", [{"id": "x"}])
    with pytest.raises(ManifestError, match="LibriSpeechMix"):
        read_librispeechmix(path, sounds)
    row = {"id": "x", "wavs": ["c.wav"], "delays": [0], "texts": ["T"], "speakers": ["c"]}
    path = write_json_lines(tmp_path / "list.jsonl", [row])
    with pytest.raises(ManifestError, match="no recording 'c'"):
        read_librispeechmix(path, sounds)
    (tmp_path / "bad.jsonl").write_text("{")
    with pytest.raises(ManifestError, match="no JSON"):
        read_plans(tmp_path / "bad.jsonl")
    (tmp_path / "list.json").write_text(json.dumps([1]) + "\n")
    with pytest.raises(ManifestError, match="must be an object"):
        read_plans(tmp_path / "list.json")
    with pytest.raises(ManifestError, match="no list"):
        read_plans(tmp_path / "none.jsonl")


def test_a_list_of_no_mixtures_is_empty(tmp_path):
    write_plans([], tmp_path / "list.jsonl")
    assert read_plans(tmp_path / "list.jsonl") == []
