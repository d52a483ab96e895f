# SPDX-License-Identifier: Apache-2.0
import polars as pl
import pytest

from audit.planted import planted
from evenear.audit import Table, cohorts_by, gaps
from evenear.errors import TableError


def test_attributes_are_the_columns_that_every_table_does_not_have():
    table = planted(20)
    assert table.attributes == ("gender", "age", "accent", "noise")


def test_speakers_are_sorted_and_their_counts_add_up():
    table = planted(20)
    assert table.speakers["speaker"].is_sorted()
    assert table.speakers["words"].sum() == table.words == table.frame["words"].sum()
    assert table.speakers["utterances"].sum() == table.num_utterances
    assert table.wer == table.errors / table.words


def test_only_speakers_keeps_all_rows_of_those_speakers():
    table = planted(20)
    kept = table.only_speakers(["s0003", "s0007", "nobody"])
    assert set(kept.frame["speaker"]) == {"s0003", "s0007"}
    assert kept.num_utterances == table.frame["speaker"].is_in(["s0003", "s0007"]).sum()


def test_attributes_are_joined_by_speaker_and_keep_every_row_in_order():
    table = planted(20)
    region = pl.DataFrame({"speaker": ["s0001"], "region": ["north"]})
    joined = table.with_attributes(region)
    assert joined.frame["utterance_id"].to_list() == table.frame["utterance_id"].to_list()
    assert set(joined.frame.filter(pl.col("speaker") == "s0001")["region"]) == {"north"}
    assert joined.frame.filter(pl.col("speaker") != "s0001")["region"].null_count() == (
        joined.num_utterances - joined.frame.filter(pl.col("speaker") == "s0001").height
    )


def test_a_speaker_with_two_rows_of_attributes_is_named():
    twice = pl.DataFrame({"speaker": ["s0001", "s0001"], "region": ["north", "south"]})
    with pytest.raises(TableError, match="s0001"):
        planted(20).with_attributes(twice)


def test_attributes_without_their_key_name_the_nearest_column():
    with pytest.raises(TableError, match="speakers"):
        planted(20).with_attributes(pl.DataFrame({"speakers": ["s0001"]}))
    with pytest.raises(TableError, match="speaker or utterance_id"):
        planted(20).with_attributes(pl.DataFrame({"session": ["x"]}), on="session")


def test_an_unknown_attribute_names_the_nearest():
    with pytest.raises(TableError, match="gender"):
        planted(20).require_attribute("gendre")


def test_there_is_no_rate_without_words():
    frame = planted(3).frame.with_columns(pl.lit(0, dtype=pl.Int64).alias("words"))
    assert Table(frame).wer is None


def test_lists_are_no_attribute():
    table = planted(12)
    tagged = Table(table.frame.with_columns(tags=pl.concat_list("gender", "age")))
    with pytest.raises(TableError, match="'tags' holds lists"):
        cohorts_by(tagged, ["tags"])
    cohorts = cohorts_by(tagged, ["gender"])
    with pytest.raises(TableError, match="'tags' holds lists"):
        gaps(tagged, cohorts, adjust_for=["tags"], num_resamples=100, min_speakers=2)
