# SPDX-License-Identifier: Apache-2.0
"""Counts add, characters are counted, and delays are told by their middle and their worst."""

from dataclasses import replace
from pathlib import Path

import pytest

from evenear.audit import cohorts_by, gaps, overall, read_table
from evenear.data.corpora.manifests import Utterance
from evenear.evaluation import Row, cohort_intervals, summarize, write_rows
from evenear.metrics.latency import ComputeTime
from evenear.metrics.words import word_errors


def row(reference: str, hypothesis: str, *delays: float, seconds: float = 30.0) -> Row:
    compute = ComputeTime(seconds, (0.1, 0.3))
    errors = word_errors(reference, hypothesis)
    return Row("u", "ann", reference, hypothesis, errors, seconds, compute, {}, delays)


def test_a_row_of_an_utterance_normalizes_both_sides_and_counts():
    said = Utterance("u", "ann", "It is, it is.", Path("a.wav"), 0.0, 2.0, {"age": 7})
    compute = ComputeTime(2.0, (0.1,))
    found = Row.of(said, "it's it is", compute, normalizer="basic", final_delays=(0.5,))
    assert (found.reference, found.hypothesis) == ("IT IS IT IS", "IT'S IT IS")
    assert found.words == word_errors("IT IS IT IS", "IT'S IT IS")
    assert (found.words.errors, found.seconds, found.final_delays) == (2, 2.0, (0.5,))
    assert found.to_dict()["age"] == 7


def test_errors_of_characters_do_not_count_spaces():
    counts = row("IT IS", "ITS").characters
    assert (counts.errors, counts.reference_words) == (1, 4)
    result = summarize([row("IT IS", "ITS"), row("A", "A")])
    assert result.to_dict()["cer"] == pytest.approx(1 / 5)


def test_delays_and_chunks_are_told_by_their_worst_too():
    numbers = summarize([row("A B", "A B", 1.0, 3.0), row("C", "C", 2.0)]).to_dict()
    assert numbers["final_delay_p50_seconds"] == 2.0
    assert numbers["final_delay_max_seconds"] == 3.0
    assert numbers["chunk_max_milliseconds"] == pytest.approx(300)
    assert summarize([]).to_dict()["final_delay_max_seconds"] is None


def test_words_heard_where_nothing_was_said_are_counted_by_the_minute():
    numbers = summarize([row("", "IT IT IT"), row("", "")]).to_dict()
    assert numbers["heard_words_per_minute"] == 3.0
    assert numbers["wer"] is None
    assert (numbers["silent_utterances"], numbers["silent_errors"]) == (2, 3)


def test_an_audit_of_the_same_rows_shows_the_same_rate_and_interval(tmp_path: Path):
    heard = ["A B C", "A B", "A X C D", "", "X"]
    rows = [
        replace(
            row("" if k == 7 else "A B C", heard[k % 5]),
            utterance_id=f"u{k}",
            speaker=f"s{9 - k % 7}",
        )
        for k in range(35)
    ]
    write_rows(rows, tmp_path / "rows.jsonl")
    found, mine = overall(read_table(tmp_path / "rows.jsonl")), summarize(rows).to_dict()
    assert mine["silent_utterances"] == 1
    assert (found.wer, found.low, found.high) == (mine["wer"], mine["low"], mine["high"])
    assert mine["low"] < mine["wer"] < mine["high"]


def test_cohorts_have_the_intervals_that_an_audit_shows(tmp_path: Path):
    heard = ["A B C", "A B", "A X C D", "X"]
    rows = [
        replace(
            row("A B C", heard[(k + k // 9) % 4]),
            utterance_id=f"u{k}",
            speaker=f"s{k % 12:02d}",
            attributes={"room": "near" if k % 12 < 5 else "far"},
        )
        for k in range(60)
    ]
    write_rows(rows, tmp_path / "rows.jsonl")
    table = read_table(tmp_path / "rows.jsonl")
    audited = gaps(table, cohorts_by(table, ["room"]), min_speakers=2, min_words=9)
    mine = cohort_intervals(
        [[one for one in rows if one.attributes["room"] == row.value] for row in audited.rows]
    )
    for own, theirs in zip(mine, audited.rows, strict=True):
        assert (own.rate, own.low, own.high) == (theirs.wer, theirs.low, theirs.high)
        assert own.low < own.rate < own.high
