# SPDX-License-Identifier: Apache-2.0
import polars as pl
import pytest

from evenear.audit.verification.trials import read_trials, trials_of
from evenear.errors import TableError

ROWS = {
    "score": [2.5, 1.75, 0.5, 0.25, 2.0, -1.0],
    "enrol": ["a", "b", "a", "b", "c", "c"],
    "test": ["a", "b", "b", "c", "c", "a"],
    "target": [1, 1, 0, 0, 1, 0],
}


def made(**changed):
    columns = {**ROWS, **changed}
    return pl.DataFrame({k: v for k, v in columns.items() if v is not None}, strict=False)


def test_trials_have_scores_labels_and_speakers_on_both_sides():
    trials = trials_of(made())
    assert trials.frame.to_dicts()[2] == {
        "score": 0.5, "target": False, "enrol": "a", "test": "b", "enrol_speaker": "a",
        "test_speaker": "b",
    }  # fmt: skip
    assert trials.speakers["speaker"].to_list() == ["a", "b", "c"]
    assert (trials.attributes, trials.warnings) == ((), ())


@pytest.mark.parametrize(
    "labels",
    [
        [True, True, False, False, True, False],
        [1.0, 1.0, -1.0, 0.0, 1.0, -1.0],
        ["target", "TGT", "nontarget", "imp", " Yes", "no"],
        ["genuine", "same", "impostor", "different", "1", "-1"],
    ],
)
def test_labels_are_read_in_every_usual_way(labels):
    found = trials_of(made(target=labels))
    assert found.frame["target"].to_list() == [True, True, False, False, True, False]
    assert found.warnings == ()


@pytest.mark.parametrize("suffix", ["csv", "semicolons", "tsv", "parquet", "jsonl"])
def test_every_format_gives_the_same_trials(tmp_path, suffix):
    path = tmp_path / f"scores.v1.{'csv' if suffix == 'semicolons' else suffix}"
    frame = made(enrol=["001", "002", "001", "002", "é", "é"], test=["001", "002", "002", "é"] * 1
                 + ["é", "001"])  # fmt: skip
    if suffix == "parquet":
        frame.write_parquet(path)
    elif suffix == "jsonl":
        frame.write_ndjson(path)
    else:
        frame.write_csv(path, separator={"tsv": "\t", "semicolons": ";"}.get(suffix, ","))
    found = read_trials(path)
    assert found.frame.equals(trials_of(frame).frame)
    assert found.speakers["speaker"].to_list() == ["001", "002", "é"], "zeros in front were lost"
    assert found.name == "scores.v1"
    assert read_trials(path, name="ours").name == "ours"


def test_columns_of_other_toolkits_are_known():
    theirs = made().rename({"score": "LLR", "enrol": "Model", "test": "probe", "target": "label"})
    assert trials_of(theirs).frame.equals(trials_of(made()).frame)


def test_a_chosen_column_takes_the_place_of_one_with_its_name():
    """It once crashed on two columns of one name."""
    found = trials_of(made(fused=[9, 8, 7, 6, 5, 4]), columns={"score": "fused"})
    assert found.frame["score"].to_list() == [9, 8, 7, 6, 5, 4]


@pytest.mark.parametrize("separator", ["/", "-", "_"])
def test_the_speaker_may_be_the_first_part_of_an_id(separator):
    ids = {side: [f"{s}{separator}{side}{k}" for k, s in enumerate(ROWS[side])] for side in
           ("enrol", "test")}  # fmt: skip
    assert without_ids(made(**ids)).equals(without_ids(made()))


def without_ids(frame: pl.DataFrame) -> pl.DataFrame:
    return trials_of(frame).frame.drop("enrol", "test")


def test_ids_that_do_not_tell_speakers_are_refused():
    recordings = [f"r{k}" for k in range(6)]
    with pytest.raises(TableError, match="the ids of enrol and test do not tell: 'r0' and 'a'"):
        trials_of(made(enrol=recordings))
    sides = {"enrol_speaker": ROWS["enrol"], "test_speaker": ROWS["test"]}
    assert without_ids(made(enrol=recordings, **sides)).equals(without_ids(made()))


def test_speakers_that_contradict_the_label_are_refused():
    sides = {"enrol_speaker": ["a"] * 6, "test_speaker": ROWS["test"]}
    with pytest.raises(TableError, match="must agree with its label"):
        trials_of(made(**sides))


