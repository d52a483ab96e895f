# SPDX-License-Identifier: Apache-2.0
"""What is heard frame by frame is what was trained, and the same bits in any chunks."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.features import extract
from evenear.models.voice import VoiceListening
from laws import chunkings, random_sound
from tiny_detector import FEATURES, tiny_voice_model


def frames(seed: int = 0) -> np.ndarray:
    return extract(random_sound(2.0, seed=seed), FEATURES)


def test_listening_gives_what_the_trained_network_gives():
    model, frames_TM = tiny_voice_model(), frames()
    listening = VoiceListening(model)
    logits_T2, _ = listening.step(frames_TM, listening.initial_state())
    with torch.inference_mode():
        expected_T2 = model(torch.from_numpy(frames_TM)[None])[0].numpy()
    assert logits_T2 == pytest.approx(expected_T2, abs=1e-5)
    assert len(set((logits_T2[:, 0] > 0).tolist())) == 2


@settings(deadline=None, max_examples=20, derandomize=True)
@given(chunks=chunkings(100), seed=st.integers(0, 3))
def test_chunks_change_no_bit(chunks, seed):
    listening, frames_TM = VoiceListening(tiny_voice_model()), frames(seed)
    whole_T2, end = listening.step(frames_TM, listening.initial_state())
    state, parts = listening.initial_state(), []
    for start, size in zip(np.cumsum([0, *chunks]), chunks, strict=False):
        kept = copy.deepcopy(state)
        part_T2, after = listening.step(frames_TM[start : start + size], state)
        assert all(np.array_equal(a, b) for a, b in zip(state, kept, strict=True))
        parts, state = [*parts, part_T2], after
    assert np.array_equal(np.concatenate(parts), whole_T2)
    assert all(np.array_equal(a, b) for a, b in zip(state, end, strict=True))


def test_digital_silence_and_clipping_are_finite():
    listening = VoiceListening(tiny_voice_model())
    for sound_N in (np.zeros(8000, np.float32), np.ones(8000, np.float32)):
        logits_T2, _ = listening.step(extract(sound_N, FEATURES), listening.initial_state())
        assert np.isfinite(logits_T2).all()
    with np.errstate(divide="ignore"):
        nothing_TM = np.log(np.zeros((3, 8), np.float32))
    assert np.isfinite(listening.step(nothing_TM, listening.initial_state())[0]).all()
