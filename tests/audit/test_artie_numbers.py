# SPDX-License-Identifier: Apache-2.0
"""The guide quotes numbers of real recognizers: they must be those that were measured."""

import json
import re
from pathlib import Path

import pytest

from evenear.audit.report.words import interval, percent, signed

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guides" / "audit.md").read_text(encoding="utf-8")
RESULTS = json.loads((ROOT / "benchmarks" / "results" / "artie.json").read_text(encoding="utf-8"))


def _row(system: str, value: str) -> dict:
    rows = RESULTS["systems"][system]["cohorts"]
    return next(row for row in rows if row["value"] == value)


def _said(row: dict) -> str:
    return f"{signed(row['gap'])}, {'confirmed' if row['confirmed'] else 'not confirmed'}"


@pytest.mark.parametrize("system", RESULTS["systems"])
def test_the_table_of_the_guide_is_what_was_measured(system):
    wer = percent(RESULTS["systems"][system]["overall"]["wer"])
    cells = [system, wer, _said(_row(system, "indian")), _said(_row(system, "female"))]
    assert f"| {' | '.join(cells)} |" in GUIDE


def test_every_number_was_computed_twice():
    assert RESULTS["recomputed"]["different"] == 0
    assert f"{RESULTS['recomputed']['numbers']:,} numbers" in " ".join(GUIDE.split())


def test_the_sentences_of_the_guide_are_what_was_measured():
    text = " ".join(GUIDE.split())
    row = _row("amazon-en-US", "indian")
    assert RESULTS["systems"]["amazon-en-US"]["headline"] in text
    bounds = interval(row["gap_low"], row["gap_high"], with_sign=True)
    assert f"gap of {signed(row['gap'])} ({bounds})" in text
    rows = {row["value"]: row for row in RESULTS["comparison"]["cohorts"]}
    indian = rows["indian"]
    assert f"from {signed(indian['gap_before'])} to {signed(indian['gap_after'])}" in text
    assert f"changed by {signed(indian['change'])}" in text
    for value in ("us", "england"):
        assert re.search(rf"“?{value}\W.{{0,40}}{percent(rows[value]['change'])}", text)
    confirmed = [system for system in RESULTS["systems"] if _row(system, "female")["confirmed"]]
    assert all(_row(system, "female")["gap"] > 0 for system in RESULTS["systems"])
    assert len(confirmed) == 4
    assert "confirmed in four" in text
