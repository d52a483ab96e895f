# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from evenear.errors import EvenearError
from evenear.verification.trials import (
    Design,
    Sample,
    all_trials,
    check_design,
    hard_trials,
    read_voxceleb_list,
)


def samples(*rows):
    """Recordings from (speaker, gender) pairs."""
    return [
        Sample(f"{n}.wav", speaker, 3.0, {"gender": gender} if gender else None)
        for n, (speaker, gender) in enumerate(rows)
    ]


MIXED = samples(("a", "f"), ("a", "f"), ("b", "f"), ("c", "m"), ("c", "m"), ("d", None))


def pairs(design):
    rows = zip(design.first_N, design.second_N, design.is_target_N, strict=True)
    return {(int(i), int(j)): bool(t) for i, j, t in rows}


def test_all_trials_are_every_pair_once():
    found = pairs(all_trials(MIXED))
    assert len(found) == 15
    assert [pair for pair, target in found.items() if target] == [(0, 1), (3, 4)]


def test_hard_trials_pair_those_who_are_alike_and_nobody_unknown():
    found = pairs(hard_trials(MIXED, ["gender"]))
    assert found == {(0, 1): True, (0, 2): False, (1, 2): False, (3, 4): True}
    with pytest.raises(EvenearError, match="age"):
        hard_trials(MIXED, ["age"])


def test_a_voxceleb_list_is_read(tmp_path):
    path = tmp_path / "veri_test.txt"
    path.write_text("1 id1/x/1.wav id1/y/2.wav\n0 id1/x/1.wav id2/z/3.wav\n\n")
    design = read_voxceleb_list(path)
    assert [sample.speaker for sample in design.samples] == ["id1", "id1", "id2"]
    assert pairs(design) == {(0, 1): True, (0, 2): False}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1 id1/a.wav id2/b.wav\n", "contradicts"),
        ("yes id1/a.wav id2/b.wav\n", "is written"),
        ("1 id1/a.wav\n", "is written"),
        ("\n", "empty"),
    ],
)
def test_lines_that_are_no_trials_are_named(tmp_path, text, why):
    path = tmp_path / "list.txt"
    path.write_text(text)
    with pytest.raises(EvenearError, match=why):
        read_voxceleb_list(path)


def test_a_sound_design_has_no_warnings():
    assert check_design(all_trials(MIXED)) == ()


def test_a_recording_on_both_sides_is_a_leak():
    design = all_trials(MIXED)
    leaky = Design(
        design.samples, np.array([0, 0, 1]), np.array([0, 1, 2]), np.array([1, 1, 0]) > 0
    )
    assert "leaks" in check_design(leaky)[0]


def test_trials_that_come_twice_are_counted():
    design = Design(
        tuple(MIXED), np.array([0, 1, 2]), np.array([1, 0, 3]), np.array([True, True, False])
    )
    assert "1 trials come more than once" in check_design(design)[0]


def test_lengths_that_give_the_answer_away_are_seen():
    long = [Sample(f"l{n}", "a", 8.0 + 0.1 * n) for n in range(6)]
    short = [Sample(f"s{n}", f"b{n}", 1.0 + 0.1 * n) for n in range(6)]
    assert "length" in check_design(all_trials([*long, *short]))[0]


def test_impostors_of_another_kind_are_seen():
    notes = check_design(all_trials(MIXED), attributes=["gender"])
    assert "differ in gender" in notes[0]
    assert check_design(hard_trials(MIXED, ["gender"]), attributes=["gender"]) == ()


def test_designs_of_one_kind_of_trials_are_named():
    assert "need both" in check_design(all_trials(MIXED[:2]))[0]
