# SPDX-License-Identifier: Apache-2.0
"""An evaluation counts what a second counter counts, and writes rows that an audit reads."""

import json
from dataclasses import replace
from pathlib import Path

import jiwer
import numpy as np
import pytest
import soundfile

from evenear.audio import read_audio
from evenear.audit import read_table
from evenear.data.corpora.manifests import load_cuts, save_cuts
from evenear.errors import AudioError, EvenearError, ManifestError
from evenear.evaluation import (
    CONDITIONS,
    Condition,
    Row,
    load_utterances,
    recognize,
    summarize,
    write_rows,
)
from evenear.metrics.latency import ComputeTime
from evenear.metrics.words import WordErrors, normalize, word_errors
from evenear.streaming import Recognizer
from laws import random_sound, tiny_bundle
from noise_corpus import rows_of, write_noise_corpus


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer(tiny_bundle())


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    return write_noise_corpus(tmp_path_factory.mktemp("noise"))


@pytest.fixture(scope="module")
def rows(recognizer, manifest) -> list[Row]:
    return list(recognize(recognizer, load_utterances(manifest)))


def row(speaker: str, errors: int, words: int, seconds: float = 1.0) -> Row:
    counts = WordErrors(substitutions=errors, reference_words=words)
    compute = ComputeTime(seconds, (seconds / 10,))
    return Row(f"{speaker}{errors}", speaker, "", "", counts, seconds, compute)


def test_each_row_has_what_the_recognizer_hears_of_the_whole_file(recognizer, manifest, rows):
    heard = [
        " ".join(s.text for s in recognizer.transcribe(manifest.parent / r["audio"]))
        for r in rows_of()
    ]
    assert [r.hypothesis for r in rows] == [normalize(text, "basic") for text in heard]
    assert any(heard)
    assert [r.seconds for r in rows] == [r["seconds"] for r in rows_of()]


def test_the_length_of_chunks_changes_no_word(recognizer, manifest, rows):
    for chunk_seconds in (0.01, 0.37, 60.0):
        again = recognize(recognizer, load_utterances(manifest), chunk_seconds=chunk_seconds)
        assert [r.hypothesis for r in again] == [r.hypothesis for r in rows]


