# SPDX-License-Identifier: Apache-2.0
"""A corpus in, numbers out: for people, for machines, and as a table for audits."""

import json
import resource
from pathlib import Path

import jiwer
import pytest

from evenear.audit import read_table
from evenear.evaluation import load_utterances, recognize, summarize
from evenear.streaming import Recognizer
from noise_corpus import rows_of, write_noise_corpus


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    return write_noise_corpus(tmp_path_factory.mktemp("noise"))


@pytest.fixture
def evaluate(evenear, model, manifest):
    def call(*arguments, data=manifest):
        return evenear("evaluate", model, data, *arguments)

    return call


TIMES = ("rtf", "chunk_p50_milliseconds", "chunk_p95_milliseconds", "chunk_max_milliseconds")


def test_json_has_the_numbers_of_the_python_interface(evaluate, model, manifest):
    done = evaluate("--json", "--beam", "1")
    assert (done.code, done.err) == (0, "")
    printed = json.loads(done.out)
    assert {"wer", "errors", "words", "low", "high", "rtf"} <= printed.keys()
    recognizer = Recognizer.load(model, beam=1, threads=1)
    expected = summarize(list(recognize(recognizer, load_utterances(manifest)))).to_dict()
    for name, value in expected.items():
        if name not in TIMES:
            assert printed[name] == value, name
    assert printed["model"] == str(model)
    assert all(printed[name] > 0 for name in TIMES)
    assert printed["low"] <= printed["wer"] <= printed["high"]


def test_counts_are_those_that_another_counter_finds_in_the_rows(evaluate, tmp_path):
    done = evaluate("--json", "--out", tmp_path / "new" / "rows.jsonl")
    printed = json.loads(done.out)
    lines = (tmp_path / "new" / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["utterance_id"] for row in rows] == [row["utterance_id"] for row in rows_of()]
    assert [row["gender"] for row in rows] == [row["gender"] for row in rows_of()]
    said = [row for row in rows if row["reference"]]
    found = jiwer.process_words(
        [row["reference"] for row in said], [row["hypothesis"] for row in said]
    )
    extra = sum(len(row["hypothesis"].split()) for row in rows if not row["reference"])
    errors = found.substitutions + found.deletions + found.insertions
    assert printed["errors"] == errors
    assert printed["silent_errors"] == extra
    assert printed["words"] == sum(len(row["reference"].split()) for row in said)
    assert printed["wer"] == pytest.approx(printed["errors"] / printed["words"])
    for row in said:
        alone = jiwer.process_words(row["reference"], row["hypothesis"])
        assert row["errors"] == alone.substitutions + alone.deletions + alone.insertions
    table = read_table(tmp_path / "new" / "rows.jsonl")
    assert (table.errors, table.words) == (printed["errors"], printed["words"])
    assert f"evenear audit {tmp_path / 'new' / 'rows.jsonl'} --by age" in done.err


def test_text_says_counts_rates_interval_and_times(evaluate):
    done, values = evaluate(), json.loads(evaluate("--json").out)
    assert (done.code, done.err) == (0, "")
    first, second, third, fourth = done.out.splitlines()
    assert "words a minute were heard; " in fourth
    assert f"{values['silent_errors']} of them in 1 utterance without words" in fourth
    assert "; final " in fourth
    assert f"CER {100 * values['cer']:.1f} %" in fourth
    assert ", longest " in third
    rates = [f"{100 * values[name]:.2f} %" for name in ("wer", "low", "high")]
    assert first.startswith(f"WER {rates[0]} [{rates[1]}, {rates[2]}]: {values['errors']} errors")
    assert f"in {values['words']} words" in first
    assert "6 utterances of 3 speakers" in second
    assert "speakers resampled" in second
    assert values["normalizer"] in second
    assert "real-time factor" in third
    assert "p95" in third


def test_cohorts_are_the_rows_of_each_value(evaluate, tmp_path):
    out = tmp_path / "rows.jsonl"
    printed = json.loads(evaluate("--json", "--by", "gender, age", "--out", out).out)
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [c["value"] for c in printed["cohorts"]["gender"]] == ["female", "male"]
    assert [c["value"] for c in printed["cohorts"]["age"]] == [9, 31, None]
    for attribute, cohorts in printed["cohorts"].items():
        for cohort in cohorts:
            own = [row for row in rows if row.get(attribute) == cohort["value"]]
            assert cohort["errors"] == sum(row["errors"] for row in own if row["words"])
            assert cohort["words"] == sum(row["words"] for row in own)
            assert cohort["utterances"] == len(own)
        assert sum(c["errors"] for c in cohorts) == printed["errors"]


def test_cohorts_in_words_stand_on_standard_output(evaluate):
    done = evaluate("--by", "age")
    assert done.err == ""
    lines = done.out.splitlines()[4:]
    assert [line.split(":")[0] for line in lines] == ["age = 9", "age = 31", "age = unknown"]
    assert all("1 speakers" in line for line in lines)


def test_where_nothing_was_said_the_rate_is_unknown_not_zero(evaluate, tmp_path):
    rows = [{**row, "text": ""} for row in rows_of()]
    done = evaluate("--by", "gender", data=write_noise_corpus(tmp_path, rows))
    assert done.code == 0
    assert done.out.startswith("WER unknown: ")
    assert "gender = female: WER unknown" in done.out
    assert "WER 0" not in done.out