@pytest.mark.parametrize(
    ("changed", "note"),
    [
        ({"score": ["2", "x", None, "nan", "inf", "-1"]}, "4 trials have no score"),
        ({"target": [1, 1, 0, 0, "maybe", None]}, "2 trials have a label that is neither"),
        ({"enrol": ["a", None, "a", "b", " ", "c"]}, "2 trials lack an enrolment or a test"),
    ],
)
def test_trials_that_lack_something_are_left_out_and_told(changed, note):
    found = trials_of(made(**changed))
    left_out = int(note.split()[0])
    assert found.frame.height == 6 - left_out
    assert found.warnings[0].startswith(note)
    assert found.frame.null_count().sum_horizontal().item() == 0


def test_attributes_of_both_sides_are_joined():
    found = trials_of(
        made(
            enrol_gender=["f", "m", "f", "m", "F", "f"],
            test_gender=["f", "m", "m", "f", "f", "f"],
            age=[30, 41, 30, 41, 52, 52],
        )
    )
    assert found.attributes == ("gender", "age")
    assert found.speakers.rows() == [("a", "f", 30), ("b", "m", 41), ("c", "f", 52)]


def test_sides_that_contradict_each_other_are_refused():
    sides = {"enrol_gender": ["f", "m", "f", "m", "f", "f"], "test_gender": ["m"] * 6}
    with pytest.raises(TableError, match="one gender; 'a' has several"):
        trials_of(made(**sides))


def test_what_varies_from_trial_to_trial_is_no_attribute_of_speakers():
    """A column such as the duration of the trial once ended the audit."""
    found = trials_of(made(duration=[3, 4, 5, 6, 7, 8], gender=["f", "m", "f", "m", "f", "f"]))
    assert found.attributes == ("gender",)
    assert found.warnings == (
        "duration differs between trials of one speaker, and is no attribute of speakers.",
    )


def test_a_table_of_speakers_wins_and_strangers_are_told(tmp_path):
    people = pl.DataFrame({"spk": [" a", "b"], "gender": ["x", "NaN"], "room": ["far", "near"]})
    found = trials_of(made(gender=["f", "m", "f", "m", "f", "f"]), speakers=people)
    assert found.speakers.select("speaker", "gender", "room").rows() == [
        ("a", "x", "far"), ("b", None, "near"), ("c", None, None),
    ]  # fmt: skip
    assert found.warnings == ("1 speakers of the trials are not in the table of speakers.",)
    people.write_csv(tmp_path / "who.csv")
    made().write_csv(tmp_path / "scores.csv")
    read = read_trials(tmp_path / "scores.csv", speakers=tmp_path / "who.csv")
    assert read.speakers.equals(trials_of(made(), speakers=people).speakers)


@pytest.mark.parametrize(
    ("people", "message", "hint"),
    [
        ({"speaker": ["a", "a"], "room": ["far", "near"]}, "one row for each", None),
        ({"talkr": ["a"], "room": ["far"]}, "needs a column 'speaker'", None),
        ({"speaker": ["x"], "room": ["far"]}, "knows none of the trials' speakers", "alike"),
    ],
)
def test_tables_of_speakers_that_do_not_fit_are_refused(people, message, hint):
    with pytest.raises(TableError, match=message) as caught:
        trials_of(made(), speakers=pl.DataFrame(people))
    assert hint is None or hint in str(caught.value.hint)


@pytest.mark.parametrize(
    ("changed", "message", "hint"),
    [
        ({"score": None, "scor": [1] * 6}, "there is no 'score' among", "Did you mean 'scor'?"),
        ({"target": [1] * 6}, "6 of 6 usable trials are targets", "1 where both sides"),
        ({"target": [0] * 6}, "0 of 6 usable trials are targets", "1 where both sides"),
        ({"score": ["x"] * 6}, "0 of 0 usable", "6 trials have no score"),
    ],
)
def test_tables_that_are_no_trials_say_what_is_required(changed, message, hint):
    with pytest.raises(TableError, match=message) as caught:
        trials_of(made(**changed))
    assert hint in str(caught.value.hint)