def test_every_chunk_is_timed_and_the_end_of_the_stream_too(rows):
    for r in rows:
        assert len(r.compute.chunk_seconds) == -(-round(r.seconds * 16_000) // 2560) + 1
        assert all(seconds > 0 for seconds in r.compute.chunk_seconds)
        assert r.compute.heard_seconds == r.seconds


def test_counts_are_those_of_another_counter(rows):
    said = [r for r in rows if r.reference]
    counted = jiwer.process_words([r.reference for r in said], [r.hypothesis for r in said])
    extra = sum(len(r.hypothesis.split()) for r in rows if not r.reference)
    result = summarize(rows)
    errors = counted.substitutions + counted.deletions + counted.insertions
    assert result.words.errors == errors > 0
    assert result.silent_errors == extra > 0
    assert result.words.reference_words == sum(len(r.reference.split()) for r in said)


def test_case_and_punctuation_are_no_errors(recognizer, manifest, rows):
    assert rows[0].reference == normalize("T t, t?", "basic")
    heard = [{**r, "text": rows[k].hypothesis.title() + "!"} for k, r in enumerate(rows_of())]
    spoken = write_noise_corpus(manifest.parent / "spoken", heard)
    result = summarize(list(recognize(recognizer, load_utterances(spoken))))
    assert result.words.errors == 0
    assert result.words.reference_words > 0


def test_a_part_of_a_file_is_heard_as_if_it_were_a_file(recognizer, tmp_path):
    sound = random_sound(6.0, seed=3)
    places = [(0.0, 2.0), (2.5, 1.5), (4.0, 2.0)]
    rows = []
    for k, (start, seconds) in enumerate(places):
        first = round(start * 16_000)
        part = sound[first : first + round(seconds * 16_000)]
        soundfile.write(tmp_path / f"part{k}.wav", part, 16_000, subtype="FLOAT")
        own = {"utterance_id": f"u{k}", "speaker": "ann", "text": "A", "seconds": seconds}
        rows.append({**own, "audio": "whole.wav", "start_seconds": start})
        rows.append({**own, "audio": f"part{k}.wav", "utterance_id": f"part{k}"})
    soundfile.write(tmp_path / "whole.wav", sound, 16_000, subtype="FLOAT")
    found = list(recognize(recognizer, load_utterances(write_noise_corpus(tmp_path, rows))))
    assert [r.hypothesis for r in found[::2]] == [r.hypothesis for r in found[1::2]]
    assert any(r.hypothesis for r in found)
    assert [r.seconds for r in found[::2]] == [seconds for _, seconds in places]


def test_the_rows_are_a_table_that_an_audit_reads(rows, tmp_path):
    write_rows(rows, tmp_path / "new" / "rows.jsonl")
    table = read_table(tmp_path / "new" / "rows.jsonl")
    result = summarize(rows)
    assert (table.errors, table.words) == (result.words.errors, result.words.reference_words)
    assert set(table.speakers["speaker"]) == {"ann", "bob", "cy"}
    assert {"age", "gender", "split"} <= set(table.frame.columns)


def test_no_attribute_takes_the_place_of_a_count(rows, tmp_path):
    """A corpus may have scores of words, a field `errors`, or anything else."""
    boasting = {"errors": 0, "words": [{"score": 9}], "hypothesis": "A", "mood": "proud"}
    proud = [replace(r, attributes=boasting) for r in rows]
    write_rows(proud, tmp_path / "rows.jsonl")
    written = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    for own, r in zip(written, rows, strict=True):
        assert (own["errors"], own["words"]) == (r.words.errors, r.words.reference_words)
        assert own["hypothesis"] == r.hypothesis
        assert (own["corpus_errors"], own["corpus_hypothesis"]) == (0, "A")
        assert own["mood"] == "proud"


def test_the_rate_is_pooled_and_lies_in_its_interval():
    result = summarize([row("ann", 9, 10), row("bob", 0, 90), row("cy", 5, 50)])
    values = result.to_dict()
    assert values["wer"] == pytest.approx(14 / 150)
    assert values["low"] < values["wer"] < values["high"]
    assert (values["utterances"], values["speakers"]) == (3, 3)


def test_utterances_of_one_speaker_do_not_make_an_interval():
    values = summarize([row("ann", k, 10) for k in range(8)]).to_dict()
    assert values["low"] is values["high"] is None
    assert values["speakers"] == 1


def test_the_interval_depends_on_speakers_not_on_how_often_each_spoke():
    few = [row(f"s{k}", 1 + k % 4, 10) for k in range(12)]
    many = few * 20
    first, second = summarize(few).to_dict(), summarize(many).to_dict()
    assert first["low"] == pytest.approx(second["low"])
    assert first["high"] == pytest.approx(second["high"])


def test_the_same_rows_give_the_same_interval():
    rows = [row(f"s{k}", k % 4, 10) for k in range(12)]
    assert summarize(rows).interval == summarize(rows).interval


def test_where_nothing_was_said_there_is_no_rate():
    values = summarize([row("ann", 0, 0), row("bob", 2, 0)]).to_dict()
    assert values["wer"] is values["low"] is values["high"] is None
    assert (values["errors"], values["silent_errors"]) == (0, 2)


def test_computing_time_is_pooled():
    values = summarize([row("ann", 0, 1, 9.0), row("bob", 0, 1, 1.0)]).to_dict()
    assert values["rtf"] == pytest.approx(0.1)
    assert values["seconds"] == 10.0


def test_delays_of_words_are_known_and_none_lies_ahead(rows):
    for r in rows:
        assert len(r.final_delays) == len(r.hypothesis.split())
        assert all(delay >= -1e-9 for delay in r.final_delays)
    assert any(r.final_delays for r in rows)


def test_joined_utterances_share_what_was_heard_of_one_stream(recognizer, manifest):
    joined = Condition("joined", CONDITIONS["joined"].change, joins_seconds=3.0)
    utterances = load_utterances(manifest)
    found = list(recognize(recognizer, utterances, condition=joined))
    assert [r.utterance_id for r in found] == [u.utterance_id for u in utterances]
    assert [r.reference for r in found] == [normalize(u.text) for u in utterances]
    streams = [r for r in found if r.compute.chunk_seconds]
    assert 1 < len(streams) < len(found)
    assert (
        sum(r.words.errors for r in found)
        >= word_errors(
            " ".join(r.reference for r in found), " ".join(r.hypothesis for r in found)
        ).errors
    )
    for r in found:
        assert r.words.reference_words == len(r.reference.split())
        heard = r.words.reference_words - r.words.deletions + r.words.insertions
        assert heard == len(r.hypothesis.split())


def test_where_there_is_no_speech_every_word_is_one_too_many(recognizer, manifest):
    found = list(recognize(recognizer, load_utterances(manifest), condition=CONDITIONS["tone"]))
    assert all(r.reference == "" for r in found)
    assert all(r.words.errors == len(r.hypothesis.split()) for r in found)


def test_one_split_can_be_taken(manifest):
    assert {u.speaker for u in load_utterances(manifest, split="dev")} == {"ann"}
    with pytest.raises(ManifestError, match="no utterance in split 'tset'") as raised:
        load_utterances(manifest, split="tset")
    assert raised.value.hint == "It has: dev, test."


def test_missing_audio_is_counted_before_anything_is_recognized(tmp_path):
    manifest = write_noise_corpus(tmp_path)
    for name in ("u1.wav", "u4.wav"):
        (tmp_path / name).unlink()
    with pytest.raises(ManifestError, match=r"2 of 6 utterances .* the first is 'u1'") as raised:
        load_utterances(manifest)
    assert raised.value.hint is not None
    assert "evenear data validate" in raised.value.hint


def test_an_utterance_that_would_count_twice_is_refused(tmp_path):
    cuts = save_cuts(load_cuts(write_noise_corpus(tmp_path)), tmp_path / "cuts.jsonl")
    first, *others = cuts.read_text().splitlines()
    cuts.write_text("\n".join([first, *others, first]))
    with pytest.raises(ManifestError, match=r"'u0' is in .* more than once"):
        load_utterances(cuts)


def test_a_broken_row_is_named(tmp_path):
    manifest = write_noise_corpus(tmp_path)
    lines = manifest.read_text().splitlines()
    lines[2] = '{"utterance_id": "u2", "speaker": "cy"}'
    manifest.write_text("\n".join(lines))
    with pytest.raises(ManifestError, match=r"utterances\.jsonl:3"):
        load_utterances(manifest)


def test_a_damaged_file_in_the_middle_is_named(recognizer, tmp_path):
    manifest = write_noise_corpus(tmp_path)
    utterances = load_utterances(manifest)
    (tmp_path / "u1.wav").write_bytes(b"RIFF, or so it says")
    found = recognize(recognizer, utterances)
    next(found)
    with pytest.raises(AudioError, match=r"u1\.wav"):
        next(found)


def test_rows_are_whole_or_absent(rows, tmp_path):
    """A directory in the way, as a disk that is full, leaves what was there."""
    (tmp_path / "rows.jsonl").mkdir()
    with pytest.raises(EvenearError, match=r"rows\.jsonl cannot be written"):
        write_rows(rows, tmp_path / "rows.jsonl")
    assert [p.name for p in tmp_path.iterdir()] == ["rows.jsonl"]


def test_the_corpus_of_noise_is_read_without_change(manifest):
    """Or the comparison of parts with wholes would compare less than it says."""
    assert np.array_equal(read_audio(manifest.parent / "u0.wav"), random_sound(1.0, seed=0))
