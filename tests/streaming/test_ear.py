# SPDX-License-Identifier: Apache-2.0
"""Right context in a recognizer: what waits for it, what does not, and who has none."""

import copy
from dataclasses import replace

import pytest

from evenear.checkpoint import Bundle
from evenear.errors import ConfigError
from evenear.streaming import Final, Recognizer, TurnConfig
from evenear.streaming.ear import Ear, set_blocks
from laws import random_sound, tiny_bundle

BRISK = TurnConfig(endpoint_seconds=0.25, final_seconds=1.0)


def patient(encoder: str = "gated-blocks", right_frames: int = 16) -> Bundle:
    """A bundle of its own whose streams wait for right context."""
    bundle = replace(tiny_bundle(encoder), model=copy.deepcopy(tiny_bundle(encoder).model))
    own = bundle.model.encoder
    getattr(own, "backbone", own).right_frames = right_frames
    return bundle


def heard(stream, samples_N) -> list:
    return [*stream.accept(samples_N), *stream.finish()]


def words(events: list) -> list[str]:
    return [event.text for event in events if isinstance(event, Final)]


def test_streams_with_and_without_right_context_share_a_batch_as_if_alone():
    recognizer = Recognizer(patient(), turns=BRISK)
    shares = [1.0, 0.4, 1.0, 0.8]
    sounds = [random_sound(2.0, seed=seed) for seed in range(4)]
    alone = [
        words(heard(recognizer.stream(compute=share), sound))
        for share, sound in zip(shares, sounds, strict=True)
    ]
    assert any(alone[0] + alone[2])
    assert any(alone[1] + alone[3])
    streams = [recognizer.stream(compute=share) for share in shares]
    events = recognizer.advance(streams[:1], [sounds[0][:4000]])  # ahead of the others
    rest = recognizer.advance(streams, [sounds[0][4000:], *sounds[1:]])
    events = [events[0] + rest[0], *rest[1:]]
    for own, tail, expected in zip(events, recognizer.finish(streams), alone, strict=True):
        assert words(own + tail) == expected
    assert [stream.compute == 1.0 for stream in streams] == [True, False, True, False]


def test_right_context_is_no_part_of_what_is_spent():
    recognizer = Recognizer(patient(), turns=BRISK)
    heard(recognizer.stream(), random_sound(1.0))
    assert recognizer.meter.share == 1.0
    assert recognizer.meter.dense > 0


def test_words_are_final_later_by_the_right_context():
    bundle, waited = patient("transformer", right_frames=16), []
    recognizer, right_seconds = Recognizer(bundle, turns=BRISK), 0.16
    for seed in range(20):
        stream, sound = recognizer.stream(), random_sound(4.0, seed=seed)
        events = [e for k in range(0, 64_000, 800) for e in stream.accept(sound[k : k + 800])]
        finals = [event for event in events if isinstance(event, Final)]
        waited += [event.known_seconds - event.words[-1].end_seconds for event in finals]
    assert waited
    assert min(waited) >= right_seconds - 1e-6


def test_without_right_context_a_model_is_as_it_was():
    sound = random_sound(3.0, seed=2)
    plain = heard(Recognizer(tiny_bundle("transformer"), turns=BRISK).stream(), sound)
    bundle = patient("transformer")
    set_blocks(bundle, None, 0)
    assert heard(Recognizer(bundle, turns=BRISK).stream(), sound) == plain


def test_blocks_that_right_context_is_no_multiple_of_have_none():
    bundle = patient("transformer", right_frames=16)
    milliseconds = 1000 * bundle.features.clock.frame_seconds
    set_blocks(bundle, round(24 * milliseconds), None)
    assert Ear(bundle.model).right is None
    set_blocks(bundle, round(8 * milliseconds), round(24 * milliseconds))
    assert Ear(bundle.model).right_frames == 24


def test_only_transformers_have_blocks_and_right_context():
    with pytest.raises(ConfigError, match="kind transformer"):
        set_blocks(tiny_bundle(), None, 320)
    bundle = patient("transformer")
    set_blocks(bundle, None, 50)
    with pytest.raises(ConfigError, match="whole blocks"):
        Recognizer(bundle)
