# SPDX-License-Identifier: Apache-2.0
"""Scores of a recognizer on clean and on noisy sound.

Dimensions: N samples, T frames, M mel bins.
"""

from dataclasses import replace

import numpy as np
import pytest
import soundfile

from evenear.data.batching.augmentation import WaveformAugmentation, augment_waveform
from evenear.data.corpora.manifests import Utterance
from evenear.errors import ManifestError
from evenear.evaluation import load_utterances, recognize
from evenear.features import log_mel
from evenear.metrics.words import WordErrors
from evenear.reproduction.scoring import (
    CLEAN,
    condition_name,
    listen,
    read_scores,
    score,
    write_scores,
)
from evenear.search import BeamConfig
from evenear.seeding import rng_for
from evenear.streaming import Recognizer
from laws import FEATURES, random_sound, tiny_bundle
from tiny_corpora import write_json_lines

TEXTS = ("the cat sat", "A dog ran -- over the hill.", "...")


@pytest.fixture(scope="module")
def utterances(tmp_path_factory) -> list[Utterance]:
    folder = tmp_path_factory.mktemp("noise")
    rows = []
    for number, text in enumerate(TEXTS):
        samples_N = random_sound(1.0 + 0.5 * number, seed=number)
        soundfile.write(folder / f"{number}.wav", samples_N, 16_000, subtype="FLOAT")
        rows.append(
            {"utterance_id": f"u{number}", "speaker": f"s{number}", "text": text,
             "audio": f"{number}.wav", "seconds": len(samples_N) / 16_000}
        )  # fmt: skip
    return load_utterances(write_json_lines(folder / "utterances.jsonl", rows))


@pytest.fixture(scope="module")
def stores(utterances, tmp_path_factory):
    return listen(utterances, FEATURES, (20.0, 5.0), tmp_path_factory.mktemp("stores"))


def test_each_condition_is_stored_and_utterances_without_words_are_left_out(stores):
    assert list(stores) == [CLEAN, "20 dB", "5 dB"]
    for store in stores.values():
        assert sorted(u.utterance_id for u in store.utterances) == ["u0", "u1"]
        assert {u.text for u in store.utterances} == {"THE CAT SAT", "A DOG RAN OVER THE HILL"}


def test_noise_is_that_of_the_utterance_and_louder_at_a_lower_ratio(stores, utterances):
    """What was stored is the augmentation's noise, drawn from the utterance's id."""
    samples_N, _ = soundfile.read(utterances[0].audio, dtype="float32")
    added = {}
    for snr in (20.0, 5.0):
        settings = WaveformAugmentation(
            speeds=(1.0,),
            room_chance=0.0,
            noise_chance=1.0,
            noise_snr_db=(snr, snr),
            gain_db=(0, 0),
        )
        noisy_N = augment_waveform(samples_N, settings, rng_for(0, "waveform", ("u0", 0)))
        store = stores[condition_name(snr)]
        (place,) = [i for i, u in enumerate(store.utterances) if u.utterance_id == "u0"]
        frames_TM = log_mel(noisy_N, FEATURES).astype(np.float16)
        assert np.array_equal(store.frames(place), frames_TM.astype(np.float32))
        added[snr] = noisy_N - samples_N
        measured = 10 * np.log10(np.square(samples_N).mean() / np.square(added[snr]).mean())
        assert measured == pytest.approx(snr, abs=0.5)
    assert np.corrcoef(added[20.0], added[5.0])[0, 1] > 0.99


def test_scores_are_those_of_a_stream(stores, utterances):
    """Whole utterances in a batch, from stored frames, against chunks of sound."""
    bundle = tiny_bundle()
    found = list(score(bundle.model, bundle.tokenizer, FEATURES, stores))
    assert len(found) == 6
    clean = {one.utterance_id: one for one in found if one.condition == CLEAN}
    recognizer = Recognizer(bundle, beam=BeamConfig(width=1))
    for row in recognize(recognizer, utterances[:2]):
        own = clean[row.utterance_id]
        assert own.words == row.words.reference_words
        assert len(own.tokens) == len(own.frames)
        # float16 frames and a random model: words may differ, but not many
        assert abs(len(own.hypothesis.split()) - len(row.hypothesis.split())) <= 3


def test_errors_are_counted_against_the_normalized_reference(stores):
    bundle = tiny_bundle()
    for one in score(bundle.model, bundle.tokenizer, FEATURES, {CLEAN: stores[CLEAN]}):
        words = len(one.hypothesis.split())
        assert one.words == (3 if one.utterance_id == "u0" else 6)
        assert abs(words - one.words) <= one.errors <= max(words, one.words)


def test_scores_survive_their_file_in_a_fixed_order(stores, tmp_path):
    bundle = tiny_bundle()
    found = list(score(bundle.model, bundle.tokenizer, FEATURES, stores))
    write_scores(found[::-1], tmp_path / "a.jsonl")
    write_scores(found, tmp_path / "b.jsonl")
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    order = sorted(found, key=lambda one: (one.condition, one.utterance_id))
    assert read_scores(tmp_path / "a.jsonl") == order


def test_counts_of_one_recognizer_add_up(stores):
    bundle = tiny_bundle()
    found = list(score(bundle.model, bundle.tokenizer, FEATURES, stores))
    total = WordErrors(reference_words=sum(one.words for one in found))
    assert total.reference_words == 3 * (3 + 6)


def test_a_test_without_words_is_refused(utterances, tmp_path):
    silent = [replace(u, text="?!") for u in utterances]
    with pytest.raises(ManifestError, match="utterances with words"):
        listen(silent, FEATURES, (), tmp_path)
