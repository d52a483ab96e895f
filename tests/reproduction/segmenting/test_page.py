# SPDX-License-Identifier: Apache-2.0
"""The page holds every claim and says what is missing."""

from evenear.reproduction.segmenting.page import headline, render
from evenear.reproduction.segmenting.results import summarize
from reproduction.segmenting.test_results import rows

SETTING = {
    "train_recordings": 10,
    "train_speakers": 4,
    "test_recordings": 5,
    "test_speakers": 2,
    "mixtures": 100,
    "updates": 3,
    "first_updates": 3,
}


def test_the_page_holds_every_claim_and_says_what_is_missing():
    found = summarize({"sts": {0: rows()}, "fastemit": {0: rows(errors=-2)}})
    results = {"command": "evenear reproduce sts", "setting": SETTING, **found}
    page = render(results)
    assert page.startswith("<!doctype html>")
    assert "FastEmit lowers the word error rate" in page
    assert "Not trained yet" in page
    assert "fewer than three seeds" in page
    assert "1: holds" in headline(results) or "2: holds" in headline(results)
