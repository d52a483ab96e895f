# SPDX-License-Identifier: Apache-2.0
"""Validation: whatever is broken is found, whatever is not is left alone, nothing stops it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.data.corpora.manifests import load_cuts, save_cuts
from evenear.data.corpora.validation import Report, find_corpus, read_rows, validate
from evenear.errors import ManifestError
from tiny_corpora import (
    write_common_voice,
    write_json_lines,
    write_kaldi,
    write_librispeech,
    write_lines,
    write_nemo,
    write_tone,
    write_utterances,
)

Values = dict[str, Any]


def kinds(report: Report) -> list[tuple[int, str]]:
    return [(p.row, p.kind) for p in report.problems]


WRITERS: dict[str, Callable[[Path], Path]] = {
    "utterances": write_utterances,
    "librispeech": write_librispeech,
    "kaldi": lambda folder: write_kaldi(folder, segments=False),
    "nemo": write_nemo,
    "commonvoice": write_common_voice,
}


@pytest.mark.parametrize("kind", sorted(WRITERS))
def test_sound_corpus_of_each_kind_has_no_problem(tmp_path, kind):
    path = WRITERS[kind](tmp_path)
    if kind == "nemo":  # its places are halves on purpose
        text = path.read_text(encoding="utf-8").replace(', "lon": 8.5', "")
        path.write_text(text, encoding="utf-8")
    assert find_corpus(path)[0] == kind
    for decode in (False, True):
        report = validate(path, decode=decode)
        assert report.problems == ()
        assert report.is_valid
        assert report.rows == report.utterances == len(list(read_rows(*find_corpus(path))))
        assert report.speakers == 2
        assert report.seconds > 1.4


def test_kaldi_segments_and_cuts_have_no_problem(tmp_path):
    assert validate(write_kaldi(tmp_path / "k", segments=True)).is_valid
    cuts = load_cuts(write_utterances(tmp_path / "u"))
    report = validate(save_cuts(cuts, tmp_path / "cuts.jsonl.gz"), decode=True)
    assert (report.problems, report.rows, report.speakers) == ((), 3, 2)
    assert report.seconds == pytest.approx(2.4)


def without(name: str) -> Callable[[Values, Path], None]:
    return lambda values, folder: values.pop(name)


def having(**changes: Any) -> Callable[[Values, Path], None]:
    return lambda values, folder: values.update(changes)


def with_file(content: bytes) -> Callable[[Values, Path], None]:
    def change(values: Values, folder: Path) -> None:
        name = f"broken-{values['utterance_id']}.wav"
        (folder / name).write_bytes(content)
        values["audio"] = name

    return change


def slow(values: Values, folder: Path) -> None:
    name = f"slow-{values['utterance_id']}.wav"
    write_tone(folder / name, values["seconds"], sample_rate=4000)
    values["audio"] = name


def silent(values: Values, folder: Path) -> None:
    name = f"silent-{values['utterance_id']}.wav"
    soundfile.write(folder / name, np.zeros(0, np.float32), 16_000)
    values["audio"] = name


BREAKS: dict[str, tuple[str, Callable[[Values, Path], None]]] = {
    "no text": ("missing-field", without("text")),
    "no audio": ("missing-field", without("audio")),
    "no speaker": ("missing-field", without("speaker")),
    "empty text": ("empty-text", having(text=" ")),
    "text as a number": ("field-type", having(text=3)),
    "missing file": ("missing-file", having(audio="gone.wav")),
    "folder as file": ("missing-file", having(audio=".")),
    "endless name": ("missing-file", having(audio="x" * 5000)),
    "text renamed": ("unreadable-audio", with_file(b"hello, this is text\n")),
    "empty file": ("zero-length", with_file(b"")),
    "no samples": ("zero-length", silent),
    "no seconds": ("zero-length", having(seconds=0)),
    "wrong seconds": ("seconds", having(seconds=9.0)),
    "beyond the file": ("seconds", having(start_seconds=0.4, seconds=5.0)),
    "wrong rate": ("rate", having(sample_rate=8000)),
    "too slow": ("rate", slow),
    "latitude too large": ("place", having(lat=100.0, lon=120.0)),
    "swapped far west": ("place", having(lat=-122.4, lon=37.8)),
    "latitude is text": ("place", having(lat="north")),
    "latitude is nan": ("place", having(lat=float("nan"))),
    "half a place": ("place", without("lon")),
    "zip as number": ("zip", having(zip=2138)),
    "zip as real number": ("zip", having(zip=2138.0)),
    "zip plus four": ("zip", having(zip="2138-1001")),
}
FINE = {
    "zip as whole number": having(zip=94103),
    "seconds rounded": having(seconds=0.79),
    "no attributes": lambda values, folder: [values.pop(n) for n in ("lat", "lon", "zip", "age")],
    "no seconds given": without("seconds"),
    "place as text": having(lat="42.3", lon="-71"),
    "right rate": having(sample_rate=16_000),
    "swapped, but both possible": having(lat=-71.11, lon=42.37),
    "unknown field": having(dialect="northern", mood=None),
}


@given(st.lists(st.sampled_from([*BREAKS, *FINE, "sound"]), min_size=1, max_size=12))
@settings(deadline=None, max_examples=60)
def test_every_broken_row_is_named_and_no_other(tmp_path_factory, states):
    folder = tmp_path_factory.mktemp("corpus")
    write_tone(folder / "a.wav", 0.8)
    rows, expected = [], []
    for number, state in enumerate(states, start=1):
        values: Values = {
            "utterance_id": f"u{number}",
            "speaker": f"s{number % 3}",
            "text": "T",
            "audio": "a.wav",
            "seconds": 0.8,
            "lat": 42.37,
            "lon": -71.11,
            "zip": "02138",
            "age": 7,
        }
        if state in BREAKS:
            kind, change = BREAKS[state]
            change(values, folder)
            expected.append((number, kind))
        elif state in FINE:
            FINE[state](values, folder)
        rows.append(values)
    report = validate(write_json_lines(folder / "utterances.jsonl", rows))
    assert kinds(report) == expected
    assert {p.utterance_id for p in report.problems} == {f"u{n}" for n, _ in expected}
    assert report.rows == len(states)
    assert report.utterances == len(states) - len(expected)


def test_swapped_place_is_called_so(tmp_path):
    manifest = write_utterances(tmp_path)
    text = manifest.read_text(encoding="utf-8")
    swapped = text.replace('"lat": 42.37, "lon": -71.11', '"lat": -122.4, "lon": 37.8')
    manifest.write_text(swapped, encoding="utf-8")
    assert all("swapped" in p.message for p in validate(manifest).problems)
    assert len(validate(manifest).problems) == 3


def test_zip_that_lost_its_zeros_is_shown_whole(tmp_path):
    manifest = write_utterances(tmp_path)
    text = manifest.read_text(encoding="utf-8").replace('"02138"', "2138")
    manifest.write_text(text, encoding="utf-8")
    assert all("'02138'" in p.message for p in validate(manifest).problems)


def test_broken_lines_stop_nothing(tmp_path):
    manifest = write_utterances(tmp_path)
    good = manifest.read_bytes().splitlines()
    broken = [b'{"utterance_id": "x",', b"[]", b"caf\xe9", b"\xff\xfe"]
    manifest.write_bytes(b"\n".join([broken[0], good[0], broken[1], broken[2], *good[1:], b""]))
    report = validate(manifest)
    assert kinds(report) == [(1, "json"), (3, "json"), (4, "encoding")]
    assert (report.rows, report.utterances) == (6, 3)


def test_duplicate_ids_name_both_places(tmp_path):
    manifest = write_utterances(tmp_path)
    lines = manifest.read_text(encoding="utf-8")
    manifest.write_text(lines + lines, encoding="utf-8")
    report = validate(manifest)
    assert kinds(report) == [(4, "duplicate-id"), (5, "duplicate-id"), (6, "duplicate-id")]
    assert "utterances.jsonl:1" in report.problems[0].message
    assert report.utterances == 3


def test_samples_that_are_not_numbers_and_broken_files_need_decoding(tmp_path):
    manifest = write_utterances(tmp_path)
    samples = np.zeros(8000, np.float32)
    samples[100] = np.nan
    soundfile.write(tmp_path / "audio/u1.wav", samples, 16_000, subtype="FLOAT")
    whole = write_tone(tmp_path / "audio/u2.flac", 0.8)
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    text = manifest.read_text(encoding="utf-8").replace("audio/u2.wav", "audio/u2.flac")
    manifest.write_text(text, encoding="utf-8")
    report = validate(manifest, decode=True)
    assert kinds(report) == [(1, "unreadable-audio"), (2, "unreadable-audio")]
    assert report.utterances == 1
    assert kinds(validate(manifest, check_audio=False)) == []


def test_without_audio_only_the_rows_are_read(tmp_path):
    manifest = write_utterances(tmp_path)
    for file in (tmp_path / "audio").iterdir():
        file.unlink()
    report = validate(manifest, check_audio=False)
    assert report.is_valid
    assert report.seconds == pytest.approx(2.4)
    assert [kind for _, kind in kinds(validate(manifest))] == ["missing-file"] * 3


def test_broken_kaldi_directory_names_every_row(tmp_path):
    folder = write_kaldi(tmp_path, segments=False)
    write_lines(folder / "wav.scp", ["r1 cat r1.wav |", "r2 wav/r2.wav", "r3 gone.wav"])
    write_lines(folder / "text", ["r1 HELLO", "r3 BYE", "r3 BYE", "r4 WHO"])
    report = validate(folder)
    found = {(p.source, p.utterance_id, p.kind) for p in report.problems}
    assert found == {
        ("text", "r3", "duplicate-id"),
        ("wav.scp", "r1", "pipe"),
        ("wav.scp", "r2", "missing-field"),
        ("wav.scp", "r3", "missing-field"),
        ("wav.scp", "r3", "missing-file"),
        ("text", "r4", "missing-field"),
    }
    assert report.utterances == 0


def test_broken_librispeech_and_common_voice_name_every_row(tmp_path):
    folder = write_librispeech(tmp_path / "l")
    (folder / "14/208/14-208-0000.flac").unlink()
    (folder / "19/198/19-198-0001.flac").write_bytes(b"text")
    write_lines(folder / "14/208/14-208.trans.txt", ["14-208-0000 A", "14-208-0001"])
    report = validate(folder)
    assert [(p.utterance_id, p.kind) for p in report.problems] == [
        ("14-208-0000", "missing-file"),
        ("14-208-0001", "empty-text"),
        ("19-198-0001", "unreadable-audio"),
    ]
    table = write_common_voice(tmp_path / "c")
    text = table.read_text(encoding="utf-8").replace("It's late.", "")
    table.write_text(text + "c3\tx.wav\ttoo few\n", encoding="utf-8")
    assert kinds(validate(table.parent)) == [(3, "empty-text"), (4, "columns")]


def test_broken_cuts_are_named(tmp_path):
    cuts = list(load_cuts(write_utterances(tmp_path)))
    lines = [json.dumps(cut.to_dict()) for cut in cuts]
    no_text = cuts[0].to_dict()
    no_text["id"], no_text["supervisions"] = "no-text", []
    lines += ['{"id": "x", "type": "MonoCut"}', json.dumps(no_text), lines[0]]
    lines.append(lines[1].replace("16000", "44100").replace('"u2"', '"fast"'))
    report = validate(write_lines(tmp_path / "cuts.jsonl", lines))
    assert kinds(report) == [
        (4, "cut"),
        (5, "missing-field"),
        (6, "duplicate-id"),
        (7, "rate"),
    ]


def test_progress_counts_every_row(tmp_path):
    steps: list[int] = []
    validate(write_utterances(tmp_path), progress=steps.append)
    assert sum(steps) == 3


def test_corpus_without_rows_has_a_problem(tmp_path):
    (tmp_path / "utterances.jsonl").touch()
    assert kinds(validate(tmp_path)) == [(0, "empty")]


def test_native_manifest_wins_over_the_corpus_it_lies_in(tmp_path):
    folder = write_kaldi(tmp_path, segments=False)
    assert find_corpus(folder)[0] == "kaldi"
    save_cuts(load_cuts(write_utterances(tmp_path / "u")), folder)
    assert find_corpus(folder)[0] == "cuts"


def test_what_is_no_corpus_is_refused(tmp_path):
    with pytest.raises(ManifestError, match="must hold one of"):
        validate(tmp_path)
    with pytest.raises(ManifestError, match="no manifest"):
        validate(tmp_path / "missing")
    table = write_common_voice(tmp_path)
    (tmp_path / "train.tsv").write_bytes(table.read_bytes())
    with pytest.raises(ManifestError, match=r"train.tsv, validated.tsv"):
        validate(tmp_path)
