# SPDX-License-Identifier: Apache-2.0
"""Corpora come in from every tool, and every broken row is named."""

import json
from pathlib import Path

import pytest

from evenear.data.corpora.manifests import load_cuts, utterance
from tiny_corpora import (
    write_common_voice,
    write_json_lines,
    write_kaldi,
    write_librispeech,
    write_lines,
    write_nemo,
    write_utterances,
)


def kaldi(folder: Path) -> Path:
    return write_kaldi(folder, segments=True)


CORPORA = {
    "utterances": (write_utterances, 3),
    "librispeech": (write_librispeech, 4),
    "kaldi": (kaldi, 2),
    "nemo": (write_nemo, 3),
    "commonvoice": (write_common_voice, 2),
}


@pytest.mark.parametrize("kind", CORPORA)
def test_a_corpus_comes_in_and_is_valid(evenear, tmp_path, kind):
    write, count = CORPORA[kind]
    source = write(tmp_path / "corpus")
    out = tmp_path / "new" / "cuts.jsonl.gz"
    done = evenear("data", "import", kind, source, "--out", out)
    assert (done.code, done.out) == (0, f"{out}\n")
    assert f"{count} utterances" in done.err
    assert f"evenear data validate {out}" in done.err
    cuts = list(load_cuts(out))
    assert len(cuts) == count
    assert all(utterance(cut).audio.is_file() for cut in cuts)
    before, after = (evenear("data", "validate", path).out for path in (source, out))
    assert before.splitlines()[-1] == after.splitlines()[-1]
    assert after.splitlines()[-1].startswith(f"{count} rows: ")


def test_a_corpus_without_a_flaw_is_valid(evenear, tmp_path):
    done = evenear("data", "validate", write_utterances(tmp_path))
    assert (done.code, done.err) == (0, "")
    assert done.out == "3 rows: 3 utterances of 2 speakers, 0.00 hours; 0 problems\n"


def test_cuts_come_in_again(evenear, tmp_path):
    source = write_utterances(tmp_path / "corpus")
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    assert evenear("data", "import", "utterances", source, "--out", first).code == 0
    assert evenear("data", "import", "lhotse", first, "--out", second).code == 0
    assert first.read_bytes() == second.read_bytes()


def test_a_folder_gets_a_manifest_of_the_usual_name(evenear, tmp_path):
    source = write_utterances(tmp_path / "corpus")
    done = evenear("data", "import", "utterances", source, "--out", tmp_path)
    assert done.out == f"{tmp_path / 'cuts.jsonl.gz'}\n"


@pytest.fixture
def broken(tmp_path) -> Path:
    """Of three rows, one without audio, one with an id that was there, one that is no JSON."""
    source = write_utterances(tmp_path / "corpus")
    rows = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    rows[1]["audio"] = "audio/none.wav"
    rows[2]["utterance_id"] = "u1"
    write_json_lines(source, rows)
    with source.open("a", encoding="utf-8") as file:
        file.write("{\n")
    return source


def test_every_broken_row_is_named_and_the_code_says_1(evenear, broken):
    done = evenear("data", "validate", broken)
    assert done.code == 1
    *problems, last = done.out.splitlines()
    assert [problem.split(" ")[0].rstrip(":") for problem in problems] == [
        "utterances.jsonl:2",
        "utterances.jsonl:3",
        "utterances.jsonl:4",
    ]
    assert "There is no file" in problems[0]
    assert "was there before" in problems[1]
    assert "4 rows: 1 utterances of 1 speakers" in last
    assert "3 problems" in last


def test_the_report_for_machines_has_the_same(evenear, broken):
    done = evenear("data", "validate", broken, "--json")
    assert done.code == 1
    report = json.loads(done.out)
    assert (report["rows"], report["utterances"], report["speakers"]) == (4, 1, 1)
    kinds = [(problem["row"], problem["kind"]) for problem in report["problems"]]
    assert kinds == [(2, "missing-file"), (3, "duplicate-id"), (4, "json")]


def test_files_that_break_off_are_found_by_decoding(evenear, tmp_path):
    source = write_utterances(tmp_path)
    audio = tmp_path / "audio" / "u2.wav"
    audio.write_bytes(audio.read_bytes()[:-8000])
    plain, thorough = (
        evenear("data", "validate", source, *options, "--json") for options in ([], ["--decode"])
    )
    assert thorough.code == 1
    assert [p["row"] for p in json.loads(thorough.out)["problems"]] == [2]
    assert plain.code in (0, 1), "a header may or may not give it away"


