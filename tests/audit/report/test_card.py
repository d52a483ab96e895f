# SPDX-License-Identifier: Apache-2.0
"""The section of a card: every cohort with its interval, and nothing that was not measured."""

import numpy as np
import polars as pl

from evenear.audit import Table, cohorts_by, compare, gaps
from evenear.audit.report.card import TITLE, who_it_serves, with_section


def table(rates: dict[str, float], name: str = "model", speakers: int = 20) -> Table:
    rng = np.random.default_rng(0)
    rows = [
        (f"{gender}{k}-1", f"{gender}{k}", 200, int(rng.binomial(200, rate)), gender)
        for gender, rate in rates.items()
        for k in range(speakers if gender != "rare" else 2)
    ]
    frame = pl.DataFrame(
        rows, schema=["utterance_id", "speaker", "words", "errors", "gender"], orient="row"
    )
    return Table(frame, name=name)


def test_every_measured_cohort_has_a_row_with_its_interval():
    found_in = table({"female": 0.1, "male": 0.3})
    found = gaps(found_in, cohorts_by(found_in, ["gender"]))
    text = who_it_serves(found, on="a test")
    assert text.startswith(TITLE)
    for row in found.rows:
        assert f"| gender {row.value} | 20 | 4,000 |" in text
    assert "It fails gender male most" in text
    assert "rest" in text


def test_small_cohorts_are_named_without_numbers():
    found_in = table({"female": 0.1, "male": 0.1, "rare": 0.9})
    text = who_it_serves(gaps(found_in, cohorts_by(found_in, ["gender"])), on="a test")
    assert "Too few speakers to say anything of: gender rare" in text
    assert "| gender rare |" not in text


def test_where_nothing_is_confirmed_that_is_said():
    found_in = table({"female": 0.2, "male": 0.2})
    text = who_it_serves(gaps(found_in, cohorts_by(found_in, ["gender"])), on="a test")
    assert "No cohort is confirmed to fare worse" in text


def test_a_repaired_model_shows_what_it_was_before():
    old, new = table({"female": 0.1, "male": 0.3}, "old"), table({"female": 0.2, "male": 0.15})
    cohorts = cohorts_by(old, ["gender"])
    text = who_it_serves(gaps(new, cohorts), compare(old, new, cohorts), on="a test")
    assert "WER before" in text
    assert "the model before (old)" in text
    assert "Confirmed to have got worse: gender female" in text


def test_a_section_replaces_its_older_self_and_nothing_else():
    card = "# model\n\nWords.\n\n## Who this model serves\n\nOld.\n\n## Limits\n\nMany.\n"
    found = with_section(card, "## Who this model serves\n\nNew.\n")
    assert "Old" not in found
    assert found.startswith("# model\n\nWords.")
    assert "## Limits\n\nMany." in found
    assert found.endswith("New.\n")
    assert with_section(found, "## Who this model serves\n\nNew.\n") == found
    assert with_section("", "## A\n") == "## A\n"
