# SPDX-License-Identifier: Apache-2.0
"""Both ways of hearing give the same rows, and a side is heard by its own recognizer."""

import copy

import pytest
import torch

from evenear.data.batching.store import StoreConfig, build_store
from evenear.training.mitigation.adaptation.candidates import Repaired
from evenear.training.mitigation.judgement.measuring import (
    measured,
    measured_by_speaker,
    streamed,
    whole,
)
from training.mitigation.tone_speakers import utterances, write_model


@pytest.fixture
def heard(tmp_path):
    bundle = write_model(tmp_path / "model")
    spoken = utterances(tmp_path / "tones")
    members = {u.speaker: u.attributes["age"] < 18 for u in spoken}
    store = build_store(
        spoken, tmp_path / "frames", StoreConfig(features=bundle.features, augment=False)
    )
    return bundle, spoken, members, store


def silent(model: torch.nn.Module) -> torch.nn.Module:
    """A model that only ever says blank."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        model.joiner.output.bias[model.blank_id] += 100.0
    return model


def test_rows_name_everyone_once(heard):
    bundle, spoken, members, store = heard
    before = Repaired(bundle.model)
    for rows in (
        whole(bundle, before, store, members.get),
        streamed(bundle, before, members.get)(spoken),
    ):
        assert sorted(row.utterance_id for row in rows) == sorted(u.utterance_id for u in spoken)
        assert all(row.words.reference_words == 2 for row in rows)


def test_each_side_is_heard_by_its_own_recognizer(heard):
    bundle, spoken, members, store = heard
    made = Repaired(bundle.model, cohort=silent(bundle.model))
    for rows in (
        whole(bundle, made, store, members.get),
        streamed(bundle, made, members.get)(spoken),
    ):
        assert {row.speaker for row in rows if not row.hypothesis} == {
            speaker for speaker, is_member in members.items() if is_member
        }


def test_rows_that_are_there_are_not_heard_again(heard, tmp_path):
    bundle, _, members, store = heard
    path = tmp_path / "rows.jsonl"
    first = measured(path, "x", lambda: whole(bundle, Repaired(bundle.model), store, members.get))
    again = measured(path, "x", lambda: pytest.fail("heard again"))
    assert again.frame.equals(first.frame)
    assert {"age", "gender"} <= set(again.attributes)


def test_whoever_is_killed_goes_on_with_the_next_speaker(heard, tmp_path):
    bundle, spoken, members, _ = heard
    listen = streamed(bundle, Repaired(bundle.model), members.get)
    whole_table = measured_by_speaker(tmp_path / "whole.jsonl", "x", spoken, listen)
    path, speakers = tmp_path / "rows.jsonl", list[str]()

    def killed(own):
        speakers.append(own[0].speaker)
        if len(speakers) == 4:
            raise KeyboardInterrupt
        return listen(own)

    with pytest.raises(KeyboardInterrupt):
        measured_by_speaker(path, "x", spoken, killed)
    assert not path.exists()
    again = measured_by_speaker(path, "x", spoken, killed)
    assert again.frame.equals(whole_table.frame)
    assert speakers[3] == speakers[4]
    assert len(set(speakers)) == len(speakers) - 1
    assert not path.with_suffix("").exists()
    assert measured_by_speaker(path, "x", spoken, killed).frame.equals(again.frame)