def test_a_broken_row_stops_an_import_and_writes_nothing(evenear, broken, tmp_path):
    done = evenear("data", "import", "utterances", broken, "--out", tmp_path / "cuts.jsonl")
    assert (done.code, done.out) == (1, "")
    assert "utterances.jsonl:2" in done.err
    assert not (tmp_path / "cuts.jsonl").exists()


@pytest.mark.parametrize("command", ["import", "validate"])
def test_a_corpus_that_is_not_there_is_named_with_the_nearest(evenear, tmp_path, command):
    write_utterances(tmp_path / "speech")
    wanted = tmp_path / "speach"
    words = ["import", "utterances", wanted, "--out", tmp_path / "c.jsonl"]
    done = evenear("data", *(words if command == "import" else ["validate", wanted]))
    assert (done.code, done.out) == (1, "")
    assert f"There is no {wanted}." in done.err
    assert f"hint: The nearest that is there: {tmp_path / 'speech'}" in done.err


@pytest.mark.parametrize("kind", ["utterances", "nemo", "librispeech", "kaldi", "commonvoice"])
def test_a_corpus_of_another_kind_is_an_error_not_a_crash(evenear, tmp_path, kind):
    (tmp_path / "corpus").mkdir()
    folder, file = tmp_path / "corpus", write_lines(tmp_path / "a.txt", ["HELLO"])
    for source in (folder, file):
        done = evenear("data", "import", kind, source, "--out", tmp_path / "c.jsonl")
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith("error: ")
        assert str(source) in done.err or source.name in done.err


def test_kinds_and_names_that_are_not_understood(evenear, tmp_path):
    source = write_utterances(tmp_path)
    done = evenear("data", "import", "librespeech", source, "--out", "c.jsonl")
    assert done.code == 2
    assert "librispeech" in done.err
    done = evenear("data", "import", "utterances", source, "--out", tmp_path / "c.txt")
    assert done.code == 2
    assert "written to .jsonl or .jsonl.gz, got 'c.txt'" in done.err
    assert evenear("data").code == 2


def test_an_empty_corpus_is_not_valid(evenear, tmp_path):
    (tmp_path / "utterances.jsonl").touch()
    done = evenear("data", "validate", tmp_path)
    assert done.code == 1
    assert "There are no rows" in done.out


def test_conversations_are_simulated_from_a_folder(evenear, tmp_path):
    write_utterances(tmp_path / "in")
    args = ["--mixtures", "2", "--seed", "3", "--set", "num_turns=[2, 2]"]
    result = evenear("data", "simulate", tmp_path / "in", "--out", tmp_path / "out", *args)
    assert result.code == 0
    assert (tmp_path / "out" / "reference.seglst.json").is_file()
    assert len(list((tmp_path / "out" / "audio").glob("*.wav"))) == 2
    assert len(load_cuts(tmp_path / "out")) == 2


def test_a_split_that_is_not_there_is_refused(evenear, tmp_path):
    write_utterances(tmp_path / "in")
    result = evenear(
        "data", "simulate", tmp_path / "in", "--out", tmp_path / "out", "--split", "nowhere"
    )
    assert result.code == 1
    assert "It has: " in result.err


def test_other_conversations_replace_those_that_were_there(evenear, tmp_path):
    write_utterances(tmp_path / "in")
    for seed, number in ((3, 2), (4, 1)):
        args = ("--mixtures", number, "--seed", seed, "--set", "num_turns=[2, 2]")
        assert evenear("data", "simulate", tmp_path / "in", "--out", tmp_path, *args).code == 0
    assert [path.name for path in (tmp_path / "audio").glob("*.wav")] == ["mix-4-0000.wav"]


def test_bad_rows_are_skipped_on_request_and_listed(evenear, tmp_path, broken):
    out = tmp_path / "cuts.jsonl.gz"
    assert evenear("data", "import", "utterances", broken, "--out", out).code == 1
    done = evenear("data", "import", "utterances", broken, "--out", out, "--skip-bad")
    assert done.code == 0
    assert len(list(load_cuts(out))) == 1
    assert done.err.count("skipped utterances.jsonl:") == 3
    assert "3 rows were skipped" in done.err


def test_a_corpus_without_a_good_row_is_an_error(evenear, tmp_path):
    source = write_lines(tmp_path / "utterances.jsonl", ["{", "["])
    done = evenear(
        "data", "import", "utterances", source, "--out", tmp_path / "c.jsonl", "--skip-bad"
    )
    assert done.code == 1
    assert "no utterance that could be read" in done.err


def test_cuts_are_read_whole(evenear, tmp_path):
    source = write_utterances(tmp_path / "corpus")
    out = tmp_path / "cuts.jsonl"
    done = evenear("data", "import", "lhotse", source, "--out", out, "--skip-bad")
    assert done.code == 2
    assert "data validate" in done.err
