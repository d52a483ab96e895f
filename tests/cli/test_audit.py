# SPDX-License-Identifier: Apache-2.0
import json
import subprocess
import sys
import textwrap

import polars as pl
import pytest

from audit.reports import spoken
from evenear.audit import cohorts_by, gaps, read_table
from evenear.audit.report import parse_document
from evenear.cli import main


@pytest.fixture
def results(tmp_path):
    """A table on disk: texts, age, gender, accent."""
    path = tmp_path / "results.jsonl"
    spoken().frame.drop("words", "errors").write_ndjson(path)
    return path


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command line; give its exit code, standard output and standard error."""

    def call(*arguments):
        quick = [] if "--resamples" in arguments else ["--resamples", "200"]
        words = ["evenear", "audit", *map(str, arguments), *quick]
        monkeypatch.setattr(sys, "argv", words)
        try:
            main()
        except SystemExit as done:
            code = done.code or 0
        else:
            code = 0
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_text_goes_to_standard_output_and_notes_elsewhere(run, results):
    code, out, err = run(results, "--by", "age,gender", "--seed", "1")
    assert code == 0
    assert out.startswith("results makes ")
    assert "gender     female" in out
    assert "error" not in err


def test_json_has_the_numbers_of_the_python_interface(run, results):
    code, out, _ = run(results, "--by", "gender,age*gender", "--seed", "3", "--json")
    assert code == 0
    table = read_table(results)
    expected = gaps(table, cohorts_by(table, ["gender", "age×gender"]), seed=3, num_resamples=200)
    found = parse_document(out)
    assert found.cohorts == expected.rows
    assert found.overall == expected.overall


def test_reports_are_written_beside_what_is_printed(run, results, tmp_path):
    page, data = tmp_path / "report.html", tmp_path / "report.json"
    code, out, err = run(results, "--by", "gender", "--json", "--out", page, "--out", data)
    assert code == 0
    assert data.read_text(encoding="utf-8") == out
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert f"Report: {page}" in err


def test_a_gate_exits_with_1_when_it_holds(run, results):
    code, out, err = run(results, "--by", "gender", "--fail-if", "gap(gender) > 0.1")
    assert code == 1
    assert out
    assert "FAILED: gap(gender) > 0.1 (gap(gender) is 0." in err
    code, _, err = run(results, "--by", "gender", "--fail-if", "gap(gender) > 500%")
    assert code == 0
    assert "passed: gap(gender) > 500%" in err
    once = ["--fail-if", "gap(gender) > 5", "--fail-if", "worse() > 0"]
    assert run(results, "--by", "gender", *once)[0] == 1


def test_two_recognizers_are_compared(run, results, tmp_path):
    better = spoken().frame.with_columns(hypothesis=pl.col("reference"))
    better.drop("words", "errors").write_ndjson(tmp_path / "better.jsonl")
    code, out, err = run(
        results, "--by", "gender", "--compare", tmp_path / "better.jsonl",
        "--fail-if", "lost() > 0", "--json",
    )  # fmt: skip
    assert code == 0
    comparison = json.loads(out)["comparison"]
    assert (comparison["before"], comparison["after"]) == ("results", "better")
    assert comparison["overall"]["wer_after"] == 0.0
    assert "passed: lost() > 0" in err


def test_recognizers_with_one_file_name_are_told_apart_by_their_folder(run, tmp_path):
    for folder in ("old", "new"):
        (tmp_path / folder).mkdir()
        frame = spoken().frame.drop("words", "errors")
        frame.write_ndjson(tmp_path / folder / "r.jsonl")
    paths = [tmp_path / "old" / "r.jsonl", "--compare", tmp_path / "new" / "r.jsonl"]
    _, out, _ = run(*paths, "--by", "gender")
    assert "old/r (before), new/r (after):" in out
    _, out, _ = run(*paths, "--by", "gender", "--name", "small,large")
    assert "small (before), large (after):" in out


def test_texts_can_be_kept_out_of_the_report(run, results):
    _, out, _ = run(results, "--by", "gender", "--json", "--worst", "0")
    assert json.loads(out)["worst_utterances"] == []
    assert "alpha" not in out


def test_hypotheses_and_references_may_come_apart(run, tmp_path):
    frame = spoken().frame
    frame.select("utterance_id", pl.col("hypothesis").alias("text")).write_csv(tmp_path / "h.csv")
    frame.drop("words", "errors", "hypothesis", "gender").write_csv(tmp_path / "r.csv")
    frame.select("speaker", "gender").unique().write_csv(tmp_path / "who.csv")
    code, out, _ = run(
        tmp_path / "h.csv", "--reference", tmp_path / "r.csv", "--attributes", tmp_path / "who.csv",
        "--by", "gender", "--column", "hypothesis=text", "--json",
    )  # fmt: skip
    assert code == 0
    assert json.loads(out)["overall"]["errors"] == spoken().errors


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["--by", "gendr"], "There is no attribute 'gendr'", "'gender'"),
        ([], "Say what divides the speakers", "--by gender,age,accent,noise"),
        (["--by", "gender", "--fail-if", "gap(gender)"], "expected a comparison", "gap(gender) >"),
        (["--by", "gender", "--fail-if", "gip() > 1"], "no function 'gip'", "'gap'"),
        (["--by", "gender", "--out", "r.pdf"], ".html, .json, .md or .csv", "r.html"),
        (["--by", "gender", "--level", "2"], "level", None),
        (["--by", "gender", "--level", "0.9999"], "nothing can be confirmed with", "or a lower"),
        (["--by", "gender", "--to", "best"], "to", None),
        (["--by", "gender", "--normalizer", "basik"], "no normalizer 'basik'", "'basic'"),
        (["--by", "gender", "--duplicates", "last"], "--duplicates does not know", "'first'"),
        (["--by", "gender", "--column", "text"], "ours=theirs", "--column"),
        (["--by", "gender", "--name", ",a"], None, None),
        (["--by", "gender", "--adjust-for", "nois"], "no attribute 'nois'", "'noise'"),
        (["--discover", "geografy"], "does not know 'geografy'", "'geography'"),
        (["--discover", "census", "--confirm-fraction", "0"], "confirmed on other", "0.5"),
        (["--by", "gender", "--embeddings", "v.npz"], "for --discover voice", None),
        (["--by", "gender", "--seed", "many"], "--seed", None),
    ],
)
def test_mistakes_in_the_command_exit_with_2_and_say_what_to_do(
    run, results, arguments, message, hint
):
    code, out, err = run(results, *arguments)
    if message is None:
        assert code == 0
        return
    assert code == 2
    assert out == ""
    assert message in err
    assert hint is None or f"hint: {hint}" in err or hint in err.split("hint: ")[1]


def test_two_names_are_needed_for_two_recognizers(run, results):
    code, _, err = run(results, "--compare", results, "--by", "gender", "--name", "one")
    assert code == 2
    assert "--name must name 2 recognizers" in err


def test_what_cannot_be_read_exits_with_1_and_a_hint_in_the_words_of_the_command(run, tmp_path):
    code, _, err = run(tmp_path / "nothing.csv", "--by", "gender")
    assert code == 1
    assert "error: There is no file" in err
    (tmp_path / "odd.csv").write_text("id,words_said,output\na,b c,d\n", encoding="utf-8")
    code, _, err = run(tmp_path / "odd.csv", "--by", "gender")
    assert code == 1
    assert "--column " in err
    assert "columns={" not in err


@pytest.mark.parametrize(
    ("search", "message", "hint"),
    [
        ("geography", "columns latitude and longitude", "--column latitude=… --column longitude=…"),
        ("census", "needs a column zip", "--column zip=…"),
        ("voice", "needs embeddings", "Join them with --embeddings."),
    ],
)
def test_searches_that_lack_something_say_so_in_the_words_of_the_command(
    run, results, search, message, hint
):
    code, _, err = run(results, "--discover", search)
    assert code == 1
    assert message in err
    assert hint in err.split("hint: ")[1]
    assert "columns={" not in err


def test_the_text_says_that_numbers_come_from_a_part_of_the_speakers(run, results):
    _, out, _ = run(results, "--by", "gender", "--confirm-fraction", "0.25")
    assert "30 speakers.\nThese are 25 % of the speakers; cohorts and directions" in out
    _, out, _ = run(results, "--by", "gender")
    assert "of the speakers; cohorts" not in out


def test_a_table_of_two_utterances_gets_an_answer(run, tmp_path):
    """It once ended in an overflow."""
    for name, lines in {
        "ref": ["u1 a b c", "u2 d e f"],
        "text": ["u1 a b x", "u2 d e f"],
        "utt2spk": ["u1 s1", "u2 s2"],
        "spk2gender": ["s1 m", "s2 f"],
    }.items():
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    extras = ["--attributes", tmp_path / "utt2spk", "--attributes", tmp_path / "spk2gender"]
    command = [tmp_path / "text", "--reference", tmp_path / "ref", *extras, "--by", "gender"]
    code, out, _ = run(*command, "--out", tmp_path / "r.html", "--out", tmp_path / "r.json")
    assert code == 0
    assert "Overall WER 16.7 %: 1 error in 6 words, 2 speakers." in out
    code, _, _ = run(*command, "--min-speakers", "2", "--min-words", "1")
    assert code == 0


def test_a_gate_on_what_cannot_be_measured_fails(run, results):
    small = ["--by", "gender", "--min-speakers", "500", "--fail-if", "gap(gender) > 0.1"]
    code, _, err = run(results, *small)
    assert code == 1
    assert "cannot say gap(gender)" in err


def test_regions_are_found_and_confirmed_on_other_speakers(run, tmp_path):
    table = spoken()
    who = table.speakers["speaker"]
    longitude = pl.Series("longitude", [-120.0 + 50.0 * k / len(who) for k in range(len(who))])
    latitude = pl.Series("latitude", [30.0 + (7 * k) % 15 for k in range(len(who))])
    places = pl.DataFrame({"speaker": who, "longitude": longitude, "latitude": latitude})
    frame = table.frame.join(places, on="speaker")
    worse = pl.when(pl.col("longitude") > -90).then(pl.col("words")).otherwise(pl.col("errors"))
    frame = frame.with_columns(errors=worse)
    path = tmp_path / "places.parquet"
    frame.drop("reference", "hypothesis").write_parquet(path)
    code, out, _ = run(path, "--discover", "geography", "--json", "--seed", "1")
    assert code == 0
    values = json.loads(out)
    assert values["confirm_fraction"] == 0.5
    assert values["overall"]["speakers"] == 60
    found = [row for row in values["cohorts"] if row["found_by"] == "geography"]
    assert any(row["confirmed"] and row["gap"] > 0.5 for row in found)
    assert any(one["shapes"] for one in values["findings"])


def test_help_lists_every_search_and_the_gate(run):
    code, out, _ = run("--help")
    assert code == 0
    for word in ("--discover", "geography", "census", "voice", "--fail-if", "--compare"):
        assert word in out


def test_the_audit_needs_neither_torch_nor_lhotse(results, tmp_path):
    code = textwrap.dedent(
        """
        import sys

        for name in ("torch", "lhotse", "soundfile", "soxr", "sentencepiece", "safetensors"):
            sys.modules[name] = None
        import evenear.audit
        import evenear.audit.report
        from evenear.cli import main

        main()
        """
    )
    arguments = ["audit", str(results), "--by", "gender", "--out", str(tmp_path / "r.html")]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments, "--resamples", "200"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "gender     female" in done.stdout
    assert (tmp_path / "r.html").exists()


def test_places_divide_by_searches(run, tmp_path):
    frame = spoken().frame.with_columns(zip=pl.lit("02139"))
    frame.write_ndjson(tmp_path / "r.jsonl")
    code, _, err = run(tmp_path / "r.jsonl", "--by", "zip")
    assert code == 2
    assert "hint: Ask for --discover census." in err


def test_a_threshold_is_for_trials(run, results):
    code, _, err = run(results, "--by", "gender", "--threshold", "0.5")
    assert code == 2
    assert "--threshold is for --trials" in err
