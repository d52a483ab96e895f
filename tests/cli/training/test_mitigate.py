# SPDX-License-Identifier: Apache-2.0
"""`evenear mitigate`, from a corpus to a verdict in the exit code."""

import json

import pytest

from training.mitigation.tone_speakers import write_model, write_speakers

FEW = ("--min-speakers", "2", "--min-words", "4", "--updates", "3", "--batch-seconds", "3")


@pytest.fixture
def place(tmp_path):
    write_model(tmp_path / "model")
    write_speakers(tmp_path / "tones")
    return tmp_path


def command(place, *more: str) -> list[str]:
    known = [str(place / "model"), "--data", str(place / "tones"), "--out", str(place / "out")]
    return ["mitigate", *known, *FEW, *more]


def test_a_repair_prints_before_after_and_gate_and_exits_by_it(evenear, place):
    found = evenear(*command(place, "--cohort", "age<18", "--dial", "1,100", "--json"))
    values = json.loads(found.out)
    assert {"before", "after", "gate"} <= set(values)
    assert found.code == (0 if values["gate"]["passed"] else 1)
    assert values["method"] == "ewc"
    assert [point["setting"] for point in values["frontier"]["points"]] == [1.0, 100.0]
    again = evenear(*command(place, "--cohort", "age<18", "--dial", "1,100", "--json"))
    assert again.code == 1
    assert "finished" in again.err


def test_lines_for_people_name_every_cohort(evenear, place):
    found = evenear(*command(place, "--cohort", "age<18", "--method", "replay", "--dial", "0.5"))
    assert "cohort age<18: " in found.out
    assert "Gate: " in found.out
    assert "adaptation speakers" in found.err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--cohort", "children"), "conditions"),
        (("--cohort", "age<18", "--method", "magic"), "no method"),
        (("--cohort", "age<18", "--dial", "strong"), "numbers"),
        (("--cohort", "age<18", "--rate", "-1"), "rate"),
    ],
)
def test_a_command_that_makes_no_sense_is_refused_before_any_work(evenear, place, more, said):
    found = evenear(*command(place, *more))
    assert found.code == 2
    assert said in found.err
    assert not (place / "out").exists()


def test_a_cohort_that_nobody_is_in_is_named(evenear, place):
    found = evenear(*command(place, "--cohort", "age<5"))
    assert found.code == 1
    assert "age<5" in found.err
