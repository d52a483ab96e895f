# SPDX-License-Identifier: Apache-2.0
"""A whole study over buzzing speakers, stopped and gone on with."""

import json

import pytest

from evenear.config import replace
from evenear.errors import CohortError
from evenear.recipes.speaker import tiny
from evenear.reproduction.reweighting.learning import VARIANTS, LearningConfig
from evenear.reproduction.reweighting.page import render
from evenear.reproduction.reweighting.study import PLANTED, Study
from evenear.training.runs.preparation import Source
from evenear.training.runs.speaker import read_voices
from tiny_speakers import write_speakers

QUICK = LearningConfig(
    num_updates=6,
    warmup_updates=2,
    num_speakers=6,
    hidden_dim=8,
    embedding_dim=6,
    num_regions=3,
    epoch_updates=3,
)


KINDS = ("planted", "planted_narrow", "planted_colored")


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    manifest = write_speakers(tmp_path_factory.mktemp("people"), num_speakers=16, num_each=3)
    return read_voices([Source(manifest)])


def study(people, folder):
    train = [one for one in people if int(one.speaker[1:]) < 8]
    test = [one for one in people if int(one.speaker[1:]) >= 8]
    return Study.prepare(
        train,
        test,
        folder,
        QUICK,
        store=replace(tiny().data.store, augment=False),
        num_seeds=2,
        num_draws=12,
        each=3,
    )


@pytest.fixture(scope="module")
def results(people, tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return folder, study(people, folder).run()


def test_every_variant_is_measured_and_every_claim_judged(results):
    _, found = results
    assert set(found["variants"]) == set(VARIANTS)
    assert (found["train_speakers"], found["test_speakers"], found["seeds"]) == (8, 8, 2)
    assert {claim["judgement"] for claim in found["claims"]} <= {
        "holds",
        "does not hold",
        "cannot tell",
    }
    assert len(found["claims"]) == 7


def test_the_hidden_group_is_measured_and_ranked(results):
    _, found = results
    for kind in KINDS:
        planted = found[kind]
        assert set(planted) == set(PLANTED)
        assert "channel: bad" in planted["pw-row"]["eer"]
        assert len(planted["pw-row"]["rank_of_hidden_group"]) == 2
        assert all(rank in (1, 2, 3) for rank in planted["pl"]["rank_of_hidden_group"])
        assert "rank_of_hidden_group" not in planted["truth"]
        assert all(loss > 0.0 for row in planted.values() for loss in row["training_loss"].values())


def test_it_is_said_how_the_weights_were_spread(results):
    spread = json.loads(json.dumps(results[1]))["weighing"]
    assert set(spread) == {"aps", "pl", "pw", "pw-row"}
    for one in spread.values():
        assert all(0.0 < share <= 1.0 + 1e-9 for share in one["effective_share"])
        assert len(one["correlation_with_loss"]) == 2
        assert one["collapsed"] == 0


def test_a_study_that_was_stopped_goes_on_and_gives_the_same_numbers(results, people):
    folder, found = results
    runs = sorted((folder / "runs").glob("*.npz"))
    assert len(runs) == 2 * (len(VARIANTS) + 3 * len(PLANTED))
    before = {path.name: path.stat().st_mtime_ns for path in runs[1:]}
    runs[0].unlink()
    assert study(people, folder).run() == found
    assert {path.name: path.stat().st_mtime_ns for path in runs[1:]} == before


def test_speakers_of_both_sides_are_refused(people, tmp_path):
    with pytest.raises(CohortError, match="trained on"):
        Study.prepare(
            people,
            people[:3],
            tmp_path,
            QUICK,
            store=tiny().data.store,
            num_seeds=1,
            num_draws=10,
            each=2,
        )


def test_the_page_says_what_was_found(results):
    page = render(results[1])
    assert "ARW-PW, per row" in page
    assert "cannot tell" in page or "holds" in page
    assert page.count("| ") > 30
