# SPDX-License-Identifier: Apache-2.0
"""A whole repair: killed anywhere it goes on, what is not its own it refuses."""

import pytest

from evenear.audit.report import AuditSettings
from evenear.errors import CheckpointError, CohortError, ConfigError
from evenear.training.mitigation.judgement.finishing import finish
from evenear.training.mitigation.repair import Repair, Watch
from training.mitigation.tone_speakers import plan, utterances, write_model, write_speakers

SMALL = AuditSettings(num_resamples=200, min_speakers=2, min_words=4)


@pytest.fixture
def place(tmp_path):
    write_model(tmp_path / "model")
    return tmp_path


def prepared(place, how=None, out: str = "out", **options) -> Repair:
    spoken = utterances(place / "tones")
    how = how or plan(settings=(1.0, 100.0))
    return Repair.prepare(place / "model", spoken, how, place / out, **options)


def contents(folder) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_tuning_and_test_tables_hold_their_speakers_only(place):
    repair = prepared(place)
    before, after = repair.tables
    assert set(before.speakers["speaker"]) == repair.division.test
    assert set(after.speakers["speaker"]) == repair.division.test
    assert len(repair.choice.points) == 2


def test_attributes_that_divide_speakers_judge(place):
    assert prepared(place).plan.by == ("age", "gender")
    assert prepared(place, out="two", by=["gender"]).plan.by == ("gender",)
    with pytest.raises(ConfigError, match="gender"):
        prepared(place, out="three", by=["gendr"])


def test_killed_in_each_stage_the_same_call_goes_on_to_the_same_result(place):
    whole = finish(prepared(place, out="whole"), SMALL).to_dict()
    original = contents(place / "model")
    stages: list[str] = []
    finish(prepared(place, out="count", watch=Watch(lambda name, _: stages.append(name))), SMALL)

    for number in range(0, len(stages), 2):
        seen = 0

        def kill(_name: str, _total: int | None, stop: int = number) -> None:
            nonlocal seen
            seen += 1
            if seen > stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            finish(prepared(place, out="killed", watch=Watch(kill)), SMALL)
    resumed = finish(prepared(place, out="killed"), SMALL).to_dict()
    assert resumed == whole
    assert contents(place / "model") == original


def test_a_finished_repair_is_not_overwritten(place):
    finish(prepared(place), SMALL)
    with pytest.raises(CheckpointError, match="finished"):
        prepared(place)


def test_another_repair_in_the_same_folder_is_refused(place):
    prepared(place)
    with pytest.raises(CheckpointError, match="another repair"):
        prepared(place, plan(seed=1, settings=(1.0, 100.0)))


def test_a_folder_of_something_else_is_refused(place):
    (place / "out").mkdir()
    (place / "out" / "notes.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="not empty"):
        prepared(place)
    with pytest.raises(CheckpointError, match="where its model is"):
        prepared(place, out="model")


def test_given_test_speech_is_what_tests(place):
    from evenear.evaluation import load_utterances

    others = load_utterances(write_speakers(place / "others", num_speakers=6, first=40))
    repair = prepared(place, test=others)
    assert repair.division.test == {f"s{k}" for k in range(40, 46)}
    with pytest.raises(CohortError, match="comes twice"):
        prepared(place, out="two", test=utterances(place / "tones")[:8])


def test_speech_without_transcripts_is_adapted_to_unless_its_speaker_is_held_out(place):
    from evenear.evaluation import load_utterances

    more = load_utterances(write_speakers(place / "more", num_speakers=6, first=60))
    plain = prepared(place)
    same = [u for u in utterances(place / "tones") if u.speaker in plain.division.test]
    repair = prepared(place, plan(keep_share=1.0), out="two", unlabeled=[*more, *same])
    assert {u.speaker for u in repair.unlabeled} == {"s61", "s63", "s65"}
    adapted = {u.utterance_id for u in repair._adaptation.utterances}
    told = {u.utterance_id: u.text for u in repair._machine_transcribed()}
    assert told
    assert set(told) <= adapted
    assert all(
        text == u.text
        for u in repair._adaptation.utterances
        if (text := told.get(u.utterance_id)) is not None
    )
