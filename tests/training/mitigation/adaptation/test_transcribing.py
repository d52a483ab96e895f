# SPDX-License-Identifier: Apache-2.0
"""Machine texts: the surest are kept, empty ones never, and nothing is transcribed twice."""

import pytest

from evenear.training.mitigation.adaptation.transcribing import (
    MachineText,
    confident,
    machine_texts,
)
from training.mitigation.tone_speakers import utterances, write_model


@pytest.fixture
def spoken(tmp_path):
    return utterances(tmp_path / "tones", num_speakers=3)


def test_the_surest_are_kept_and_marked(spoken):
    texts = [MachineText(u.utterance_id, "LOW", 0.1 * k) for k, u in enumerate(spoken)]
    kept = confident(spoken, texts, keep=0.5)
    assert {u.utterance_id for u in kept} == {u.utterance_id for u in spoken[3:]}
    assert all(u.text == "LOW" and u.attributes["machine_transcribed"] for u in kept)


def test_an_utterance_without_a_word_is_never_kept(spoken):
    texts = [MachineText(u.utterance_id, "" if k else "LOW", 0.9) for k, u in enumerate(spoken)]
    assert [u.utterance_id for u in confident(spoken, texts, keep=1.0)] == [spoken[0].utterance_id]


def test_texts_are_the_models_own_with_probabilities_and_written_once(spoken, tmp_path):
    bundle = write_model(tmp_path / "model")
    heard: list[int] = []
    texts = machine_texts(bundle, spoken, tmp_path / "out", progress=heard.append)
    assert {t.utterance_id for t in texts} == {u.utterance_id for u in spoken}
    assert all(0.0 <= t.confidence <= 1.0 for t in texts)
    assert sum(heard) == len(spoken)
    assert machine_texts(bundle, spoken, tmp_path / "out", progress=heard.append) == texts
    assert sum(heard) == len(spoken)