def test_a_limit_is_spread_over_speakers(evaluate, tmp_path):
    done = evaluate("--limit", "3", "--json", "--out", tmp_path / "rows.jsonl")
    assert json.loads(done.out)["utterances"] == json.loads(done.out)["speakers"] == 3
    lines = (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(line)["speaker"] for line in lines} == {"ann", "bob", "cy"}


def test_a_condition_changes_what_is_heard_and_what_was_said(evaluate):
    printed = json.loads(evaluate("--condition", "silence", "--json").out)
    assert (printed["condition"], printed["wer"], printed["words"]) == ("silence", None, 0)
    assert printed["heard_words_per_minute"] is not None
    assert "words a minute were heard" in evaluate("--condition", "tone").out
    joined = json.loads(evaluate("--condition", "joined", "--json").out)
    assert joined["utterances"] == 6


def test_texts_may_be_compared_as_they_are(evaluate):
    printed = json.loads(evaluate("--normalizer", "none", "--json").out)
    assert printed["normalizer"].startswith("none-")
    printed = json.loads(evaluate("--normalizer", "basic+numbers", "--json").out)
    assert printed["normalizer"].startswith("basic-1+numbers-1")
    assert printed["cer"] is not None


def test_a_split_and_the_language_model_can_be_chosen(evaluate):
    done = evaluate("--split", "dev", "--beam", "2", "--lm-weight", "0.2", "--json")
    assert json.loads(done.out)["utterances"] == 2


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["--by", "gendr"], "There is no attribute 'gendr'", "'gender'"),
        (["--by", "gender,mood"], "There is no attribute 'mood'", "'age'"),
        (
            ["--out", "rows.csv"],
            "written as JSON lines to a .jsonl file, got 'rows.csv'",
            "rows.js",
        ),
        (["--lm-weight", "-1"], "lm_weight", None),
        (["--lm-weight", "nan"], "lm_weight", None),
        (["--beam", "0"], "--beam", None),
        (["--limit", "0"], "--limit", None),
        (["--condition", "tite"], "no condition 'tite'", None),
        (["--normalizer", "basik"], "no normalizer 'basik'", "basic"),
        (["--search", "grady"], "no search 'grady'", "greedy"),
        (["--chunk-milliseconds", "0"], "--chunk-milliseconds", None),
    ],
)
def test_mistakes_in_the_command_exit_with_2_before_the_work(evaluate, arguments, message, hint):
    done = evaluate(*arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert hint is None or hint in done.err.split("hint: ")[1]


def test_a_corpus_that_is_not_there_is_named_with_the_nearest_that_is(evaluate, manifest):
    done = evaluate(data=manifest.with_name("uterances.jsonl"))
    assert (done.code, done.out) == (1, "")
    assert f"error: There is no {manifest.with_name('uterances.jsonl')}." in done.err
    assert f"hint: The nearest that is there: {manifest}" in done.err


def test_a_broken_row_is_named(evaluate, tmp_path):
    manifest = write_noise_corpus(tmp_path)
    lines = manifest.read_text(encoding="utf-8").splitlines()
    manifest.write_text("\n".join([*lines[:3], "{not json", *lines[4:]]), encoding="utf-8")
    done = evaluate(data=manifest)
    assert (done.code, done.out) == (1, "")
    assert "utterances.jsonl:4" in done.err
    assert "data validate" in done.err


def test_an_empty_manifest_is_refused(evaluate, tmp_path):
    (tmp_path / "utterances.jsonl").touch()
    done = evaluate(data=tmp_path)
    assert done.code == 1
    assert "must hold at least one row" in done.err


def test_missing_audio_is_counted_before_the_work(evaluate, tmp_path):
    manifest = write_noise_corpus(tmp_path)
    (tmp_path / "u5.wav").unlink()
    done = evaluate(data=manifest)
    assert (done.code, done.out) == (1, "")
    assert "1 of 6 utterances" in done.err
    assert "'u5'" in done.err
    assert f"hint: evenear data validate {manifest}" in done.err


def test_an_unknown_split_lists_those_there_are(evaluate):
    done = evaluate("--split", "tset")
    assert done.code == 1
    assert "no utterance in split 'tset'" in done.err
    assert "It has: dev, test." in done.err


def test_a_folder_in_the_place_of_the_rows_is_noticed_before_the_work(evaluate, tmp_path):
    (tmp_path / "rows.jsonl").mkdir()
    done = evaluate("--out", tmp_path / "rows.jsonl", data=tmp_path / "never-looked-at")
    assert done.code == 1
    assert "There is no" in done.err
    done = evaluate("--out", tmp_path / "rows.jsonl")
    assert (done.code, done.out) == (1, "")
    assert "must be a file to write, but it is a folder" in done.err


def test_a_full_disk_leaves_the_rows_of_before(evaluate, tmp_path):
    out = tmp_path / "rows.jsonl"
    out.write_text("old", encoding="utf-8")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))
    try:
        done = evaluate("--json", "--out", out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert done.code == 1
    assert "rows.jsonl cannot be written" in done.err
    assert out.read_text(encoding="utf-8") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]
    assert json.loads(done.out)["words"] > 0, "what was computed is not lost with the disk"
