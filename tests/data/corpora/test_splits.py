# SPDX-License-Identifier: Apache-2.0
"""Splits that are never trained on, as corpora name them."""

import pytest

from evenear.data.corpora.splits import in_words, is_held_back


@pytest.mark.parametrize(
    "split",
    [
        *("test", "Test", "test-clean", "test_other", "tests", "LibriSpeech/test-clean/"),
        *("dev", "dev-other", "development", "eval", "eval2000", "evaluation"),
        *("valid", "validation", "validated"),
    ],
)
def test_what_is_for_testing_or_choosing_is_held_back(split):
    assert is_held_back(split)


@pytest.mark.parametrize("split", [None, "", "train", "train-clean-100", "contest", "other", 3])
def test_the_rest_is_not(split):
    assert not is_held_back(split)


def test_what_was_left_out_is_said_with_most_of_it_first():
    assert in_words({"without text": 2, "of the split test": 1800}) == (
        "1,800 of the split test, 2 without text"
    )
    assert in_words({}) == ""