def test_columns_that_are_not_there_name_the_nearest():
    with pytest.raises(TableError, match="no column 'scroe'") as caught:
        trials_of(made(), columns={"score": "scroe"})
    assert "'score'" in str(caught.value.hint)
    with pytest.raises(TableError, match="'scores' is not one of ours"):
        trials_of(made(), columns={"scores": "score"})


def test_files_that_hold_no_trials_are_refused(tmp_path):
    (tmp_path / "trials.txt").write_text("1 a b\n")
    with pytest.raises(TableError, match=r"CSV, TSV, JSONL or Parquet, not from 'trials\.txt'"):
        read_trials(tmp_path / "trials.txt")
    with pytest.raises(TableError, match="no file"):
        read_trials(tmp_path / "none.csv")


def test_lines_of_another_encoding_are_read_and_told(tmp_path):
    text = "score,enrol,test,target\n1,Zoë,Zoë,1\n0,Zoë,b,0\n"
    (tmp_path / "s.csv").write_bytes(text.encode("cp1252"))
    found = read_trials(tmp_path / "s.csv")
    assert found.speakers["speaker"].to_list() == ["Zoë", "b"]
    assert found.warnings == ("2 lines are not UTF-8 and were read as Windows-1252.",)


def many_speakers(**attributes):
    number = 60
    frame = pl.DataFrame({"score": [1.0, 0.0] * number,
                          "enrol": [f"s{k // 2:02d}" for k in range(2 * number)],
                          "test": [f"s{(k // 2 + k % 2) % number:02d}" for k in range(2 * number)],
                          "target": [1, 0] * number})  # fmt: skip
    people = {"speaker": [f"s{k:02d}" for k in range(number)]}
    return trials_of(frame, speakers=pl.DataFrame({**people, **attributes}))


def test_cohorts_are_kinds_and_ranges():
    trials = many_speakers(
        gender=["f", "m"] * 30, name=[f"n{k}" for k in range(60)], age=list(range(20, 80)),
        one=["x"] * 60,
    )  # fmt: skip
    assert trials.cohorts_by().attributes == ("gender", "age")
    _, ages = trials.cohorts_by().assignments
    assert set(ages.frame["value"]) == {
        "below 35", "35 to below 50", "50 to below 64", "64 and above",
    }  # fmt: skip
    assert trials.cohorts_by("name").assignments[0].frame["value"].n_unique() == 60
    with pytest.raises(TableError, match="no attribute 'gendr'") as caught:
        trials.cohorts_by("gendr")
    assert "'gender'" in str(caught.value.hint)


def many(wrong: int, *, given: bool) -> pl.DataFrame:
    """Three thousand trials of 30 speakers, some with the wrong label."""
    rows = [(a, b) for a in range(30) for b in range(30)] + [(a, a) for a in range(30)] * 70
    labels = [a == b for a, b in rows]
    labels[1 : 1 + wrong] = [True] * wrong
    frame = pl.DataFrame(
        {
            "score": [float(k % 7) for k in range(len(rows))],
            "enrol": [f"s{a}/x" for a, _ in rows],
            "test": [f"s{b}/y" for _, b in rows],
            "target": labels,
        }
    )
    speakers = {f"{side}_speaker": frame[side].str.split("/").list.first() for side in SIDES}
    return frame.with_columns(**speakers) if given else frame


SIDES = ("enrol", "test")


@pytest.mark.parametrize("given", [True, False])
def test_a_few_wrong_labels_are_left_out_and_named_and_many_are_refused(given):
    """One wrong label in 60,000 trials once refused them all."""
    trials = trials_of(many(2, given=given))
    assert trials.frame.height == many(0, given=given).height - 2
    assert trials.warnings == (
        "2 trials have a label that contradicts their speakers, such as 's0/x' against 's1/y', "
        "and were left out.",
    )
    with pytest.raises(TableError):
        trials_of(many(29, given=given))


def test_attributes_cross():
    who = pl.DataFrame(
        {"speaker": ["a", "b", "c"], "sex": ["f", "m", None], "land": ["x", "y", "x"]}
    )
    (both,) = trials_of(made(), speakers=who).cohorts_by("sex*land").assignments
    assert both.attribute == "sex×land"
    assert both.frame["value"].to_list() == ["f×x", "m×y", None]
    with pytest.raises(TableError, match="no attribute 'lamd'"):
        trials_of(made(), speakers=who).cohorts_by("sex*lamd")
