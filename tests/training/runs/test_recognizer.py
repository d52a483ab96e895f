# SPDX-License-Identifier: Apache-2.0
"""From a manifest to a model folder that recognizes speakers it never heard."""

import itertools
import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from evenear.checkpoint import load_model, save_model, shipped_models
from evenear.checkpoint.pretrained import _ENDS, _LAYERS
from evenear.config import replace, set_path
from evenear.encoders.transformer import TransformerConfig
from evenear.errors import CheckpointError, ConfigError
from evenear.features import FeatureConfig
from evenear.language import NgramModel
from evenear.metrics.words import WordErrors
from evenear.search import BeamConfig, greedy_search
from evenear.training.runs.preparation import Source
from evenear.training.runs.recognizer import Run
from evenear.training.settings import TrainingConfig
from tiny_corpora import write_json_lines, write_lines
from training.loop.test_snapshots import same
from training.tone_words import config, learning_config, write_corpus


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("tones"))


def prepared(manifest: Path, folder: Path, settings: TrainingConfig, **options) -> Run:
    return Run.prepare(settings, [Source(manifest)], folder, **options)


@pytest.fixture(scope="module")
def learned(manifest, tmp_path_factory) -> Run:
    """A run long enough to learn three words."""
    run = prepared(manifest, tmp_path_factory.mktemp("learned"), learning_config())
    list(run.train())
    return run


def test_a_model_of_tones_learns_to_recognize_a_speaker_it_never_heard(learned):
    assert learned.trainer.best_score is not None
    assert learned.trainer.best_score < 0.3


def test_the_kept_model_recognizes_as_well_as_the_run_said(learned):
    bundle = load_model(learned.model_folder)
    assert bundle.tokenizer.model == learned.corpus.tokenizer.model
    assert bundle.features == learned.config.data.store.features
    assert learned.task.evaluate(bundle.model) == learned.trainer.best_score


