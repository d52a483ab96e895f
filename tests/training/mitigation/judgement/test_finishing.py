# SPDX-License-Identifier: Apache-2.0
"""What a repair writes down: before, after, gate, a card, and a model that loads."""

import json

import pytest

from evenear.audit.report import AuditSettings
from evenear.checkpoint import load_model
from evenear.training.mitigation.judgement.finishing import finish
from evenear.training.mitigation.judgement.results import Result
from evenear.training.mitigation.repair import Repair
from training.mitigation.tone_speakers import plan, utterances, write_model


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> Result:
    place = tmp_path_factory.mktemp("results")
    write_model(place / "model")
    spoken = utterances(place / "tones")
    repair = Repair.prepare(place / "model", spoken, plan(), place / "out")
    return finish(repair, AuditSettings(num_resamples=200, min_speakers=2, min_words=4))


def test_before_and_after_have_everyone_and_every_cohort(result):
    values = json.loads((result.repair.folder / "result.json").read_text())
    assert values == json.loads(json.dumps(result.to_dict()))
    for side in ("before", "after"):
        assert {"wer", "low", "high", "speakers", "words"} <= set(values[side]["overall"])
        names = {(row["attribute"], row["value"]) for row in values[side]["cohorts"]}
        assert {("cohort", "age<18"), ("cohort", "not age<18"), ("gender", "male")} <= names
    assert values["gate"]["passed"] is result.gate.passed
    assert values["chosen"]["setting"] == 1.0
    assert values["chosen"]["paper_lambda"] > 0
    assert values["fisher"]["utterances"] == 5


def test_the_kept_model_loads_and_its_card_says_whom_it_serves(result):
    bundle = load_model(result.repair.folder / "model")
    assert bundle.card.startswith("# tones")
    assert "## Who this model serves" in bundle.card
    assert "## Repaired" in bundle.card
    assert "cohort age<18" in bundle.card


def test_the_cohort_is_found_among_the_changes(result):
    assert result.cohort is not None
    assert result.cohort.value == "age<18"


def test_all_files_are_there(result):
    names = {path.name for path in result.repair.folder.iterdir()}
    assert {"audit.html", "fisher.safetensors", "model", "plan.json", "report.html"} <= names
