# SPDX-License-Identifier: Apache-2.0
"""Manifests: what is saved is loaded, and what lhotse means is what an utterance says."""

import gzip
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import lhotse
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment
from lhotse.audio import AudioSource

from evenear.data.corpora.manifests import (
    Utterance,
    find_manifest,
    load_cuts,
    save_cuts,
    utterance,
    utterances,
)
from evenear.errors import ManifestError
from tiny_corpora import write_json_lines, write_kaldi, write_nemo, write_tone, write_utterances


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return write_utterances(tmp_path / "corpus")


def test_utterance_tells_all_that_the_manifest_says(manifest):
    first, *_ = load_cuts(manifest)
    assert utterance(first) == Utterance(
        "u1",
        "ann",
        "TEXT 1",
        manifest.parent / "audio/u1.wav",
        start_seconds=0.0,
        seconds=0.5,
        attributes={
            "gender": "female",
            "age": 7,
            "latitude": 42.37,
            "longitude": -71.11,
            "zip": "02138",
        },
        is_partial=False,
    )


@pytest.mark.parametrize("name", ["cuts.jsonl", "cuts.jsonl.gz"])
def test_saved_cuts_are_loaded_unchanged(manifest, tmp_path, name):
    cuts = load_cuts(manifest)
    saved = save_cuts(cuts, tmp_path / "out" / name)
    assert list(load_cuts(saved)) == list(cuts)
    assert list(load_cuts(saved.parent)) == list(cuts)
    assert list(CutSet.from_file(saved)) == list(cuts)


def test_cuts_that_lhotse_saved_are_loaded(manifest, tmp_path):
    cuts = load_cuts(manifest)
    cuts.to_file(tmp_path / "theirs.jsonl.gz")
    assert list(load_cuts(tmp_path / "theirs.jsonl.gz")) == list(cuts)


def test_lazy_cuts_are_the_same_at_each_pass(manifest):
    lazy = load_cuts(manifest, lazy=True)
    assert lazy.is_lazy
    assert list(lazy) == list(lazy) == list(load_cuts(manifest))


def test_saving_twice_gives_the_same_bytes_and_leaves_nothing_else(manifest, tmp_path):
    first = save_cuts(load_cuts(manifest), tmp_path / "a.jsonl.gz").read_bytes()
    again = save_cuts(load_cuts(manifest), tmp_path / "a.jsonl.gz").read_bytes()
    assert first == again
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl.gz", "corpus"]


def test_saving_that_fails_keeps_the_old_file(manifest, tmp_path):
    saved = save_cuts(load_cuts(manifest), tmp_path / "a.jsonl")
    before = saved.read_bytes()

    def broken():
        yield from load_cuts(manifest)
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        save_cuts(CutSet(broken()), saved)
    assert saved.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl", "corpus"]


def test_cuts_read_their_own_file_over_themselves(manifest, tmp_path):
    saved = save_cuts(load_cuts(manifest), tmp_path / "a.jsonl")
    before = saved.read_bytes()
    save_cuts(load_cuts(saved, lazy=True), saved)
    assert saved.read_bytes() == before


def test_other_suffixes_are_refused(manifest, tmp_path):
    with pytest.raises(ManifestError, match=r"\.jsonl or \.jsonl\.gz"):
        save_cuts(load_cuts(manifest), tmp_path / "cuts.yaml")
    with pytest.raises(ManifestError, match=r"\.jsonl"):
        load_cuts(write_tone(tmp_path / "a.wav", 0.1))


def test_relative_audio_is_found_beside_the_manifest_or_else_in_the_working_folder(
    manifest, tmp_path, monkeypatch
):
    saved = save_cuts(load_cuts(manifest), manifest.parent / "cuts.jsonl")
    text = saved.read_text(encoding="utf-8")
    saved.write_text(text.replace(f"{manifest.parent}{os.sep}", ""), encoding="utf-8")
    audio = manifest.parent / "audio/u1.wav"
    assert utterance(next(iter(load_cuts(saved)))).audio == audio
    moved = saved.rename(tmp_path / "cuts.jsonl")
    monkeypatch.chdir(manifest.parent)
    assert utterance(next(iter(load_cuts(moved)))).audio.resolve() == audio


def test_utterances_can_be_sent_to_other_processes(manifest):
    found = [utterance(cut) for cut in load_cuts(manifest)]
    assert pickle.loads(pickle.dumps(found)) == found
    assert len({*found}) == 3


def recording(path: Path, *, seconds: float = 2.0, channels: int = 1) -> Recording:
    return Recording.from_file(write_tone(path, seconds, channels=channels))


def supervised(
    source: Recording, spans: list[tuple[float, float]], *, start: float = 0.0, end: float = 2.0
) -> MonoCut:
    """A cut of a recording with supervisions at these times of the recording."""
    segments = [
        SupervisionSegment(f"s{n}", source.id, a - start, b - a, speaker="ann", text=f"T{n}")
        for n, (a, b) in enumerate(spans)
    ]
    return MonoCut("cut", start, end - start, 0, segments, recording=source)


def test_utterance_is_where_cut_and_supervision_overlap(tmp_path):
    source = recording(tmp_path / "a.wav")
    inner = utterance(supervised(source, [(0.5, 0.9)]))
    assert (inner.start_seconds, inner.seconds, inner.is_partial) == (0.5, pytest.approx(0.4), True)
    clipped = utterance(supervised(source, [(0.5, 1.9)], start=1.0, end=1.5))
    assert (clipped.start_seconds, clipped.seconds, clipped.is_partial) == (1.0, 0.5, True)
    whole = utterance(supervised(source, [(0.0, 2.0)]))
    assert (whole.start_seconds, whole.seconds, whole.is_partial) == (0.0, 2.0, False)
    from_start = utterance(supervised(source, [(0.0, 1.0)], end=1.0))
    assert (from_start.start_seconds, from_start.is_partial) == (0.0, True)