def test_the_run_counts_errors_as_a_plain_loop_would(learned):
    model = load_model(learned.model_folder).model
    counted = learned.task.recognize(model)
    corpus = learned.corpus
    wrong = 0
    for index, row in enumerate(corpus.dev.utterances):
        frames_TM = corpus.dev.frames(index)
        features = learned.task.batches.features
        stacked_TF = torch.from_numpy(frames_TM[: len(frames_TM) // 3 * 3]).reshape(
            -1, features.dim
        )
        with torch.no_grad():
            encoded = model.encode(stacked_TF[None], torch.tensor([len(stacked_TF)]))
            (reading,) = greedy_search(model, encoded)
        wrong += corpus.tokenizer.decode(reading.tokens) != row.text
    assert counted.reference_words == sum(len(r.text.split()) for r in corpus.dev.utterances)
    assert (counted.errors == 0) == (wrong == 0)


def test_the_description_says_what_will_be_trained_on_what(learned):
    assert "tones: 0.06 M parameters" in learned.description
    assert "12 held-out utterances" in learned.description


def kept_weights(run: Run) -> dict[str, torch.Tensor]:
    return dict(load_model(run.model_folder).model.state_dict())


def controlled(run: Run, *errors: int) -> Run:
    """The run, with what its held-out speakers will say at each evaluation."""
    rates = iter(errors)
    run.task.recognize = lambda _: WordErrors(substitutions=next(rates), reference_words=10)
    return run


def test_the_model_that_was_best_stays(manifest, tmp_path):
    settings = config(num_updates=6, evaluate_every=2)
    run = controlled(prepared(manifest, tmp_path, settings), 5, 2, 3)
    kept = []
    for step in run.train():
        if step.score is not None:
            kept.append(kept_weights(run))
    assert not same(kept[0], kept[1])
    assert same(kept[1], kept[2])


def test_a_model_is_kept_even_if_there_was_nothing_to_recognize(manifest, tmp_path):
    run = prepared(manifest, tmp_path, config(num_updates=2, evaluate_every=1))
    run.task.recognize = lambda _: WordErrors()
    list(run.train())
    assert same(kept_weights(run), run.trainer.average)


def test_a_run_killed_right_after_its_best_snapshot_has_its_best_model(manifest, tmp_path):
    settings = config(num_updates=6, evaluate_every=2, snapshot_every=2)
    first = controlled(prepared(manifest, tmp_path, settings), 5, 2)
    steps = first.train()
    list(itertools.islice(steps, 3))
    saved = {}
    save = first.trainer.save

    def save_and_die() -> None:
        save()
        saved.update({name: t.clone() for name, t in first.trainer.average.items()})
        raise KeyboardInterrupt

    first.trainer.save = save_and_die
    with pytest.raises(KeyboardInterrupt):
        next(steps)
    second = controlled(prepared(manifest, tmp_path, settings), 3)
    second.trainer.resume()
    assert second.trainer.best_score == 0.2
    list(second.train())
    assert same(kept_weights(second), saved)


def test_a_run_can_begin_with_a_trained_model(learned, manifest, tmp_path):
    settings = replace(learning_config(), num_updates=1)
    settings = replace(settings, optimizer=replace(settings.optimizer, peak_rate=1e-9))
    settings = set_path(settings, "model.encoder.lstm.dropout=0.3")
    run = prepared(manifest, tmp_path, settings, start_from=learned.model_folder)
    assert run.corpus.tokenizer.model == learned.corpus.tokenizer.model
    (step,) = run.train()
    assert step.score == pytest.approx(learned.trainer.best_score, abs=0.05)


def test_a_run_cannot_begin_with_a_model_of_another_shape(learned, manifest, tmp_path):
    settings = config()
    other = replace(settings, model=replace(settings.model, joiner_dim=20))
    with pytest.raises(CheckpointError, match="another shape"):
        prepared(manifest, tmp_path, other, start_from=learned.model_folder)


def test_the_number_of_threads_is_left_alone_unless_asked_for(manifest, tmp_path):
    before = torch.get_num_threads()
    try:
        prepared(manifest, tmp_path, config())
        assert torch.get_num_threads() == before
        prepared(manifest, tmp_path, config(), threads=before + 1)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_a_letter_that_only_held_out_speakers_use_stops_nothing(manifest, tmp_path):
    """Errors are counted on words; nobody has to spell what is only compared."""
    held_out = {
        u.speaker for u in prepared(manifest, tmp_path / "a", config()).corpus.dev.utterances
    }
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    for row in rows:
        row["audio"] = str(manifest.parent / row["audio"])
        if row["speaker"] in held_out:
            row["text"] += " ŻÓŁĆ"
    written = write_json_lines(tmp_path / "utterances.jsonl", rows)
    run = prepared(written, tmp_path / "b", config(num_updates=1, evaluate_every=1))
    assert len(list(run.train())) == 1


def test_features_of_another_width_are_refused_before_any_is_stored(manifest, tmp_path):
    settings = set_path(config(), "data.store.features.num_mel_bins=30")
    with pytest.raises(ConfigError, match="reads features of width 60, and those stored have 90"):
        prepared(manifest, tmp_path / "run", settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not shipped_models(), reason="this checkout ships no model")
def test_a_model_of_other_features_finds_no_splice_points(manifest, tmp_path):
    with pytest.raises(ConfigError, match="reads other features"):
        prepared(manifest, tmp_path, config(), splice_with="evenear-en-small")


def test_phones_are_learned_beside_the_tokens_and_kept_in_the_model(manifest, tmp_path):
    words = ["LOW L OW", "MID M IH D", "HIGH HH AY"]
    said = write_lines(tmp_path / "words.dict", words)
    settings = replace(learning_config(), num_updates=40, evaluate_every=40)
    run = prepared(manifest, tmp_path / "run", settings, pronunciations=said)
    losses = [step.loss for step in run.train()]
    assert losses[-1] < losses[0]
    assert load_model(run.model_folder).model.config.phones == 7

    def another(name: str, **options) -> Run:
        return prepared(manifest, tmp_path / name, settings, start_from=run.model_folder, **options)

    more = write_lines(tmp_path / "more.dict", [*words, "LOUD L AW D"])
    again, other, without = (
        another("again", pronunciations=said).task.model,
        another("other", pronunciations=more).task.model,
        another("without").task.model,
    )
    assert again.phones is not None
    assert other.phones is not None
    kept = load_model(run.model_folder).model
    assert torch.equal(again.phones.weight, kept.phones.weight)  # pyright: ignore
    assert other.config.phones == 8
    assert without.phones is None
    for one in (again, other, without):
        assert torch.equal(one.joiner.output.weight, kept.joiner.output.weight)


def test_a_run_resumes_only_with_its_pronunciations(manifest, tmp_path):
    settings = config(num_updates=4, evaluate_every=4)
    first = write_lines(tmp_path / "first.dict", ["LOW L OW", "MID M IH D", "HIGH HH AY"])
    second = write_lines(tmp_path / "second.dict", ["LOW L AW", "MID M IH D", "HIGH HH OW"])
    run = prepared(manifest, tmp_path / "run", settings, pronunciations=first)
    list(run.train())
    prepared(manifest, tmp_path / "run", settings, pronunciations=first).trainer.resume()
    for options in ({}, {"pronunciations": second}):
        with pytest.raises(CheckpointError, match="pronounced otherwise"):
            prepared(manifest, tmp_path / "run", settings, **options).trainer.resume()


def test_the_model_says_where_it_comes_from(manifest, tmp_path):
    run = prepared(manifest, tmp_path, config(num_updates=2, evaluate_every=1))
    list(run.train())
    told = load_model(run.model_folder).provenance
    assert told["settings"]["seed"] == 0
    assert told["sources"] == [f"{manifest}:1"]
    assert told["device"] == "cpu"
    assert told["threads"] == torch.get_num_threads()
    assert told["dev_wer"] == run.trainer.best_score
    assert told["hours_heard"] == pytest.approx(run.trainer.heard_seconds / 3600, abs=0.01)
    assert told["start_from"] is None


def test_a_model_that_is_trained_further_keeps_what_it_searches_with(learned, manifest, tmp_path):
    bundle = load_model(learned.model_folder)
    ngrams = NgramModel.train(["LOW MID HIGH", "HIGH LOW"], bundle.tokenizer)
    save_model(
        tmp_path / "told",
        model=bundle.model,
        features=bundle.features,
        tokenizer=bundle.tokenizer,
        language_model=ngrams,
        search=BeamConfig(width=3, lm_weight=0.2),
    )
    settings = replace(learning_config(), num_updates=1)
    run = prepared(manifest, tmp_path / "run", settings, start_from=tmp_path / "told")
    list(run.train())
    kept = load_model(run.model_folder)
    assert kept.search == BeamConfig(width=3, lm_weight=0.2)
    assert kept.language_model is not None
    assert kept.provenance["start_from"] == "told"


def test_a_pretrained_encoder_is_begun_with_and_teaches(manifest, tmp_path):
    settings = pretrained_config()
    weights = settings.model.encoder.build().state_dict()
    path = whisper_file(tmp_path / "model.safetensors", weights)
    run = prepared(manifest, tmp_path / "run", settings, encoder_from=path)
    assert run.task.objective.teacher is not None
    own = run.task.model.encoder.state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in weights.items())
    steps = list(run.train())
    assert len(steps) == 3
    assert "distillation" in run.trainer.history[-1]
    moved = run.task.model.encoder.state_dict()
    assert not torch.equal(moved["norm.weight"], weights["norm.weight"])
    assert load_model(run.model_folder).provenance["encoder_from"] == "model.safetensors"


