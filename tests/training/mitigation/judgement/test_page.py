# SPDX-License-Identifier: Apache-2.0
"""The page says what the numbers say, and loads nothing."""

from types import SimpleNamespace

import pytest

from evenear.audit.report import AuditSettings
from evenear.training.mitigation.judgement.finishing import finish
from evenear.training.mitigation.judgement.page import headline, render
from evenear.training.mitigation.judgement.results import Result
from evenear.training.mitigation.repair import Repair
from training.mitigation.tone_speakers import plan, utterances, write_model


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> Result:
    place = tmp_path_factory.mktemp("page")
    write_model(place / "model")
    spoken = utterances(place / "tones")
    repair = Repair.prepare(place / "model", spoken, plan("replay"), place / "out")
    return finish(repair, AuditSettings(num_resamples=200, min_speakers=2, min_words=4))


def test_the_page_is_one_file_with_the_frontier_and_every_cohort(result):
    page = render(result)
    assert page.count("<circle") == 2
    assert "age&lt;18" in page
    assert "gender male" in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")


def told(low: float, high: float, *, passed: bool = True) -> str:
    row = SimpleNamespace(change=(low + high) / 2, change_low=low, change_high=high)
    gate = SimpleNamespace(passed=passed, worse=("gender=female",))
    repair = SimpleNamespace(how=SimpleNamespace(cohort=SimpleNamespace(text="age<18")))
    return headline(SimpleNamespace(cohort=row, gate=gate, repair=repair))  # type: ignore


def test_the_headline_claims_only_what_the_interval_leaves_no_doubt_of():
    assert told(-0.2, -0.1).startswith("age<18: −15.0 % word errors")
    assert told(-0.2, 0.1).startswith("No sure change")
    assert told(0.1, 0.2).startswith("age<18 got worse")
    assert told(-0.2, -0.1, passed=False).endswith("worse off: gender=female")
