# SPDX-License-Identifier: Apache-2.0
"""A whole small reproduction: prepared, trained, measured; and what must not be mixed."""

import dataclasses
import json
from pathlib import Path

import pytest

from evenear.config import replace
from evenear.errors import EvenearError, ManifestError
from evenear.reproduction.experiment import Experiment, Plan, sized
from evenear.reproduction.results import NOISY
from evenear.training.runs.preparation import Source
from laws import ENCODERS
from tiny_corpora import write_json_lines
from training.tone_words import config, write_corpus

TONES = config(num_updates=2, evaluate_every=1, snapshot_every=1)


def with_encoder(name: str):
    """The run of tones with another encoder of the laws."""
    encoder = replace(ENCODERS[name], feature_dim=TONES.data.store.features.dim)
    return replace(TONES, model=replace(TONES.model, encoder=encoder))


def write_strangers(folder: Path) -> Path:
    """The tones again, said by others."""
    manifest = write_corpus(folder)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    for row in rows:
        row |= {"utterance_id": "t-" + row["utterance_id"], "speaker": "t-" + row["speaker"]}
    return write_json_lines(manifest, rows)


@pytest.fixture(scope="module")
def plan(tmp_path_factory) -> Plan:
    folder = tmp_path_factory.mktemp("experiment")
    return Plan(
        configs={"lstm": with_encoder("lstm"), "convrnn": with_encoder("convrnn")},
        sources=(Source(write_corpus(folder / "train")),),
        test=write_strangers(folder / "test"),
        out=folder / "out",
        limit=9,
        num_seeds=2,
        num_timed=2,
        command="evenear reproduce convrnnt",
    )


@pytest.fixture(scope="module")
def results(plan):
    experiment = Experiment(plan)
    assert [job.name for job in experiment.jobs] == ["lstm-0", "convrnn-0", "lstm-1", "convrnn-1"]
    assert experiment.run(num_workers=1, report=lambda _: None, is_stopped=lambda: False)
    return experiment.measure()


def test_every_number_of_the_table_is_there(results):
    assert [variant.name for variant in results.variants] == ["lstm", "convrnn"]
    assert results.conditions == ("clean", "20 dB", "10 dB", "5 dB", NOISY)
    for variant in results.variants:
        assert all(len(rate.by_seed) == 2 for rate in variant.rates)
        assert [curve.updates for curve in variant.curves] == [(1, 2), (1, 2)]
        measured = variant.measured
        assert measured.costs.macs_per_second > measured.costs.encoder_macs_per_second > 0
        assert measured.real_time_factor > 0
        assert measured.streaming_gap < 1e-3
        assert 0 <= measured.delay.share_right <= 1
    assert results.variants[1].measured.trap_gap is not None
    assert results.aligner in ("lstm-0", "lstm-1", "convrnn-0", "convrnn-1")
    assert results.difference(NOISY, "convrnn", "lstm") is not None


def test_what_was_done_is_recorded(results):
    setting = results.setting
    assert (setting.data, setting.test) == (("train",), "test")
    assert (setting.num_updates, setting.num_seeds, setting.num_utterances) == (2, 2, 9)
    assert setting.num_speakers == 3
    assert setting.shared_speakers == 0
    assert setting.shared_sentences == 9  # the strangers say the same
    assert setting.hours > 0


def test_the_same_again_finds_everything_done(results, plan):
    steps = []
    experiment = Experiment(plan)
    assert experiment.run(num_workers=1, report=steps.append, is_stopped=lambda: False)
    assert steps == []
    assert experiment.measure() == results


def test_another_test_is_not_mixed_into_a_folder(results, plan):
    assert results
    with pytest.raises(EvenearError, match="holds runs on other speech"):
        Experiment(dataclasses.replace(plan, limit=5))


def test_a_test_that_is_trained_on_is_refused(plan, tmp_path):
    same = dataclasses.replace(plan, test=plan.sources[0].manifest, out=tmp_path, limit=None)
    with pytest.raises(ManifestError, match="are in the training data, for example 'ann-0'"):
        Experiment(same)


def test_a_run_of_few_updates_still_evaluates_and_saves():
    small = sized(TONES, 5)
    assert (small.num_updates, small.evaluate_every, small.snapshot_every) == (5, 1, 1)
    long = sized(replace(TONES, evaluate_every=500, snapshot_every=200), 20_000)
    assert (long.evaluate_every, long.snapshot_every) == (500, 200)
