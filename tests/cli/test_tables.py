# SPDX-License-Identifier: Apache-2.0
"""Tables are read as the options say, and hints speak of options, not of arguments."""

import pytest

from evenear.cli.tables import Source, as_options, one_of
from evenear.errors import ConfigError


def source(**changes) -> Source:
    settings = {
        "reference": None,
        "attributes": (),
        "normalizer": "basic",
        "duplicates": "error",
        "columns": (),
    }
    return Source(**{**settings, **changes})


def test_columns_are_renamed_by_pairs():
    assert source(columns=("hypothesis = out", "speaker=who")).renamed == {
        "hypothesis": "out",
        "speaker": "who",
    }


@pytest.mark.parametrize("pair", ["hypothesis", "=out", "hypothesis="])
def test_a_pair_that_is_none_is_refused(pair):
    with pytest.raises(ConfigError, match="takes ours=theirs"):
        assert source(columns=(pair,)).renamed


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"normalizer": "basics"}, "no normalizer 'basics'"),
        ({"duplicates": "last"}, "--duplicates does not know 'last'"),
    ],
)
def test_words_that_nobody_knows_are_refused_before_anything_is_read(tmp_path, changes, said):
    with pytest.raises(ConfigError, match=said):
        source(**changes).read(tmp_path / "missing.jsonl", "one")


def test_hints_name_options():
    assert as_options(None) is None
    assert as_options("Give duplicates='first'.") == "Give --duplicates first."
    hint = "Say columns={'hypothesis': '...', 'speaker': '...'}."
    assert as_options(hint) == "Say --column hypothesis=… --column speaker=…."


def test_a_known_word_passes():
    one_of("--discover", "voice", ("voice", "census"))
