# SPDX-License-Identifier: Apache-2.0
"""A whole repair: killed anywhere it goes on, what is not its own it refuses."""

import os
import subprocess
import sys
import time

import pytest
import torch

from evenear.audit.report import AuditSettings
from evenear.checkpoint import load_model
from evenear.config import replace
from evenear.encoders.transformer import TransformerConfig
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


def test_only_the_upper_part_moves_where_layers_are_given(place):
    write_model(place / "model", layers=2)
    repair = prepared(place, plan(settings=(1.0,), layers=1, rate=0.01))
    result = finish(repair, SMALL)
    before = load_model(place / "model").model.state_dict()
    after = load_model(repair.folder / "model").model.state_dict()
    moved = {name for name, tensor in before.items() if not torch.equal(after[name], tensor)}
    assert any(name.startswith("joiner.") for name in moved)
    layers = {name.split(".")[3] for name in moved if name.startswith("encoder.lstm.")}
    assert layers == {"1"}
    assert result.to_dict()["settings"]["mitigation"]["layers"] == 1
    assert "the last 1 encoder layers and the heads" in load_model(repair.folder / "model").card


def test_without_any_layer_a_transformer_keeps_its_encoder(place):
    encoder = TransformerConfig(
        dim=8, num_heads=2, num_layers=1, ff_dim=8, block_frames=8, left_frames=8, right_frames=8
    )
    features = load_model(place / "model").features
    write_model(place / "model", encoder=replace(encoder, feature_dim=features.dim))
    repair = prepared(place, plan("fine-tune", settings=(1.0,), layers=0, rate=0.01))
    finish(repair, SMALL)
    made = load_model(repair.folder / "model")
    before, after = load_model(place / "model").model.state_dict(), made.model.state_dict()
    moved = {name for name, tensor in before.items() if not torch.equal(after[name], tensor)}
    assert moved
    assert not any(name.startswith("encoder.") for name in moved)
    assert ", heads, seed" in made.card


def test_an_embedding_that_the_lower_layers_must_hear_is_refused(place):
    with pytest.raises(ConfigError, match="first layer"):
        prepared(place, plan("cohort-embedding", layers=1))


def test_given_tuning_speakers_choose(place):
    wanted = {"s00", "s01", "s02"}
    assert prepared(place, tuning=wanted).division.tuning == wanted


_COMMAND = """
import sys
from training.mitigation.test_repair import SMALL, prepared
from evenear.training.mitigation.judgement.finishing import finish
from pathlib import Path
finish(prepared(Path(sys.argv[1]), out="killed"), SMALL)
"""


def test_killed_for_good_by_the_system_it_goes_on_and_the_model_is_as_it_was(place):
    """SIGKILL leaves no time to tidy up; whatever lies about must be good to go on from."""
    whole = finish(prepared(place, out="whole"), SMALL).to_dict()
    original = contents(place / "model")
    begin = [sys.executable, "-c", _COMMAND, str(place)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    for wanted in ("candidates/ewc-1", "candidates/ewc-100", "rows/test-before.jsonl"):
        process = subprocess.Popen(begin, env=environment)
        while process.poll() is None and not (place / "killed" / wanted).exists():
            time.sleep(0.005)
        process.kill()
        process.wait()
        assert not (place / "killed" / "result.json").exists()
        assert contents(place / "model") == original
    assert finish(prepared(place, out="killed"), SMALL).to_dict() == whole
    assert contents(place / "model") == original
