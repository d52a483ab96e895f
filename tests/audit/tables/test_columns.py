# SPDX-License-Identifier: Apache-2.0
import polars as pl
import pytest

from evenear.audit.tables.columns import ALIASES, missing_columns, name_columns, with_our_names
from evenear.errors import TableError


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (["audio_filepath", "text", "pred_text"], ["utterance_id", "reference", "hypothesis"]),
        (["client_id", "path", "sentence"], ["speaker", "utterance_id", "reference"]),
        (["Utt ID", "SPK", "Ref", "Hyp"], ["utterance_id", "speaker", "reference", "hypothesis"]),
        (["lat", "lng", "Zip-Code"], ["latitude", "longitude", "zip"]),
    ],
)
def test_names_of_other_toolkits_are_known(theirs, ours):
    assert name_columns(theirs) == dict(zip(theirs, ours, strict=True))


def test_the_most_telling_name_wins_and_the_other_stays_as_it_is():
    assert name_columns(["text", "reference"]) == {"reference": "reference"}
    assert name_columns(["id", "path"]) == {"id": "utterance_id"}


def test_a_chosen_column_beats_the_usual_one():
    names = name_columns(["hypothesis", "rescored"], {"hypothesis": "rescored"})
    assert names == {"rescored": "hypothesis"}


def test_a_column_cannot_have_two_names():
    assert name_columns(["path"], {"speaker": "path"}) == {"path": "speaker"}


def test_choices_that_do_not_exist_name_the_nearest():
    with pytest.raises(TableError, match="pred_text"):
        name_columns(["pred_text"], {"hypothesis": "pred_txt"})
    with pytest.raises(TableError, match="hypothesis"):
        name_columns(["pred_text"], {"hypotesis": "pred_text"})


def test_every_name_is_an_alias_of_itself_and_of_nothing_else():
    aliases = [alias for names in ALIASES.values() for alias in names]
    assert len(aliases) == len(set(aliases))
    assert all(ours in names for ours, names in ALIASES.items())


def test_what_is_missing_is_said_with_what_is_there():
    error = missing_columns("results.csv", ["utt", "refrence"], ["reference", "hypothesis"])
    assert "results.csv has no column for reference and hypothesis" in str(error)
    assert "Did you mean 'refrence'?" in str(error)
    assert "'utt', 'refrence'" in str(error)


def test_a_chosen_column_takes_the_place_of_one_with_its_name():
    """It once crashed on two columns of one name."""
    frame = pl.DataFrame({"hypothesis": ["old"], "rescored": ["new"]})
    assert with_our_names(frame, {"hypothesis": "rescored"}).to_dicts() == [{"hypothesis": "new"}]


def test_two_columns_may_trade_names():
    frame = pl.DataFrame({"hypothesis": ["a"], "reference": ["b"]})
    chosen = {"hypothesis": "reference", "reference": "hypothesis"}
    assert with_our_names(frame, chosen).to_dicts() == [{"hypothesis": "b", "reference": "a"}]


def test_of_two_spellings_the_exact_one_wins():
    frame = pl.DataFrame({"Speaker": ["Ann"], "speaker": ["s1"]})
    assert with_our_names(frame).to_dicts() == [{"Speaker": "Ann", "speaker": "s1"}]
