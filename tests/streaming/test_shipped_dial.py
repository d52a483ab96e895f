# SPDX-License-Identifier: Apache-2.0
"""The shipped dial obeys the laws, spends what is asked for, and does nothing at 1."""

import functools
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch

from evenear.audio import read_audio
from evenear.checkpoint import load_model, shipped_models
from evenear.encoders.gated.encoder import GatedTransformer
from evenear.features import extract
from evenear.streaming import Final, Recognizer
from evenear.streaming.explain import explain, off_rates

pytestmark = pytest.mark.skipif(
    "evenear-en" not in shipped_models() or load_model("evenear-en").dial is None,
    reason="this checkout does not ship evenear-en with a dial",
)
SHARES = (1.0, 0.2, 0.4, 0.6, 0.8)


@functools.cache
def recognizer(block: int = 320) -> Recognizer:
    return Recognizer.load("evenear-en", block_milliseconds=block)


@functools.cache
def clips() -> list[np.ndarray]:
    folder = Path(str(resources.files("evenear") / "shipped" / "clips"))
    return [read_audio(path) for path in sorted(folder.glob("*.flac"))]


def text(events: list) -> str:
    return " ".join(event.text for event in events if isinstance(event, Final))


def heard(samples_N: np.ndarray, compute: float, chunk: int, block: int = 320) -> tuple[str, float]:
    stream = recognizer(block).stream(compute=compute)
    events = []
    for start in range(0, len(samples_N), chunk):
        events += stream.accept(samples_N[start : start + chunk])
    return text(events + stream.finish()), stream.compute


@pytest.mark.parametrize("block", [160, 320, 640])
def test_chunks_change_neither_words_nor_what_is_spent(block):
    whole = heard(clips()[0], 0.4, len(clips()[0]), block)
    for chunk in (2560, 7001):
        words, spent = heard(clips()[0], 0.4, chunk, block)
        assert words == whole[0]
        assert spent == pytest.approx(whole[1])


def test_streams_of_different_shares_in_one_batch_are_each_as_if_alone():
    model = recognizer()
    sounds = [clips()[number % len(clips())] for number in range(len(SHARES))]
    streams = [model.stream(compute=share) for share in SHARES]
    events: list[list] = [[] for _ in streams]
    for start in range(0, max(map(len, sounds)), 5120):
        chunks = [samples_N[start : start + 5120] for samples_N in sounds]
        for own, new in zip(events, model.advance(streams, chunks), strict=True):
            own += new
    for own, new in zip(events, model.finish(streams), strict=True):
        own += new
    for share, samples_N, own, stream in zip(SHARES, sounds, events, streams, strict=True):
        words, spent = heard(samples_N, share, 5120)
        assert text(own) == words
        assert stream.compute == pytest.approx(spent)


def test_at_one_it_is_the_model_without_a_dial_bit_for_bit():
    bundle = load_model("evenear-en")
    gated = bundle.with_gates().model.encoder
    assert isinstance(gated, GatedTransformer)
    dense = bundle.model.encoder
    features_TF = torch.from_numpy(extract(clips()[0], bundle.features))
    features_1TF = bundle.model.normalize(features_TF)[None]
    state, plain = gated.ask(gated.initial_state(1), 1.0), dense.initial_state(1)
    with torch.inference_mode():
        for chunk_1TF in features_1TF.split(80, dim=1):
            found_1TD, state = gated.step(chunk_1TF, state)
            expected_1TD, plain = dense.step(chunk_1TF, plain)
            assert torch.equal(found_1TD, expected_1TD)


def test_who_asks_for_more_spends_more_and_about_what_was_asked_for():
    """Clips have fewer pauses than the speech of the calibration, so they spend more."""
    spent = []
    for share in sorted(SHARES):
        seen = [explain(recognizer(), samples_N, share) for samples_N in clips()]
        blocks = sum(len(one.spent_K) for one in seen)
        spent.append(sum(one.spent_K.sum() for one in seen) / blocks)
    assert spent == sorted(spent)
    assert spent[-1] == 1.0
    for share, found in zip(sorted(SHARES), spent, strict=True):
        assert -0.3 < found - share < 0.2


def test_more_is_off_in_silence_than_in_speech():
    silence_N = np.zeros(16_000, np.float32)
    sound_N = np.concatenate([silence_N, *(np.r_[clip, silence_N] for clip in clips())])
    rates = off_rates(explain(recognizer(), sound_N, 0.5))
    gaps = [part["silence"] - part["speech"] for layer in rates for part in layer.values()]
    assert np.mean(gaps) > 0.05
