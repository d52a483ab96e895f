# SPDX-License-Identifier: Apache-2.0
from functools import cache

import numpy as np
import polars as pl
import pytest
from scipy import stats

from evenear.audit.tables.cohorts import Assignment, Cohorts
from evenear.audit.verification.groups import audit_verification
from evenear.audit.verification.trials import Trials, trials_of
from evenear.errors import CohortError, TableError
from evenear.metrics.verification import eer, min_dcf

SCHEMA = ["score", "enrol", "test", "target"]


def made_up(seed=0, *, shift=0.0, number=60, scatter=0.3) -> Trials:
    """Speakers differ by chance; targets of the far room score lower by `shift`."""
    rng = np.random.default_rng(seed)
    room = rng.permutation(np.resize(["far", "near", "near"], number))
    rows = []
    for k in range(number):
        level = 2.5 + scatter * rng.normal() - shift * (room[k] == "far")
        rows += [(level + rng.normal(), f"s{k}", f"s{k}", 1) for _ in range(6)]
        others = rng.choice(number, 15)
        rows += [(rng.normal(), f"s{k}", f"s{j}", 0) for j in others if j != k]
    people = {
        "speaker": [f"s{k}" for k in range(number)],
        "room": room,
        "kind": rng.choice(["a", "b", "c"], number),
        "tongue": ["rare" if k < 4 else "common" for k in range(number)],
    }
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    return trials_of(frame, speakers=pl.DataFrame(people))


@cache
def uneven():
    trials = made_up(shift=1.5)
    return trials, audit_verification(trials, seed=1, num_resamples=100)


def row_of(found, attribute, value):
    (row,) = [row for row in found.rows if (row.attribute, row.value) == (attribute, value)]
    return row


def scores_of(trials, attribute, value, *, inside=True):
    """Scores of targets and others whose speakers are both in (or both out of) a group."""
    who = {row["speaker"] for row in trials.speakers.iter_rows(named=True)
           if (row[attribute] == value) == inside}  # fmt: skip
    both = trials.frame.filter(
        pl.col("enrol_speaker").is_in(list(who)) & pl.col("test_speaker").is_in(list(who))
    )
    return [both.filter(t)["score"].to_numpy() for t in (pl.col("target"), ~pl.col("target"))]


def test_every_value_is_that_of_the_groups_own_trials():
    trials, found = uneven()
    for attribute, value in [("room", "far"), ("room", "near"), ("kind", "b")]:
        row = row_of(found, attribute, value)
        mine, rest = (scores_of(trials, attribute, value, inside=side) for side in (True, False))
        assert (row.target_trials, row.nontarget_trials) == (len(mine[0]), len(mine[1]))
        measures = {
            "eer": eer,
            "min_dcf": min_dcf,
            "false_reject": lambda targets, _: np.mean(targets < found.threshold),
            "false_accept": lambda _, others: np.mean(others >= found.threshold),
        }
        for name, measure in measures.items():
            one = getattr(row, name)
            assert one.value == pytest.approx(measure(*mine))
            assert one.difference == pytest.approx(measure(*mine) - measure(*rest))
            assert 0.0 <= one.low <= one.value <= one.high <= 1.0
            assert one.difference_low <= one.difference <= one.difference_high


def test_a_planted_group_is_found_and_no_other():
    _, found = uneven()
    far = row_of(found, "room", "far")
    assert far.confirmed
    assert far.false_reject.p_adjusted <= 0.05
    assert far.false_reject.difference_low > 0.1
    assert not any(row.confirmed for row in found.rows if row.attribute == "kind")
    assert far.min_dcf.p_adjusted is None


def test_nothing_planted_is_seldom_confirmed():
    confirmed = sum(
        any(row.confirmed for row in audit_verification(
            made_up(seed, number=45), ["room", "kind"], seed=seed, num_resamples=100
        ).rows)
        for seed in range(12)
    )  # fmt: skip
    assert confirmed <= stats.binom.ppf(0.999, 12, 0.05)


def test_intervals_mostly_cover_the_truth():
    """False rejects of everyone, at a given threshold, have a truth that is known."""
    truth = stats.norm.cdf((1.5 - 2.5) / np.hypot(1.0, 0.3))
    covered = 0
    for seed in range(30):
        trials = made_up(seed, number=30)
        whole = audit_verification(
            trials, ["room"], threshold=1.5, seed=seed, num_resamples=100, min_speakers=100
        ).overall.false_reject
        covered += whole.low <= truth <= whole.high
    assert covered >= stats.binom.ppf(0.001, 30, 0.95)


