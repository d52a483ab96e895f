# SPDX-License-Identifier: Apache-2.0
import importlib.util
import sys

import numpy as np
import polars as pl
import pytest

from audit.discovery.voice.test_voiceprint import voice
from audit.simulated import results
from evenear.audit.discovery.voice.embeddings import (
    Embeddings,
    embed_audio,
    read_embeddings,
    resemblyzer_encoder,
    shipped_encoder,
    speaker_vectors,
    with_embeddings,
)
from evenear.audit.discovery.voice.voiceprint import voiceprint
from evenear.errors import AudioError, MissingDependencyError, TableError

needs_audio = pytest.mark.skipif(
    importlib.util.find_spec("soundfile") is None, reason="reading audio needs soundfile"
)


def corpus(number=12):
    table = results({"age": ["old"] * number})
    vectors = np.random.default_rng(0).normal(size=(table.num_utterances, 5)).astype(np.float32)
    return table, vectors


def written(kind, folder, names, vectors):
    path = folder / f"embeddings.{kind.split()[0]}"
    if kind == "npz":
        np.savez(path, utterance_id=np.array(names), embedding=vectors)
    elif kind == "npz by id":
        np.savez(path, **dict(zip(names, vectors, strict=True)))
    elif kind == "npy":
        np.save(path, vectors)
    elif kind == "npy and txt":
        np.save(path, vectors[::-1])
        path.with_suffix(".txt").write_text("\n".join(reversed(names)) + "\n")
    elif kind == "parquet of lists":
        pl.DataFrame({"utt": names, "vector": vectors.tolist()}).write_parquet(path)
    else:
        columns = {f"d{k}": vectors[:, k] for k in range(vectors.shape[1])}
        pl.DataFrame({"utterance_id": names, **columns}).write_parquet(path)
    return path


