# SPDX-License-Identifier: Apache-2.0
"""The shipped verifier: it is small, hears the shipped clips, and its card says what was measured.

Dimensions: N samples.
"""

import importlib.resources
import json
from pathlib import Path

import numpy as np
import pytest

from evenear.audio import read_audio
from evenear.verification import Embedder

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "speaker_verification.json"
SHIPPED = Path(str(importlib.resources.files("evenear") / "shipped"))


@pytest.fixture(scope="module")
def embedder():
    return Embedder.load("evenear-speaker")


def sounds():
    folder = SHIPPED / "clips"
    return sorted(path for path in folder.rglob("*") if path.suffix in (".wav", ".flac", ".opus"))


def test_it_is_small():
    folder = SHIPPED / "evenear-speaker"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 3e6


def test_the_half_of_a_clip_is_most_like_its_other_half(embedder):
    if not sounds():
        pytest.skip("this installation has no clips")
    first, second = [], []
    for path in sounds():
        samples_N = read_audio(path)
        middle = len(samples_N) // 2
        first.append(embedder.vector(samples_N[:middle]))
        second.append(embedder.vector(samples_N[middle:]))
    scores_BB = np.stack(first) @ np.stack(second).T
    assert scores_BB.argmax(axis=1).tolist() == list(range(len(first)))


def test_a_stream_hears_the_same(embedder):
    if not sounds():
        pytest.skip("this installation has no clips")
    samples_N = read_audio(sounds()[0])
    stream = embedder.stream()
    for start in range(0, len(samples_N), 2560):
        stream.accept(samples_N[start : start + 2560])
    stream.finish()
    # Rounding of channels that hardly vary is made larger by their scale.
    assert float(stream.vector() @ embedder.embed(samples_N).vector) > 0.9999


def test_two_people_in_one_recording_are_noticed(embedder):
    if not sounds():
        pytest.skip("this installation has no clips")
    alone, other = (read_audio(path) for path in sounds()[:2])
    assert embedder.embed(np.tile(alone, 4)).warnings == ()
    mixed_N = np.concatenate([np.tile(alone, 2), np.tile(other, 2)])
    assert "different people" in embedder.embed(mixed_N).warnings[0]


def test_its_card_says_what_was_measured(embedder):
    found = json.loads(RESULTS.read_text())
    assert found["model_version"] == embedder.version
    for table in found["trials"].values():
        row = table["evenear-speaker"]
        low, high = row["eer_interval"]
        assert f"{100 * row['eer']:.2f} [{100 * low:.2f}, {100 * high:.2f}]" in embedder.bundle.card
