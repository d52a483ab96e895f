# SPDX-License-Identifier: Apache-2.0
import polars as pl
import pytest

from audit.planted import planted
from evenear.audit import Table
from evenear.audit.tables.pairing import paired
from evenear.errors import TableError


def test_other_references_cannot_be_compared():
    table = planted(30)
    other = Table(table.frame.with_columns(pl.col("words") + 1))
    with pytest.raises(TableError, match="same references"):
        paired(table, other)


def test_utterances_of_other_speakers_cannot_be_compared():
    table = planted(30)
    turned = table.frame.with_columns(pl.col("speaker").reverse())
    with pytest.raises(TableError, match=r"'u00000': 's0000' and 's0029'"):
        paired(table, Table(turned))
    nameless = table.frame.with_columns(speaker="utterance_id")
    first, second, left_out = paired(table, Table(nameless))
    assert first.frame.equals(second.frame)
    assert left_out == []


def test_nothing_in_common_cannot_be_compared():
    table = planted(30)
    other = Table(table.frame.with_columns(pl.col("utterance_id") + ".wav"))
    with pytest.raises(TableError, match=r"'u00000' against 'u00000.wav'"):
        paired(table, other)


def test_only_what_both_have_is_kept_in_the_order_of_the_first():
    table = planted(30)
    part = Table(table.frame.sample(fraction=0.8, seed=1, shuffle=True))
    first, second, left_out = paired(table, part)
    assert first.frame["utterance_id"].to_list() == second.frame["utterance_id"].to_list()
    assert set(first.frame["utterance_id"]) == set(part.frame["utterance_id"])
    assert first.frame["utterance_id"].is_sorted()
    assert "left out" in left_out[0]