def test_small_groups_and_groups_without_small_others_have_no_numbers():
    _, found = uneven()
    for value in ("rare", "common"):
        row = row_of(found, "tongue", value)
        assert row.suppressed
        assert (row.eer, row.false_reject, row.confirmed) == (None, None, False)
    assert row_of(found, "tongue", "rare").speakers == 4
    assert [one.attribute for one in found.spreads] == ["room", "kind"]


def test_a_group_without_trials_of_both_kinds_has_no_numbers():
    rows = [(1.0, f"s{k}", f"s{k}", 1) for k in range(40)]
    rows += [(0.0, f"s{k}", f"s{k + 20}", 0) for k in range(20)]
    people = {"speaker": [f"s{k}" for k in range(40)], "side": ["a"] * 20 + ["b"] * 20}
    trials = trials_of(
        pl.DataFrame(rows, schema=SCHEMA, orient="row"), speakers=pl.DataFrame(people)
    )
    found = audit_verification(trials, ["side"], num_resamples=100)
    assert all(row.suppressed for row in found.rows)


def test_spreads_are_those_of_the_rows():
    _, found = uneven()
    spread = found.spreads[1]
    rows = [row for row in found.rows if row.attribute == "kind"]
    assert spread.eer_deviation == pytest.approx(np.std([row.eer.value for row in rows]))
    apart = [np.ptp([getattr(row, name).value for row in rows])
             for name in ("false_accept", "false_reject")]  # fmt: skip
    assert spread.discrepancy_rate == pytest.approx(1 - sum(apart) / 2)
    assert spread.eer_deviation_low <= spread.eer_deviation <= spread.eer_deviation_high
    assert spread.discrepancy_rate_high <= 1.0


def test_the_shared_threshold_comes_from_all_trials_or_is_given():
    trials, found = uneven()
    scores, labels = trials.frame["score"].to_numpy(), trials.frame["target"].to_numpy()
    rejects, accepts = (
        np.mean(scores[labels] < found.threshold),
        np.mean(scores[~labels] >= found.threshold),
    )
    assert rejects == pytest.approx(accepts, abs=0.01)
    strict = audit_verification(trials, ["room"], false_accept_rate=0.01, num_resamples=100)
    assert np.mean(scores[~labels] >= strict.threshold) <= 0.01
    assert "1 % false accepts" in strict.threshold_from
    given = audit_verification(trials, ["room"], threshold=1.25, num_resamples=100)
    assert (given.threshold, given.threshold_from) == (1.25, "given")


def test_the_seed_decides_everything():
    trials, found = uneven()
    assert audit_verification(trials, seed=1, num_resamples=100) == found
    other = audit_verification(trials, seed=2, num_resamples=100)
    assert other.overall.eer.value == found.overall.eer.value
    assert other.overall.eer.low != found.overall.eer.low


def test_unknown_speakers_are_neither_in_a_group_nor_among_its_others():
    trials = made_up()
    half = {f"s{k}": ("far" if k % 2 else "near") for k in range(40)}
    found = audit_verification(
        trials, Cohorts((Assignment.of_speakers("room", half),)), num_resamples=100
    )
    assert [row.speakers for row in found.rows] == [20, 20]
    far, near = found.rows
    assert far.eer.difference == pytest.approx(-near.eer.difference)


def test_distances_are_noticed():
    """Scores that are smaller for the same speaker would make every number wrong in silence."""
    trials = made_up()
    backwards = Trials(trials.frame.with_columns(-pl.col("score")), trials.speakers)
    found = audit_verification(backwards, ["room"], num_resamples=100)
    assert "change their sign" in found.warnings[-1]
    assert uneven()[1].warnings == ()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": 0.5, "false_accept_rate": 0.1}, "not both"),
        ({"false_accept_rate": 0.0}, "between 0 and 1"),
        ({"num_resamples": 99}, "at least 100"),
        ({"level": 1.0}, "between 0.5 and 1"),
        ({"num_resamples": 200, "level": 0.999}, "999 are the least"),
        ({"min_speakers": 1}, "at least 2 speakers"),
        ({"threshold": float("nan")}, "a number that scores can reach"),
        ({"threshold": float("inf")}, "a number that scores can reach"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(CohortError, match=message):
        audit_verification(uneven()[0], ["room"], **settings)


def test_groups_must_be_of_speakers_and_known():
    with pytest.raises(TableError, match="no attribute 'rooom'"):
        audit_verification(uneven()[0], ["rooom"])
    frame = pl.DataFrame({"utterance_id": ["u1"], "value": ["far"]})
    with pytest.raises(CohortError, match="divides utterances"):
        audit_verification(uneven()[0], Cohorts((Assignment("room", frame),)))
