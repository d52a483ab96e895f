# SPDX-License-Identifier: Apache-2.0
import polars as pl

from audit.planted import planted
from evenear.audit import Table, cohorts_by, gaps
from evenear.audit.statistics.caveats import caveats, without_values


def with_rows(table: Table, rows: list[dict]) -> Table:
    """The table with rows added; columns that are not named are null."""
    return Table(pl.concat([table.frame, pl.DataFrame(rows)], how="diagonal_relaxed"))


def silence(number: int, errors: int, **columns) -> list[dict]:
    columns = {"words": 0, "errors": errors, **columns}
    return [{"utterance_id": f"z{k}", "speaker": f"room{k % 5}", **columns} for k in range(number)]


def test_a_usual_table_needs_no_words():
    table = planted(100)
    assert caveats(table, cohorts_by(table, ["gender", "age", "noise"])) == ()


def test_utterances_without_words_are_told_and_count_in_no_rate():
    """Silence once made a cohort confirmed worse that was served better."""
    table = planted(120, effects={("gender", "male"): 2.0})
    loud = with_rows(table, silence(40, 60, gender="female"))
    cohorts = cohorts_by(loud, ["gender"])
    before = gaps(table, cohorts_by(table, ["gender"]), num_resamples=200)
    after = gaps(loud, cohorts, num_resamples=200, adjust_for=["utterance_length"])
    for row, same in zip(before.rows, after.rows, strict=True):
        assert (same.wer, same.gap, same.p_adjusted) == (row.wer, row.gap, row.p_adjusted)
        assert (same.gap_low, same.speakers) == (row.gap_low, row.speakers)
        assert (same.adjusted_ratio > 1.0) == (same.gap > 0.0)
    assert after.worst.value == "male"
    female, male = after.rows
    assert (female.silent_utterances, female.silent_errors) == (40, 2400)
    assert (male.silent_utterances, male.silent_errors) == (0, 0)
    (line,) = caveats(loud, cohorts)
    assert line == (
        "40 utterances have no reference words and count in no rate; 2,400 words were recognized "
        "in them (2,400 of them in gender “female”)."
    )
    (one,) = caveats(with_rows(table, silence(1, 0)), cohorts)
    assert one.startswith("1 utterance has no reference words and counts in no rate; 0 words")


def test_a_cohort_of_nothing_but_silence_is_listed_without_numbers():
    table = with_rows(planted(60), silence(20, 3, gender="unsaid"))
    rows = {row.value: row for row in gaps(table, cohorts_by(table, ["gender"])).rows}
    assert rows["unsaid"].suppressed
    assert (rows["unsaid"].speakers, rows["unsaid"].silent_errors) == (0, 60)


def test_a_few_speakers_with_two_values_are_named():
    table = planted(100)
    odd = table.frame.filter(pl.col("speaker").is_in(["s0003", "s0008"])).unique("speaker")
    names = odd["utterance_id"].to_list()
    other = pl.when(pl.col("utterance_id").is_in(names)).then(pl.lit("zz")).otherwise("gender")
    mixed = Table(table.frame.with_columns(other.alias("gender")))
    (line,) = caveats(mixed, cohorts_by(mixed, ["gender", "noise"]))
    assert "gender changes within 2 of 100 speakers, such as 's0003' (“" in line


def test_an_attribute_without_any_value_is_named():
    table = planted(60)
    empty = pl.lit(None, dtype=pl.String).alias("gender")
    table = Table(table.frame.with_columns(empty))
    cohorts = cohorts_by(table, ["gender", "age"])
    assert without_values(table, cohorts) == ("gender",)
    assert caveats(table, cohorts) == (
        "gender has no value in any utterance: nothing can be said of its cohorts.",
    )


def test_a_speaker_with_most_of_the_words_is_named():
    table = planted(60)
    many = pl.when(pl.col("speaker") == "s0007").then(pl.col("words") * 60).otherwise("words")
    table = Table(table.frame.with_columns(many.alias("words")))
    (line,) = caveats(table, cohorts_by(table, ["gender"]))
    assert line.startswith("Speaker 's0007' says ")


def test_a_few_speakers_who_carry_all_uncertainty_are_told():
    table = planted(200)
    few = pl.col("speaker") < "s0003"
    table = Table(
        table.frame.with_columns(pl.when(few).then("words").otherwise("errors").alias("errors"))
    )
    (line,) = caveats(table, cohorts_by(table, ["gender"]))
    assert line.startswith("Of 200 speakers, about ")
