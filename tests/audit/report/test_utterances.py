# SPDX-License-Identifier: Apache-2.0
from collections import Counter
from dataclasses import replace

import polars as pl

from audit.reports import report, rich_report, spoken
from evenear.audit import cohorts_by
from evenear.audit.report.utterances import worst_utterances
from evenear.metrics.words import normalize, word_errors


def _chosen(**settings):
    table = spoken()
    cohorts = cohorts_by(table, ["age", "gender"])
    return worst_utterances(table, cohorts, report().gaps, **settings)


def test_shown_words_have_the_errors_that_are_claimed():
    for one in _chosen():
        assert sum(said != heard for said, heard in one.pairs) == one.errors
        said = " ".join(said for said, _ in one.pairs if said)
        heard = " ".join(heard for _, heard in one.pairs if heard)
        assert word_errors(said, heard).errors == one.errors
        assert word_errors(said, heard).reference_words == one.words


def test_shown_words_are_those_of_the_table():
    texts = {row["utterance_id"]: row for row in spoken().frame.iter_rows(named=True)}
    for one in _chosen():
        row = texts[one.utterance_id]
        said = " ".join(said for said, _ in one.pairs if said)
        assert said == normalize(row["reference"], "basic")


def test_the_worst_confirmed_cohort_is_shown_and_no_speaker_fills_the_page():
    chosen = _chosen(per_cohort=4)
    assert sum(("gender", "female") in one.cohorts for one in chosen) >= 4
    speakers = dict(spoken().frame.select("utterance_id", "speaker").iter_rows())
    assert max(Counter(speakers[one.utterance_id] for one in chosen).values()) <= 4
    assert [one.errors for one in chosen] == sorted((one.errors for one in chosen), reverse=True)


def test_texts_can_be_left_out():
    assert _chosen(per_cohort=0) == ()


def test_a_table_without_texts_has_no_utterances_to_show():
    frame = spoken().frame.with_columns(reference=pl.lit(None, dtype=pl.String))
    table = replace(spoken(), frame=frame)
    cohorts = cohorts_by(table, ["gender"])
    assert worst_utterances(table, cohorts, report().gaps) == ()


def test_the_second_recognizer_stands_beside_the_first():
    shown = rich_report().worst_utterances
    assert shown
    assert all(one.other_pairs is not None and one.other_errors is not None for one in shown)
