# SPDX-License-Identifier: Apache-2.0
"""Two talkers on the command line: transcripts of every form, a page, and scores."""

import json

import numpy as np
import pytest

from evenear.transcripts import parse_transcript


@pytest.fixture(scope="module")
def duo(tmp_path_factory):
    from evenear.checkpoint.twotalkers import save_two_talkers
    from two_talkers import tiny_two_talkers

    bundle = tiny_two_talkers()
    folder = tmp_path_factory.mktemp("models") / "duo"
    save_two_talkers(
        folder, model=bundle.model, settings=bundle.settings, tokenizer=bundle.tokenizer
    )
    return folder


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    from evenear.audio import write_audio
    from laws import random_sound

    path = tmp_path_factory.mktemp("sound") / "talk.wav"
    write_audio(path, random_sound(4.0, seed=5))
    return path


def test_seglst_says_who_said_what_when(evenear, duo, talk):
    done = evenear("transcribe", talk, "--two-talkers", "--model", duo, "--format", "seglst")
    assert done.code == 0
    rows = json.loads(done.out)
    assert rows
    for row in rows:
        assert {"session_id", "speaker", "start_time", "end_time", "words"} <= row.keys()
        assert row["speaker"].startswith("speaker-")
    assert {segment.channel for segment in parse_transcript(done.out, "seglst")} == {0, 1}


def test_text_vtt_rttm_and_a_page(evenear, duo, talk, tmp_path):
    common = ("--two-talkers", "--model", duo)
    text = evenear("transcribe", talk, *common)
    assert "speaker-1:" in text.out
    assert "<v speaker-1>" in evenear("transcribe", talk, *common, "--format", "vtt").out
    page = tmp_path / "talk.html"
    done = evenear(
        "transcribe", talk, *common, "--format", "rttm", "--out", tmp_path, "--html", page
    )
    assert done.code == 0
    assert "SPEAKER talk" in (tmp_path / "talk.rttm").read_text()
    assert "<svg" in page.read_text()


def test_the_shipped_model_names_talkers_by_their_voices(evenear, tmp_path):
    """Three clips of two people one after the other: the first is heard again in the third."""
    from evenear.audio import read_audio, write_audio
    from evenear.checkpoint.folders import find_folder, shipped_models
    from evenear.checkpoint.twotalkers import TWO_TALKERS

    if "evenear-en-duo" not in shipped_models(TWO_TALKERS):
        pytest.skip("not shipped")
    clips = find_folder("evenear-en").parent / "clips"
    first_N, second_N = read_audio(clips / "park.flac"), read_audio(clips / "library.flac")
    pause_N = np.zeros(12_000, np.float32)
    mixed_N = np.concatenate([first_N, pause_N, second_N, pause_N, first_N])
    write_audio(tmp_path / "talk.wav", mixed_N)
    done = evenear("transcribe", tmp_path / "talk.wav", "--two-talkers", "--format", "seglst")
    rows = sorted(json.loads(done.out), key=lambda row: row["start_time"])
    said = {
        name: [r["words"] for r in rows if r["speaker"] == name]
        for name in ("speaker-1", "speaker-2")
    }
    assert " ".join(said["speaker-2"]).startswith("THE LIBRARY OPENS AT NINE")
    assert " ".join(said["speaker-1"]).count("PARK AND PLAYED ALL DAY") == 2


def test_what_cannot_be_heard_is_named(evenear, duo, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    done = evenear("transcribe", tmp_path / "bad.wav", "--two-talkers", "--model", duo)
    assert done.code == 1
    assert "bad.wav" in done.err


def test_a_page_needs_two_channels(evenear, talk, tmp_path):
    done = evenear("transcribe", talk, "--html", tmp_path / "page.html")
    assert done.code == 2
    assert "--two-talkers" in done.err


def test_a_simulated_folder_is_scored(evenear, duo, tmp_path):
    from tiny_corpora import write_utterances

    write_utterances(tmp_path / "in")
    evenear("data", "simulate", tmp_path / "in", "--out", tmp_path / "mix", "--mixtures", 2)
    done = evenear("evaluate", duo, tmp_path / "mix", "--json")
    assert done.code == 0
    values = json.loads(done.out)
    assert values["sessions"] == 2
    assert {"orc_wer", "turn_accuracy", "latency_milliseconds"} <= values.keys()
    assert "ORC-WER" in evenear("evaluate", duo, tmp_path / "mix").out
    refused = evenear("evaluate", duo, tmp_path / "mix", "--names", tmp_path / "names.dict")
    assert refused.code == 2
    assert "More words are for one talker" in refused.err
