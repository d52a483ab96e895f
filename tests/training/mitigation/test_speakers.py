# SPDX-License-Identifier: Apache-2.0
"""Nobody does two of adapting, tuning and testing."""

import pytest

from evenear.errors import CohortError
from evenear.training.mitigation.speakers import Division, divide_speakers, parts_of
from training.mitigation.tone_speakers import utterances

MEMBERS = {f"s{k:02}": k % 3 == 0 for k in range(30)} | {"nobody": None}


def divided(**changes) -> Division:
    values = {"tuning_share": 0.2, "test_share": 0.4, "seed": 0, **changes}
    return divide_speakers(MEMBERS, **values)


def test_parts_are_disjoint_and_together_everyone():
    parts = divided()
    assert sum(map(len, parts)) == len(frozenset().union(*parts)) == len(MEMBERS)


def test_each_part_has_its_share_of_the_cohort():
    counts = [sum(MEMBERS[name] is True for name in part) for part in divided()]
    assert counts == [4, 2, 4]


def test_a_corpus_that_grows_keeps_nearly_all_of_its_division():
    grown = divide_speakers(
        MEMBERS | {"s98": False, "s99": True}, tuning_share=0.2, test_share=0.4, seed=0
    )
    before = divided()
    moved = sum(len(old - new) for old, new in zip(before, grown, strict=True))
    assert moved <= 4


def test_another_seed_divides_otherwise():
    assert divided(seed=1) != divided()


def test_who_discovered_the_cohort_is_only_adapted_to():
    burned = {f"s{k:02}" for k in range(12)}
    parts = divided(discovered_on=burned)
    assert burned <= parts.adaptation
    assert sum(map(len, parts)) == len(MEMBERS)


def test_given_test_speakers_are_those():
    wanted = {"s00", "s01", "s02"}
    parts = divided(test=wanted)
    assert parts.test == wanted
    assert not parts.adaptation & wanted


def test_test_speakers_who_discovered_the_cohort_are_refused():
    with pytest.raises(CohortError, match="did both"):
        divided(test={"s00", "s01"}, discovered_on={"s00"})


def test_a_part_without_anybody_of_a_side_is_refused():
    with pytest.raises(CohortError, match="need one"):
        divide_speakers(
            {"a": True, "b": False, "c": False}, tuning_share=0.3, test_share=0.3, seed=0
        )


def test_utterances_follow_their_speakers(tmp_path):
    spoken = utterances(tmp_path)
    members = {u.speaker: u.attributes["age"] < 18 for u in spoken}
    parts = divide_speakers(members, tuning_share=0.25, test_share=0.25, seed=0)
    by_part = parts_of(spoken, parts)
    assert sum(map(len, by_part.values())) == len(spoken)
    assert {u.speaker for u in by_part["test"]} == parts.test


def test_given_tuning_speakers_are_those_and_never_test():
    wanted = {"s03", "s04", "s05"}
    parts = divided(tuning=wanted)
    assert parts.tuning == wanted
    assert not (parts.adaptation | parts.test) & wanted
    with pytest.raises(CohortError, match="must not tune"):
        divided(tuning=wanted, test={"s03", "s09", "s10"})
