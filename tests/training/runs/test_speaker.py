# SPDX-License-Identifier: Apache-2.0
"""A run over buzzing speakers: it learns, keeps a model, and refuses what it cannot use."""

import json

import pytest
import torch

from evenear.checkpoint.speakers import load_speaker
from evenear.config import replace
from evenear.errors import CheckpointError, ConfigError, ManifestError
from evenear.recipes.speaker import tiny
from evenear.training.runs.preparation import Source
from evenear.training.runs.speaker import SpeakerRun, prepare_voices, read_voices
from tiny_speakers import write_speakers


def test_a_run_learns_to_tell_voices_apart_and_keeps_the_best_model(tmp_path):
    config = replace(tiny(), num_updates=60, evaluate_every=20)
    run = SpeakerRun.prepare(config, [Source(write_speakers(tmp_path / "corpus"))], tmp_path / "r")
    assert "6 speakers" in run.description
    losses = [step.loss for step in run.train()]
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])
    kept = load_speaker(run.model_folder)
    assert kept.features == config.data.store.features
    assert run.trainer.best_score is not None


def test_what_is_stored_serves_runs_of_every_seed(tmp_path):
    known = read_voices([Source(write_speakers(tmp_path / "corpus"))])
    settings = replace(tiny().data, other_speeds=(0.9,))
    counts = []
    for seed in (0, 1):
        voices = prepare_voices(known, settings, tmp_path / "frames", seed=seed)
        counts.append(len(list((tmp_path / "frames").glob("*.npy"))))
        assert len(voices.train.speakers) == 12
    assert counts[1] - counts[0] <= 1  # only the held-out speakers are stored anew


def test_excluded_splits_are_never_read(tmp_path):
    manifest = write_speakers(tmp_path / "corpus", num_speakers=4)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    for row in rows:
        row["split"] = "test" if row["speaker"] == "s3" else "train"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert {one.speaker for one in read_voices([Source(manifest)], ("test",))} == {"s0", "s1", "s2"}


def test_utterances_of_nobody_are_refused(tmp_path):
    manifest = write_speakers(tmp_path / "corpus", num_speakers=2)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    rows[0]["speaker"] = "unknown"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ManifestError, match="who speaks"):
        read_voices([Source(manifest)])


def test_a_network_for_other_features_is_refused(tmp_path):
    base = tiny()
    features = replace(base.data.store.features, num_mel_bins=20)
    data = replace(base.data, store=replace(base.data.store, features=features))
    with pytest.raises(ConfigError, match="stacked"):
        SpeakerRun.prepare(replace(base, data=data), [], tmp_path)


def test_a_run_can_begin_with_the_network_of_another(tmp_path):
    sources = [Source(write_speakers(tmp_path / "corpus"))]
    first = SpeakerRun.prepare(replace(tiny(), num_updates=2), sources, tmp_path / "first")
    for _ in first.train():
        pass
    second = SpeakerRun.prepare(tiny(), sources, tmp_path / "second", start_from=first.model_folder)
    begun = load_speaker(first.model_folder).model.state_dict()
    for model in (second.task.model.speaker, second.trainer.averaged().speaker):
        own = model.state_dict()
        assert all(torch.equal(tensor, own[name]) for name, tensor in begun.items())
    other = replace(tiny(), model=replace(tiny().model, embedding_dim=5))
    with pytest.raises(CheckpointError, match="another shape"):
        SpeakerRun.prepare(other, sources, tmp_path / "third", start_from=first.model_folder)
