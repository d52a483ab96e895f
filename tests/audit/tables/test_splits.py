# SPDX-License-Identifier: Apache-2.0
import polars as pl
import pytest

from audit.planted import planted
from evenear.audit import Table, split_speakers
from evenear.errors import CohortError


def names(table):
    return set(table.frame["speaker"])


@pytest.mark.parametrize("fraction", [0.01, 0.25, 0.5, 0.99])
def test_every_speaker_is_on_one_side(fraction):
    table = planted(40)
    discover, confirm = split_speakers(table, confirm_fraction=fraction, seed=3)
    assert not names(discover) & names(confirm)
    assert names(discover) | names(confirm) == names(table)
    assert discover.num_utterances + confirm.num_utterances == table.num_utterances
    assert len(names(confirm)) == min(max(1, round(40 * fraction)), 39)


def test_the_seed_decides_and_the_order_of_rows_does_not():
    table = planted(40)
    shuffled = Table(table.frame.sample(fraction=1.0, shuffle=True, seed=1))
    assert names(split_speakers(table, seed=1).confirm) == names(
        split_speakers(shuffled, seed=1).confirm
    )
    assert names(split_speakers(table, seed=1).confirm) != names(
        split_speakers(table, seed=2).confirm
    )


def test_a_table_that_grows_keeps_nearly_all_of_its_division():
    large, small = planted(200), planted(200)
    small = small.only_speakers(sorted(names(small))[:190])
    before, after = names(split_speakers(small).confirm), names(split_speakers(large).confirm)
    assert len(before - after) <= 10


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, 2.0])
def test_a_fraction_out_of_range_is_refused(fraction):
    with pytest.raises(CohortError, match="between 0 and 1"):
        split_speakers(planted(10), confirm_fraction=fraction)


def test_one_speaker_cannot_be_divided():
    table = planted(5)
    one = Table(table.frame.filter(pl.col("speaker") == "s0000"))
    with pytest.raises(CohortError, match="at least 2 speakers, got 1"):
        split_speakers(one)
