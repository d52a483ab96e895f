# SPDX-License-Identifier: Apache-2.0
import json
from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl
import pytest

from audit.browser import chromium, open_browser
from evenear.audit.report.verification import (
    render_verification_page,
    verification_headline,
    verification_json,
    verification_text,
)
from evenear.audit.verification.grouperrors import VerificationAudit
from evenear.audit.verification.groups import audit_verification
from evenear.audit.verification.trials import Trials, trials_of


def made_up_trials(shift: float = -1.2, num_speakers: int = 60) -> Trials:
    """Scores of target trials lie lower for one gender, by `shift`."""
    rng = np.random.default_rng(0)
    gender = rng.choice(["female", "male"], num_speakers)
    rows = []
    for k in range(num_speakers):
        low = shift if gender[k] == "female" else 0.0
        rows += [(2.5 + low + rng.normal(), f"s{k}", f"s{k}", 1) for _ in range(6)]
        others = rng.choice(num_speakers, 20)
        rows += [(rng.normal(), f"s{k}", f"s{j}", 0) for j in others if j != k]
    frame = pl.DataFrame(rows, schema=["score", "enrol", "test", "target"], orient="row")
    people = {"speaker": [f"s{k}" for k in range(num_speakers)], "gender": gender}
    language = ["rare" if k < 4 else "common" for k in range(num_speakers)]
    return trials_of(frame, speakers=pl.DataFrame({**people, "language": language}))


@cache
def audited() -> VerificationAudit:
    return audit_verification(made_up_trials(), seed=1, num_resamples=100)


def test_the_headline_names_the_group_and_the_error():
    said = verification_headline(audited())
    assert "points more false rejects for gender “female” than for others" in said.title
    (row,) = [row for row in audited().rows if row.value == "female"]
    assert row.false_reject is not None
    assert f"{100 * row.false_reject.difference:+.1f} points" in said.lines[0]


def test_equal_groups_are_not_said_to_differ():
    found = audit_verification(made_up_trials(0.0), ["gender"], seed=1, num_resamples=100)
    assert "No group" in verification_headline(found).title


def test_small_groups_have_no_numbers():
    found = audited()
    assert "language “rare”, 4 speakers: too small to measure" in verification_text(found)
    assert "2 groups too small to measure" in render_verification_page(found)


def test_every_measured_group_is_in_the_text_with_its_rates():
    text = verification_text(audited())
    for row in audited().rows:
        if row.eer is not None:
            assert f"EER {100 * row.eer.value:.1f} %" in text
    assert audited().formula in text


def test_json_holds_the_audit_and_the_page_holds_the_json():
    values = json.loads(verification_json(audited()))
    assert values["schema"] == "evenear.verification-audit"
    expected = json.loads(json.dumps(audited().to_dict()))
    assert {name: values[name] for name in expected} == expected
    assert "evenear.verification-audit" in render_verification_page(audited())


@pytest.mark.skipif(chromium() is None, reason="Chromium is not installed")
def test_the_page_is_quiet_and_fits_every_width(tmp_path):
    named = replace(audited(), name='<script>"x"</script>')
    page = render_verification_page(named)
    (tmp_path / "r.html").write_text(page, encoding="utf-8")
    with open_browser(tmp_path / "profile") as browser:
        for width in (360, 800, 1280):
            browser.open(tmp_path / "r.html", width=width, dark=width == 800)
            assert browser.complaints() == []
            assert browser.requests() == [(tmp_path / "r.html").resolve().as_uri()]
            assert browser.run("document.documentElement.scrollWidth") <= width
