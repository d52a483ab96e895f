# SPDX-License-Identifier: Apache-2.0
"""`evenear card` writes whom a model serves into its card, and refuses what it cannot know."""

import json
import shutil

import pytest

from evenear.checkpoint import load_model


@pytest.fixture
def own(model, tmp_path):
    """A model whose card may change."""
    return shutil.copytree(model, tmp_path / "own")


@pytest.fixture
def results(tmp_path):
    rows = [
        {
            "utterance_id": f"u{k}",
            "speaker": f"s{k}",
            "reference": "a b c d e f g h i j",
            "hypothesis": "a b c d e f g h i j" if k % 2 else "a b c x x f g h i j",
            "age": 30 if k % 2 else 8,
            "gender": "female" if k % 4 < 2 else "male",
        }
        for k in range(40)
    ]
    path = tmp_path / "results.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_card_says_whom_the_model_serves_and_the_model_loads(evenear, own, results):
    few = ("--min-words", "50", "--on", "made-up speech")
    done = evenear("card", own, results, "--by", "gender", "--cohort", "age<18", *few)
    assert done.code == 0, done.err
    card = load_model(own).card
    assert done.out.strip() in card
    assert "| age age<18 | 20 | 200 | 20.0" in card
    assert "made-up speech: 40 speakers" in card
    evenear("card", own, results, "--by", "gender", *few)
    assert load_model(own).card.count("## Who this model serves") == 1


def test_before_and_after_stand_side_by_side(evenear, own, results, tmp_path):
    worse = tmp_path / "before.jsonl"
    worse.write_text(results.read_text().replace("d e", "x e"))
    done = evenear(
        *("card", own, results, "--cohort", "age<18", "--before", worse),
        *("--min-words", "50", "--on", "made-up speech"),
    )
    assert done.code == 0, done.err
    assert "WER before, %" in done.out


@pytest.mark.parametrize(
    ("more", "said"),
    [((), "none is named"), (("--cohort", "agee<18"), "age"), (("--by", "gendr"), "gender")],
)
def test_cohorts_that_are_none_are_refused_and_the_card_stays(evenear, own, results, more, said):
    before = load_model(own).card
    done = evenear("card", own, results, "--on", "speech", *more)
    assert done.code in (1, 2)
    assert said in done.err
    assert load_model(own).card == before


def test_a_folder_that_is_not_there_is_named(evenear, results, tmp_path):
    done = evenear("card", tmp_path / "none", results, "--by", "gender", "--on", "speech")
    assert done.code == 1
    assert "no folder" in done.err
