# SPDX-License-Identifier: Apache-2.0
"""Speakers are held out whole, test data is never read, and preparing twice changes nothing."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evenear.config import replace
from evenear.data.corpora.manifests import Utterance
from evenear.data.corpora.rows import UNKNOWN_SPEAKER
from evenear.errors import ManifestError
from evenear.features import stack_frames
from evenear.training.runs.preparation import (
    Corpus,
    Source,
    build_model,
    feature_statistics,
    held_out_speakers,
    prepare,
    split_speakers,
)
from tiny_corpora import write_json_lines, write_tone
from training.tone_words import config, corpus, write_corpus


@pytest.fixture(scope="module")
def known(tmp_path_factory) -> Corpus:
    return corpus(tmp_path_factory.mktemp("tones"), config())


def spoken(speaker: str, number: int, seconds: float, **attributes) -> Utterance:
    name = f"{speaker}-{number}"
    return Utterance(name, speaker, "LOW", Path(f"{name}.wav"), 0.0, seconds, attributes)


def test_no_held_out_speaker_is_trained_on(known):
    train = {row.speaker for row in known.train.utterances}
    dev = {row.speaker for row in known.dev.utterances}
    assert len(dev) == 1
    assert len(train) == 2
    assert not train & dev


def test_held_out_speech_is_stored_once_as_it_is(known):
    assert {row.copy for row in known.dev.utterances} == {0}
    assert {row.copy for row in known.train.utterances} == {0, 1}


def test_the_tokenizer_has_the_size_that_was_asked_for_and_spells_every_text(known):
    assert len(known.tokenizer) == 16
    for row in [*known.train.utterances, *known.dev.utterances]:
        assert known.tokenizer.decode(known.tokenizer.encode(row.text)) == row.text


def test_preparing_again_finds_what_was_prepared(tmp_path):
    first = corpus(tmp_path, config())
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "prepared").rglob("*.*")}
    second = corpus(tmp_path, config())
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert second.train.utterances == first.train.utterances
    assert second.tokenizer.model == first.tokenizer.model


def test_a_folder_can_be_prepared_for_another_vocabulary(tmp_path):
    settings = config()
    sources = [Source(write_corpus(tmp_path / "tones"))]
    for size in (16, 14):
        asked = replace(settings.data, vocabulary_size=size)
        assert len(prepare(sources, asked, tmp_path / "run", seed=0).tokenizer) == size


def rows_of(folder: Path, rows: list[tuple[str, str, str, str]]) -> Path:
    """A manifest of (id, speaker, text, split) over one second of tone."""
    audio = write_tone(folder / "tone.wav", 1.0)
    return write_json_lines(
        folder / "utterances.jsonl",
        [
            {
                "utterance_id": name,
                "speaker": speaker,
                "text": text,
                "audio": str(audio),
                "seconds": 1.0,
                "split": split,
            }
            for name, speaker, text, split in rows
        ],
    )


SENTENCE = "the quick brown fox jumps over the lazy dog and takes it away to a far country"


def everyone(folder: Path) -> Path:
    return rows_of(
        folder,
        [
            ("a1", "ann", f"{SENTENCE} Said she!", "train"),
            ("a2", "ann", SENTENCE, "test"),
            ("b1", "bob", SENTENCE, "train"),
            ("b2", "bob", "?!", "train"),
            ("c1", "cy", SENTENCE, "train"),
        ],
    )


def names(found: Corpus) -> set[str]:
    return {row.utterance_id for row in [*found.train.utterances, *found.dev.utterances]}


def test_excluded_splits_and_empty_texts_are_never_read(tmp_path):
    settings = replace(config().data, vocabulary_size=34)
    found = prepare([Source(everyone(tmp_path / "c"))], settings, tmp_path / "run", seed=0)
    assert names(found) == {"a1", "b1", "c1"}


def test_texts_are_normalized_before_they_are_learned(tmp_path):
    settings = replace(config().data, vocabulary_size=34)
    found = prepare([Source(everyone(tmp_path / "c"))], settings, tmp_path / "run", seed=0)
    texts = {r.utterance_id: r.text for r in [*found.train.utterances, *found.dev.utterances]}
    assert texts["a1"] == f"{SENTENCE.upper()} SAID SHE"


def test_repeats_are_those_of_the_source(tmp_path):
    settings = replace(config().data, vocabulary_size=34)
    more = rows_of(tmp_path / "more", [("d1", "dee", SENTENCE, "train")])
    sources = [Source(everyone(tmp_path / "c")), Source(more, repeats=0.5)]
    found = prepare(sources, settings, tmp_path / "run", seed=0)
    assert found.repeats == {"d1": 0.5}


def test_two_sources_may_not_give_one_name_to_two_utterances(tmp_path):
    settings = replace(config().data, vocabulary_size=34)
    more = rows_of(tmp_path / "more", [("a1", "dee", SENTENCE, "train")])
    sources = [Source(everyone(tmp_path / "c")), Source(more)]
    with pytest.raises(ManifestError, match="a1"):
        prepare(sources, settings, tmp_path / "run", seed=0)


def test_nothing_to_hold_out_is_an_error_that_says_what_to_do(tmp_path):
    alone = rows_of(tmp_path / "c", [("a1", "ann", SENTENCE, "train")])
    with pytest.raises(ManifestError, match="at least two recorded ones, got 1"):
        prepare([Source(alone)], config().data, tmp_path / "run", seed=0)
    with pytest.raises(ManifestError, match=r"data\.dev_speakers=2; 0 holds out utterances"):
        split_speakers([spoken(f"s{k}", 0, 1.0) for k in range(3)], 3, seed=0)


@pytest.mark.parametrize("split", ["test-clean", "dev_other", "eval", "valid"])
def test_no_split_for_testing_is_ever_read_and_what_was_left_out_is_said(tmp_path, split):
    rows = [("a1", "ann", SENTENCE, "train"), ("b1", "bob", f"{SENTENCE} and on", "train")]
    unread = [("c1", "cy", "A WORD ONLY TESTERS SAY", split), ("c2", "cy", SENTENCE, split)]
    source = Source(rows_of(tmp_path / "c", [*rows, *unread, ("a2", "ann", "?!", "train")]))
    settings = replace(config().data, vocabulary_size=34)
    found = prepare([source], settings, tmp_path / "run", seed=0)
    assert names(found) == {"a1", "b1"}
    assert found.left_out == {f"of the split {split}": 2, "without text": 1}


def test_data_that_is_all_for_testing_is_said_to_be(tmp_path):
    source = Source(rows_of(tmp_path / "c", [("c1", "cy", SENTENCE, "test-clean")]))
    with pytest.raises(ManifestError, match="all rows were left out, 1 of the split test-clean"):
        prepare([source], config().data, tmp_path / "run", seed=0)


@pytest.mark.parametrize("who", ["ann", UNKNOWN_SPEAKER])
def test_of_one_speaker_utterances_are_held_out_text_by_text(who):
    said = [dataclasses.replace(spoken(who, k, 1.0), text=f"WORD {k % 20}") for k in range(40)]
    train, dev = split_speakers(said, 12, seed=0)
    assert len(train) + len(dev) == 40
    assert len(dev) == 4
    assert not {u.text for u in train} & {u.text for u in dev}
    assert split_speakers(said[::-1], 12, seed=0)[1] == dev[::-1]


def test_utterances_are_held_out_of_many_speakers_on_request():
    said = [dataclasses.replace(spoken(f"s{k % 5}", k, 1.0), text=f"WORD {k}") for k in range(40)]
    made = dataclasses.replace(spoken("m", 99, 1.0, synthesized=True), text=said[0].text)
    train, dev = split_speakers([*said, made], 0, seed=0)
    assert len(dev) == 4
    assert all(not u.attributes for u in dev)
    assert not {u.text for u in train} & {u.text for u in dev}


def test_who_is_held_out_is_said(known, tmp_path):
    assert known.held_out == "12 held-out utterances of 1 other speaker"
    rows = [(f"a{k}", "ann", f"{SENTENCE} {'on ' * k}", "train") for k in range(3)]
    settings = replace(config().data, vocabulary_size=34)
    source = Source(rows_of(tmp_path / "c", rows))
    found = prepare([source], settings, tmp_path / "run", seed=0)
    assert "1 held-out utterance of 1 speaker trained on as well" in found.held_out


def test_a_vocabulary_fits_a_small_text_by_itself(tmp_path):
    sources = [Source(everyone(tmp_path / "c"))]
    asked = replace(config().data, vocabulary_size=256)
    first = prepare(sources, asked, tmp_path / "run", seed=0)
    assert 30 < len(first.tokenizer) < 256
    written = (tmp_path / "run" / "tokenizer.model").stat().st_mtime_ns
    again = prepare(sources, asked, tmp_path / "run", seed=0)
    assert again.tokenizer.model == first.tokenizer.model
    assert (tmp_path / "run" / "tokenizer.model").stat().st_mtime_ns == written


@given(
    st.dictionaries(
        st.text("abcdef", min_size=1, max_size=3), st.floats(0.5, 30.0), min_size=2, max_size=12
    ),
    st.integers(0, 2**32),
    st.data(),
)
def test_a_split_loses_nobody_and_doubles_nobody(seconds, seed, data):
    utterances = [spoken(name, k, length / 2) for name, length in seconds.items() for k in (0, 1)]
    num_dev = data.draw(st.integers(1, len(seconds) - 1))
    train, dev = split_speakers(utterances, num_dev, seed=seed)
    assert sorted(u.utterance_id for u in train + dev) == sorted(u.utterance_id for u in utterances)
    assert len({u.speaker for u in dev}) == num_dev
    assert not {u.speaker for u in dev} & {u.speaker for u in train}


def test_who_is_held_out_depends_on_the_seed_and_not_on_the_order():
    utterances = [spoken(f"s{k}", 0, 10.0) for k in range(30)]
    held = [
        {u.speaker for u in split_speakers(given_order, 5, seed=seed)[1]}
        for given_order, seed in ((utterances, 0), (utterances[::-1], 0), (utterances, 1))
    ]
    assert held[0] == held[1]
    assert held[0] != held[2]


def test_those_who_said_little_are_held_out_only_if_they_must_be():
    talkers = [spoken(f"t{k}", 0, 60.0) for k in range(4)]
    callers = [spoken(f"c{k}", 0, 2.0) for k in range(40)]
    for seed in range(20):
        _, dev = split_speakers(talkers + callers, 3, seed=seed)
        assert {u.speaker[0] for u in dev} == {"t"}
    _, dev = split_speakers(talkers + callers, 10, seed=0)
    assert len(dev) == 10


def test_synthesized_speakers_are_never_held_out():
    recorded = [spoken(f"r{k}", 0, 10.0) for k in range(3)]
    made = [spoken(f"m{k}", 0, 100.0, synthesized=True) for k in range(30)]
    for seed in range(10):
        _, dev = split_speakers(recorded + made, 2, seed=seed)
        assert {u.speaker[0] for u in dev} == {"r"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cuts.jsonl.gz", Source(Path("cuts.jsonl.gz"))),
        ("a/cuts.jsonl:3", Source(Path("a/cuts.jsonl"), 3.0)),
        ("a/cuts.jsonl:0.25", Source(Path("a/cuts.jsonl"), 0.25)),
        ("C:\\speech\\cuts.jsonl", Source(Path("C:\\speech\\cuts.jsonl"))),
        ("a:b/cuts.jsonl:2", Source(Path("a:b/cuts.jsonl"), 2.0)),
    ],
)
def test_a_source_is_a_path_and_perhaps_a_number(text, expected):
    assert Source.parse(text) == expected


@pytest.mark.parametrize("number", ["nan", "-1", "inf"])
def test_a_source_cannot_come_so_often(number):
    with pytest.raises(ManifestError, match=number):
        Source.parse(f"cuts.jsonl:{number}")


def test_statistics_are_those_of_all_stored_frames(known):
    mean_F, scale_F = feature_statistics(known.train, 3)
    frames_TM = np.concatenate([known.train.frames(i) for i in range(len(known.train))])
    np.testing.assert_allclose(mean_F.numpy(), np.tile(frames_TM.mean(0), 3), rtol=1e-5)
    np.testing.assert_allclose(1 / scale_F.numpy(), np.tile(frames_TM.std(0), 3), rtol=1e-4)


def test_a_fresh_model_hears_normalized_features(known):
    model = build_model(config(), known)
    features = [
        stack_frames(known.train.frames(i), config().data.store.features)
        for i in range(len(known.train))
    ]
    normal_TF = model.normalize(torch.from_numpy(np.concatenate(features)))
    assert normal_TF.mean(dim=0).abs().max() < 0.15
    assert (normal_TF.std(dim=0) - 1).abs().max() < 0.15


def test_a_fresh_model_depends_on_the_seed_alone(known):
    torch.rand(3)
    before = torch.random.get_rng_state()
    first, again = (build_model(config(), known).state_dict() for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    other = build_model(config(seed=1), known).state_dict()
    assert not torch.equal(first["joiner.output.weight"], other["joiner.output.weight"])


def test_a_fresh_model_knows_the_tokenizer_and_the_objective(known):
    model = build_model(config(), known)
    assert model.config.vocabulary_size == len(known.tokenizer)
    assert model.blank_id == known.tokenizer.blank_id
    assert model.ctc is not None
    without = replace(config(), objective=replace(config().objective, ctc_weight=0.0))
    assert build_model(without, known).ctc is None


def test_whom_a_run_holds_out_can_be_asked_before(known, tmp_path):
    manifest = write_corpus(tmp_path)
    found = held_out_speakers([Source(manifest)], config().data.dev_speakers, seed=config().seed)
    assert found == {u.speaker for u in known.dev.utterances}