@given(st.floats(0, 1.5), st.floats(0.05, 0.5), st.floats(0, 1.5), st.floats(0.05, 0.5))
@settings(deadline=None, max_examples=60)
def test_trimming_to_supervisions_gives_the_same_utterances(tmp_path_factory, a, b, c, d):
    path = tmp_path_factory.getbasetemp() / "shared.wav"
    if not path.exists():
        recording(path)
    cut = supervised(Recording.from_file(path), [(a, a + b), (c, c + d)])
    ours = utterances(cut)
    theirs = [utterance(t) for t in CutSet([cut]).trim_to_supervisions(keep_overlapping=False)]
    for u, t in zip(ours, sorted(theirs, key=lambda t: t.utterance_id), strict=True):
        assert (u.utterance_id, u.text) == (t.utterance_id, t.text)
        assert u.start_seconds == pytest.approx(t.start_seconds, abs=1e-4)
        assert u.seconds == pytest.approx(t.seconds, abs=1e-4)


def test_cut_with_several_supervisions_is_several_utterances(tmp_path):
    cut = supervised(recording(tmp_path / "a.wav"), [(0.0, 0.5), (1.0, 2.0)])
    assert [u.text for u in utterances(cut)] == ["T0", "T1"]
    with pytest.raises(ManifestError, match="trim_to_supervisions"):
        utterance(cut)


def test_cuts_that_change_their_audio_are_refused(tmp_path):
    cut = supervised(recording(tmp_path / "a.wav"), [(0.0, 2.0)])
    stereo = supervised(recording(tmp_path / "b.wav", channels=2), [(0.0, 2.0)])
    source = AudioSource("command", [0], "cat a.wav")
    command = supervised(Recording("c", [source], 16_000, 32_000, 2.0), [(0.0, 2.0)])
    for changed in (cut.perturb_speed(1.1), cut.append(cut), stereo, command):
        with pytest.raises(ManifestError, match="one audio file"):
            utterance(changed)


def test_silent_speaker_fields_become_unknown_and_empty(tmp_path):
    source = recording(tmp_path / "a.wav")
    cut = MonoCut(
        "c", 0.0, 2.0, 0, [SupervisionSegment("s", source.id, 0.0, 2.0)], recording=source
    )
    found = utterance(cut)
    assert (found.speaker, found.text, found.attributes) == ("unknown", "", {})


def test_cuts_hold_the_audio_that_lhotse_reads(manifest):
    for cut in load_cuts(manifest):
        assert cut.load_audio().shape == (1, cut.num_samples)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{not json", r"cuts.jsonl:4: The line must be one JSON object"),
        ('{"id": "x", "start": 0, "type": "MonoCut"}', "must be a lhotse cut"),
        ('{"id": "x", "sources": []}', "must be a lhotse cut"),
        ("[1, 2]", "must be one JSON object"),
    ],
)
def test_broken_line_of_cuts_is_named(manifest, line, said):
    saved = save_cuts(load_cuts(manifest), manifest.parent / "cuts.jsonl")
    saved.write_text(saved.read_text(encoding="utf-8") + line + "\n", encoding="utf-8")
    with pytest.raises(ManifestError, match=said) as caught:
        load_cuts(saved)
    assert "evenear data validate" in str(caught.value)


def test_broken_row_of_utterances_is_named(manifest):
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    rows[1]["audio_path"] = rows[1].pop("audio")
    write_json_lines(manifest, rows)
    with pytest.raises(ManifestError, match=r"utterances.jsonl:2 \(u2\).*'audio_path'"):
        load_cuts(manifest)


def test_same_id_twice_is_refused(manifest):
    lines = manifest.read_text(encoding="utf-8")
    manifest.write_text(lines + lines, encoding="utf-8")
    with pytest.raises(ManifestError, match=r":4 \(u1\).*was there before"):
        load_cuts(manifest)


def test_what_is_no_manifest_is_refused_with_a_way_out(tmp_path):
    with pytest.raises(ManifestError, match="no manifest"):
        load_cuts(tmp_path / "missing.jsonl")
    with pytest.raises(ManifestError, match="evenear data import"):
        load_cuts(write_kaldi(tmp_path / "kaldi", segments=False))
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(ManifestError, match="at least one row"):
        load_cuts(tmp_path / "empty.jsonl")
    write_json_lines(tmp_path / "sup.jsonl", [{"id": "a", "recording_id": "r", "start": 0}])
    with pytest.raises(ManifestError, match="lhotse cut simple"):
        load_cuts(tmp_path / "sup.jsonl")


def test_kind_is_told_from_content_not_from_the_name(manifest, tmp_path):
    nemo = write_nemo(tmp_path / "nemo").rename(tmp_path / "nemo" / "cuts.jsonl")
    assert find_manifest(nemo.parent) == ("nemo", nemo)
    packed = tmp_path / "data.jsonl.gz"
    packed.write_bytes(gzip.compress(manifest.read_bytes()))
    assert find_manifest(packed) == ("utterances", packed)
    cuts = save_cuts(load_cuts(manifest), tmp_path / "utterances.jsonl")
    assert find_manifest(tmp_path) == ("cuts", cuts)


def test_importing_loads_no_lhotse_and_no_torch():
    code = (
        "import sys; from evenear.data.corpora import importers, manifests, validation;"
        "assert not {'torch', 'lhotse', 'soundfile'} & set(sys.modules), sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_lhotse_is_new_enough_to_be_compared_with():
    assert tuple(int(part) for part in lhotse.__version__.split(".")[:2]) >= (1, 30)
