# SPDX-License-Identifier: Apache-2.0
"""Two verifiers on the same trials: planted losses are found, and what both share cancels."""

import polars as pl
import pytest

from audit.verifiedtrials import trial_frame, trials
from evenear.audit.verification.comparison import VerificationChanges, compare_verification
from evenear.audit.verification.groups import audit_verification
from evenear.audit.verification.trials import Trials, trials_of
from evenear.errors import CohortError, TableError


def compared(before: Trials, after: Trials) -> VerificationChanges:
    return compare_verification(before, after, ["gender"], thresholds=(1.0, 1.0), num_resamples=150)


def test_a_group_that_loses_is_confirmed_and_the_other_is_not():
    found = compared(trials(0), trials(1, loss=1.0))
    female, male = found.rows
    assert [row.value for row in found.got_worse] == ["female"]
    assert [row.value for row in found.fell_behind] == ["female"]
    assert female.eer is not None
    assert male.eer is not None
    assert female.eer.change_low > 0.0
    assert abs(male.eer.change) < female.eer.change / 4
    assert female.eer.gap_change == pytest.approx(female.eer.change - male.eer.change)


def test_a_threshold_that_follows_the_losers_costs_the_others_false_accepts():
    """Each verifier has its own EER threshold, and that of the second lets more strangers in."""
    found = compare_verification(trials(0), trials(1, loss=1.0), ["gender"], num_resamples=150)
    assert found.threshold_after < found.threshold_before
    _, male = found.rows
    assert male.got_worse
    assert male.false_accept is not None
    assert male.false_accept.change_low > 0.0


def test_what_everyone_loses_is_no_change_of_a_gap():
    found = compared(trials(0), trials(1, everyone=1.0))
    assert {row.value for row in found.got_worse} == {"female", "male"}
    assert found.fell_behind == ()
    assert found.overall.eer is not None
    assert found.overall.eer.change_low > 0.0
    assert found.overall.eer.gap_change is None


def test_the_same_trials_do_not_change_and_nothing_is_confirmed():
    found = compared(trials(0), trials(0))
    for row in (found.overall, *found.rows):
        assert row.eer is not None
        assert (row.eer.change, row.eer.change_low, row.eer.change_high) == (0.0, 0.0, 0.0)
    assert found.got_worse == found.fell_behind == ()


def test_levels_are_those_of_an_audit_and_pairing_narrows_the_change():
    first, second = trials(0), trials(1)
    found, alone = compared(first, second), audit_verification(first, ["gender"], num_resamples=150)
    for ours, theirs in zip(
        (found.overall, *found.rows), (alone.overall, *alone.rows), strict=True
    ):
        assert ours.eer is not None
        assert theirs.eer is not None
        assert ours.eer.before == theirs.eer.value
        assert ours.eer.change_high - ours.eer.change_low < theirs.eer.high - theirs.eer.low


def test_only_trials_of_both_count_in_whatever_order():
    shuffled = trial_frame(1).sample(fraction=0.8, shuffle=True, seed=3)
    after = trials_of(shuffled, speakers=trials(1).speakers)
    found = compared(trials(0), after)
    assert "trials of scores and 0 of scores are not in the other" in found.warnings[-1]
    assert found.overall.target_trials == int(after.frame["target"].sum())


def test_trials_that_do_not_match_are_refused():
    strange = trials_of(
        trial_frame(0).with_columns(pl.col("test") + "x"), speakers=trials(0).speakers
    )
    with pytest.raises(TableError, match="no trial in common"):
        compared(trials(0), strange)
    other = trials(0)
    moved = other.frame.with_columns(~pl.col("target"))
    with pytest.raises(TableError, match="agree on target"):
        compared(trials(0), Trials(moved, other.speakers))
    with pytest.raises(CohortError, match="at least 100"):
        compare_verification(trials(0), trials(0), num_resamples=10)


def test_thresholds_of_each_are_taken_as_given():
    found = compare_verification(
        trials(0), trials(1), ["gender"], thresholds=(1.0, 9.0), num_resamples=120
    )
    assert (found.threshold_before, found.threshold_after) == (1.0, 9.0)
    assert found.overall.false_reject is not None
    assert found.overall.false_reject.after == 1.0


def test_everything_is_plain_json_and_small_groups_have_no_numbers():
    found = compare_verification(
        trials(0), trials(1), ["gender"], num_resamples=120, min_speakers=31
    )
    values = found.to_dict()
    assert [row["suppressed"] for row in values["cohorts"]] == [True, True]
    assert values["cohorts"][0]["eer"] is None
    assert values["overall"]["eer"]["before"] > 0
