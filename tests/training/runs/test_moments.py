# SPDX-License-Identifier: Apache-2.0
"""A run of a verifier by moments, on buzzing speakers and the shipped recognizer's stem.

Dimensions: B utterances, X numbers, D width of an embedding.
"""

import numpy as np
import pytest
import torch

from evenear.audio import read_audio
from evenear.checkpoint import load_model
from evenear.checkpoint.folders import shipped_models
from evenear.checkpoint.speakers import load_speaker
from evenear.config import replace
from evenear.errors import ConfigError
from evenear.metrics.verification import eer
from evenear.models.moments import MomentsModel
from evenear.recipes.speaker import recipe
from evenear.training.runs.moments import MomentsRun
from evenear.training.runs.preparation import Source
from evenear.training.tasks.speaker import all_pairs
from evenear.verification import Embedder
from tiny_speakers import write_speakers

pytestmark = pytest.mark.skipif(
    "evenear-en" not in shipped_models(), reason="this installation has no recognizer"
)


def config(**options):
    base = recipe()
    settings = {
        "data": replace(base.data, dev_speakers=2),
        "model": replace(base.model, embedding_dim=4),
    }
    return replace(base, **(settings | options))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_speakers(tmp_path_factory.mktemp("speakers"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


def prepared(corpus, folder, **options):
    return MomentsRun.prepare(config(**options), [Source(corpus)], folder)


def test_a_run_keeps_a_model_that_hears_files_as_it_was_trained_to(corpus, folder):
    run = prepared(corpus, folder)
    assert "6 speakers" in run.description
    judged = run.solve()
    kept = load_speaker(run.model_folder)
    assert isinstance(kept.model, MomentsModel)
    stem, encoder = kept.model.encoder, load_model("evenear-en").model.encoder
    taken = encoder.state_dict()["conv2.weight"]  # kept in float16
    torch.testing.assert_close(stem.conv2.weight, taken, rtol=1e-3, atol=1e-6)
    assert kept.provenance["held_out_eer"] == round(judged, 4)
    assert kept.provenance["speakers"] == 6
    # The first stored copy is the sound as it is, so its numbers are those of the file.
    speaker = run.train.speakers[0]
    vector_D = Embedder(kept).embed(read_audio(corpus.parent / f"{speaker}-0.wav")).vector
    known_BD = kept.model.project(torch.from_numpy(run.train.numbers_BX)).detach().numpy()
    scores_B = np.where(np.array(run.train.speakers) == speaker, known_BD @ vector_D, -1.0)
    assert scores_B.max() == pytest.approx(1.0, abs=2e-3)


def test_speakers_are_held_out_and_judged(corpus, folder):
    run = prepared(corpus, folder)
    assert not set(run.train.speakers) & set(run.dev.speakers)
    judged = run.solve()
    vectors_BD = run.model.project(torch.from_numpy(run.dev.numbers_BX)).detach().numpy()
    scores_P, is_target_P = all_pairs(vectors_BD, run.dev.speakers)
    assert judged == eer(scores_P[is_target_P], scores_P[~is_target_P])


def test_training_speakers_are_told_apart(corpus, folder):
    run = prepared(corpus, folder)
    run.solve()
    vectors_BD = run.model.project(torch.from_numpy(run.train.numbers_BX)).detach().numpy()
    scores_BB = vectors_BD @ vectors_BD.T
    names = np.array(run.train.speakers)
    is_same_BB = names[:, None] == names[None]
    np.fill_diagonal(scores_BB, np.nan)
    assert np.nanmean(scores_BB[is_same_BB]) > np.nanmean(scores_BB[~is_same_BB]) + 0.5


def test_varied_copies_count_less(corpus, folder):
    run = prepared(corpus, folder, copy_weight=0.25)
    assert sorted(set(run.train.weights_B.tolist())) == [0.25, 1.0]
    assert run.train.weights_B.mean() == pytest.approx(0.625)
    heavier = prepared(corpus, folder, copy_weight=1.0)
    run.solve()
    heavier.solve()
    assert not torch.equal(run.model.linear.weight, heavier.model.linear.weight)


def test_a_run_is_a_function_of_its_settings_and_finds_what_is_stored(corpus, folder, tmp_path):
    run, again = prepared(corpus, folder), prepared(corpus, tmp_path)
    files = {path: path.stat().st_mtime_ns for path in folder.glob("numbers-*.npy")}
    assert files
    found = prepared(corpus, folder)
    assert {path: path.stat().st_mtime_ns for path in files} == files
    for one in (again, found):
        np.testing.assert_array_equal(one.train.numbers_BX, run.train.numbers_BX)
    run.solve()
    again.solve()
    assert torch.equal(run.model.linear.weight, again.model.linear.weight)


def test_what_does_not_fit_is_refused(corpus, folder):
    base = config().data
    unstacked = replace(base.store, features=replace(base.store.features, stack=1))
    with pytest.raises(ConfigError, match="Whisper's features"):
        prepared(corpus, folder, data=replace(base, store=unstacked))
    with pytest.raises(ConfigError, match="more classes"):
        prepared(corpus, folder, model=replace(config().model, embedding_dim=6)).solve()
    with pytest.raises(ConfigError, match="kind transformer"):
        prepared(corpus, folder, stem_from="evenear-en-small")