KINDS = ["npz", "npz by id", "npy", "npy and txt", "parquet of lists", "parquet of columns"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_gives_the_same_voices(kind, tmp_path):
    table, vectors = corpus()
    names = table.frame["utterance_id"].to_list()
    found = with_embeddings(table, written(kind, tmp_path, names, vectors))
    speakers, means_SD = speaker_vectors(found)
    assert speakers.to_list() == table.speakers["speaker"].to_list()
    for speaker, mean_D in zip(speakers, means_SD, strict=True):
        own = (table.frame["speaker"] == speaker).to_numpy()
        np.testing.assert_allclose(mean_D, vectors[own].mean(axis=0), rtol=1e-5, atol=1e-6)
    assert found.attributes == table.attributes


def test_vectors_of_speakers_are_taken_once_each():
    table, _ = corpus()
    names = tuple(table.speakers["speaker"])
    vectors = np.random.default_rng(1).normal(size=(len(names), 3)).astype(np.float32)
    found = with_embeddings(table, Embeddings(names, vectors))
    assert found.frame["embedding"].count() == len(names)
    np.testing.assert_allclose(speaker_vectors(found)[1], vectors, rtol=1e-6)


def test_a_table_may_bring_lists_of_its_own():
    table, vectors = corpus()
    frame = table.frame.with_columns(embedding=pl.Series(vectors.tolist()))
    assert speaker_vectors(type(table)(frame))[1].shape == (12, 5)
    uneven = [row[: 2 + k % 2] for k, row in enumerate(vectors.tolist())]
    frame = table.frame.with_columns(embedding=pl.Series(uneven))
    with pytest.raises(TableError, match="same length, got lengths from 2 to 3"):
        speaker_vectors(type(table)(frame))


def test_numbers_that_are_not_finite_and_speakers_without_vectors_are_told():
    table, vectors = corpus()
    vectors[0, 0] = np.nan
    kept = table.frame["speaker"] != "s0011"
    names = tuple(table.frame["utterance_id"].filter(kept))
    found = with_embeddings(table, Embeddings(names, vectors[kept.to_numpy()]))
    assert "1 embeddings are not finite and were left out." in found.warnings
    assert "1 speakers have no embedding." in found.warnings
    assert "s0011" not in speaker_vectors(found)[0].to_list()


def test_names_that_match_nothing_are_shown():
    table, vectors = corpus()
    with pytest.raises(TableError, match=r"'audio/x1'.*'u000000'.*'s0000'"):
        with_embeddings(table, Embeddings(("audio/x1",), vectors[:1]))


def test_a_name_may_come_once():
    table, vectors = corpus()
    with pytest.raises(TableError, match="'u000001' has more"):
        with_embeddings(table, Embeddings(("u000001", "u000001"), vectors[:2]))


def test_rows_without_names_must_be_as_many_as_utterances():
    table, vectors = corpus()
    with pytest.raises(TableError, match=f"each of the {table.num_utterances} utterances, got 3"):
        with_embeddings(table, Embeddings((), vectors[:3]))


@pytest.mark.parametrize(
    ("names", "vectors", "said"),
    [
        ((), np.zeros(3), "must be a matrix"),
        ((), np.array([["a"]]), "must be a matrix of numbers"),
        (("a",), np.zeros((2, 2)), "got 1 names for 2 embeddings"),
    ],
)
def test_what_is_no_matrix_is_refused(names, vectors, said):
    with pytest.raises(TableError, match=said):
        Embeddings(names, vectors)


def test_files_that_hold_none_are_refused(tmp_path):
    with pytest.raises(TableError, match="There is no file"):
        read_embeddings(tmp_path / "nothing.npz")
    with pytest.raises(TableError, match=r"not from 'voices.h5'"):
        read_embeddings(tmp_path / "voices.h5")
    broken = tmp_path / "broken.npy"
    broken.write_bytes(b"not numbers")
    with pytest.raises(TableError, match="can be read"):
        read_embeddings(broken)
    strange = tmp_path / "strange.npz"
    np.savez(strange, a=np.zeros((2, 2)), b=np.zeros((3, 3)))
    with pytest.raises(TableError, match=r"it holds a float64\[2, 2\], b float64\[3, 3\]"):
        read_embeddings(strange)
    nameless = tmp_path / "nameless.parquet"
    pl.DataFrame({"x": [1.0], "y": [2.0]}).write_parquet(nameless)
    with pytest.raises(TableError, match="column utterance_id or speaker"):
        read_embeddings(nameless)


def test_tables_without_voices_say_what_to_do():
    table, _ = corpus()
    with pytest.raises(TableError, match=r"has none\. Join them with `with_embeddings`"):
        speaker_vectors(table)
    frame = table.frame.with_columns(embedding=pl.lit("voice.npy"))
    with pytest.raises(TableError, match="only names of embeddings"):
        speaker_vectors(type(table)(frame))


@needs_audio
def test_audio_is_heard_and_what_cannot_be_is_told(tmp_path):
    from evenear.audio import write_audio

    table, _ = corpus(3)
    paths = {}
    for row, name in enumerate(table.frame["utterance_id"]):
        paths[name] = tmp_path / f"{name}.wav"
        write_audio(paths[name], voice(100.0 + 20.0 * row, (600, 1500)), sample_rate=16_000)
    paths["u000000"] = tmp_path / "missing.wav"
    heard = []
    found = embed_audio(table, paths, progress=heard.append)
    assert sum(heard) == len(paths)
    assert found.frame["embedding"].null_count() == 1
    assert any("could not be heard" in note and "missing.wav" in note for note in found.warnings)
    vector_D = found.frame.filter(pl.col("utterance_id") == "u000001")["embedding"][0].to_numpy()
    np.testing.assert_allclose(vector_D, voiceprint(voice(120.0, (600, 1500))), atol=0.1)


@needs_audio
def test_a_folder_is_listened_to_and_the_encoder_is_named(tmp_path, monkeypatch):
    from evenear.audio import write_audio

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)  # no Resemblyzer
    table, _ = corpus(3)
    (tmp_path / "deep").mkdir()
    (tmp_path / "notes.txt").write_text("no sound")
    for row, name in enumerate(table.frame["utterance_id"][:3]):
        path = tmp_path / "deep" / f"{name}.WAV"
        write_audio(path.with_suffix(".wav"), voice(100.0 + 20.0 * row, (600,)), sample_rate=16_000)
        path.with_suffix(".wav").rename(path)
    found = with_embeddings(table, tmp_path)
    assert found.frame["embedding"].null_count() == table.frame.height - 3
    assert any("told apart by spectra" in note for note in found.warnings)


@needs_audio
def test_audio_that_cannot_be_heard_at_all_is_an_error(tmp_path):
    def encode(samples):
        raise AudioError("Too quiet.")

    table, _ = corpus(3)
    with pytest.raises(TableError, match=r"0 have a path.*found by utterance_id"):
        embed_audio(table, {})
    from evenear.audio import write_audio

    path = tmp_path / "one.wav"
    write_audio(path, voice(100.0, (600,)), sample_rate=16_000)
    with pytest.raises(TableError, match="first failure: Too quiet"):
        embed_audio(table, {"u000000": path}, encode)


def test_resemblyzer_is_an_option_that_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "resemblyzer", None)
    with pytest.raises(MissingDependencyError, match="pip install resemblyzer"):
        resemblyzer_encoder()


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="the model needs torch")
def test_with_torch_voices_are_told_apart_by_the_shipped_model(tmp_path):
    from evenear.audio import write_audio

    table, _ = corpus(3)
    for row, name in enumerate(table.frame["utterance_id"][:3]):
        sound = np.tile(voice(100.0 + 20.0 * row, (600,)), 3)
        write_audio(tmp_path / f"{name}.wav", sound, sample_rate=16_000)
    found = with_embeddings(table, tmp_path)
    width = shipped_encoder()(np.tile(voice(100.0, (600,)), 3)).shape
    assert found.frame.schema["embedding"].shape == width
    assert found.frame["embedding"].null_count() == table.frame.height - 3
    assert any("evenear-speaker" in note for note in found.warnings)
