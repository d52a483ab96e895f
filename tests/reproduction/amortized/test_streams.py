# SPDX-License-Identifier: Apache-2.0
"""Ways of hearing streams: what is counted of them, and that each is what its name says."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
import torch

from evenear.checkpoint import Bundle
from evenear.data.corpora.manifests import Utterance
from evenear.reproduction.amortized.streams import (
    hear_streams,
    is_sparing,
    stream_ways,
    time_streams,
)
from evenear.reproduction.amortized.summary import share_of
from evenear.streaming import Recognizer
from laws import random_sound, tiny_bundle

SHARES = (0.75, 0.2)


def bundle() -> Bundle:
    tiny = tiny_bundle("gated-sparing")
    return replace(tiny, model=copy.deepcopy(tiny.model))


def spoken(folder: Path) -> list[Utterance]:
    found = []
    for place in range(3):
        path = folder / f"{place}.wav"
        soundfile.write(path, random_sound(1.5, seed=place), 16_000, subtype="FLOAT")
        attributes = {"age": 9 + 20 * (place % 2), "gender": "female"}
        found.append(
            Utterance(
                utterance_id=str(place),
                speaker=f"s{place}",
                text="THE CAT SAT",
                audio=path,
                start_seconds=0.0,
                seconds=1.5,
                attributes=attributes,
            )
        )
    return found


def test_every_way_hears_every_utterance(tmp_path):
    ways = stream_ways(bundle(), SHARES)
    heard = hear_streams(ways, spoken(tmp_path))
    expected = {"all", "dial 0.75", "dial 0.2", "once", "once, longer", "window", "exit 1"}
    assert set(heard) == {*expected, "random 0.4"}
    assert all(len(rows) == 3 for rows in heard.values())
    share = {name: share_of(own) for name, own in heard.items()}
    assert share["all"] == 1.0
    assert 0 < share["dial 0.2"] < share["dial 0.75"] < 1
    assert share["once"] == pytest.approx(0.5, abs=0.06)
    assert share["once, longer"] == pytest.approx(0.5, abs=0.06)
    assert 0.5 < share["exit 1"] < 1
    assert heard["dial 0.2"][0].age == "child"
    took = time_streams(ways, spoken(tmp_path))
    assert took["all"]["time_saving"] == 0.0
    assert all(each["milliseconds_a_second"] > 0 for each in took.values())


def test_dense_ways_compute_with_the_models_own_weights(tmp_path):
    own = bundle()
    ways, sound = stream_ways(own, ()), random_sound(2.0, seed=3)
    stream, other = ways["all"].recognizer.stream(), Recognizer(own).stream()
    assert stream.accept(sound) + stream.finish() == other.accept(sound) + other.finish()
    weights = own.model.encoder.state_dict()
    for name in ("once", "window", "exit 1"):
        for key, weight in ways[name].recognizer.model.encoder.state_dict().items():
            assert torch.equal(weight, weights[f"backbone.{key}"])


def test_only_a_speech_gate_leaves_silence_out():
    assert is_sparing(bundle())
    assert not is_sparing(tiny_bundle("gated-thrifty"))
    assert not is_sparing(tiny_bundle("lstm-reduced-2"))
