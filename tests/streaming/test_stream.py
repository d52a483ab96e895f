# SPDX-License-Identifier: Apache-2.0
"""A stream's memory is a value: two futures of the same past do not meet."""

import copy

import numpy as np
import pytest
import torch

from evenear.errors import AudioError
from evenear.features import extract
from evenear.search import BeamConfig, LexiconConfig
from evenear.streaming import Final, Recognizer, StreamState, TurnConfig
from evenear.streaming.stream import checked_samples
from laws import random_sound, tiny_bundle, tiny_word_bundle

BRISK = TurnConfig(endpoint_seconds=0.25, final_seconds=1.0)
WORDS = LexiconConfig(width=12, lm_weight=0.4, transducer_weight=0.5)


def recognizers() -> dict[str, Recognizer]:
    return {
        "greedy": Recognizer(tiny_bundle(), beam=BeamConfig(width=1), turns=BRISK),
        "beam": Recognizer(tiny_bundle(), beam=BeamConfig(width=3), turns=BRISK),
        "words": Recognizer(tiny_word_bundle("lstm-reduced-2", "lstm"), beam=WORDS, turns=BRISK),
    }


def features(ears: Recognizer, seed: int) -> torch.Tensor:
    frames_TF = extract(random_sound(3.0, seed=seed), ears.bundle.features)
    return torch.from_numpy(frames_TF[: len(frames_TF) // 2 * 2])


def finals(events: list) -> list:
    return [(e.text, round(e.seconds, 6)) for e in events if isinstance(e, Final)]


@pytest.mark.parametrize("search", ["greedy", "beam", "words"])
def test_one_past_may_have_two_futures(search):
    ears = recognizers()[search]
    past, first, second = (features(ears, seed) for seed in (1, 2, 3))
    (_,), (common,) = ears.step(past[None], [ears.initial_state()])
    kept = copy.deepcopy(common)
    alone = [ears.end(future, common) for future in (first, second)]
    again, _ = ears.end(first, common)
    assert isinstance(common, StreamState)
    assert common.turns == kept.turns
    assert finals(again) == finals(alone[0][0]) != finals(alone[1][0])
    events, states = ears.step(torch.stack([first, second]), [common, common])
    for own, state, (expected, _) in zip(events, states, alone, strict=True):
        tail, _ = ears.end(first[:0], state)
        assert finals(own + tail) == finals(expected)


def test_samples_are_checked_once():
    assert checked_samples(np.array([0, 16384], np.int16)).tolist() == [0.0, 0.5]
    for bad in (np.zeros((2, 2)), np.array([np.nan]), np.array([900.0])):
        with pytest.raises(AudioError):
            checked_samples(bad)