def test_a_teacher_that_nobody_named_is_asked_for(manifest, tmp_path):
    with pytest.raises(ConfigError, match="needs a pretrained encoder"):
        prepared(manifest, tmp_path, pretrained_config())


def test_pretrained_weights_fit_no_other_kind_of_encoder(manifest, tmp_path):
    settings = pretrained_config()
    path = whisper_file(tmp_path / "model.safetensors", settings.model.encoder.build().state_dict())
    with pytest.raises(ConfigError, match="of the kind transformer, not lstm"):
        prepared(manifest, tmp_path / "run", config(), encoder_from=path)


def pretrained_config() -> TrainingConfig:
    """Three updates of a tiny Transformer with a teacher."""
    base = config(num_updates=3, evaluate_every=3)
    features = FeatureConfig(kind="whisper", num_mel_bins=20, stack=1)
    encoder = TransformerConfig(
        feature_dim=20, dim=16, num_heads=2, num_layers=1, ff_dim=24, block_frames=8
    )
    return replace(
        base,
        data=replace(base.data, store=replace(base.data.store, features=features)),
        model=replace(base.model, encoder=encoder),
        objective=replace(base.objective, distillation_weight=1.0, detached_updates=1),
        optimizer=replace(base.optimizer, encoder_ratio=0.5, muon_ratio=0.0),
    )


def whisper_file(path: Path, weights: dict[str, torch.Tensor]) -> Path:
    """Weights by Hugging Face's names."""
    ends, parts = ({row[0]: row[1] for row in rows} for rows in (_ENDS, _LAYERS))
    named = {}
    for name, tensor in weights.items():
        if name in ends:
            theirs = ends[name]
        else:
            _, number, inner = name.split(".", 2)
            part, _, kind = inner.rpartition(".")
            theirs = f"layers.{number}.{parts[part]}.{kind}"
        named[f"model.encoder.{theirs}"] = tensor.contiguous()
    safetensors.torch.save_file(named, path)
    return path
