# SPDX-License-Identifier: Apache-2.0
"""Right context in a recognizer: what waits for it, what does not, who has none, who hears less."""

import copy
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from evenear.checkpoint import Bundle
from evenear.errors import ConfigError
from evenear.streaming import Final, Recognizer, TurnConfig
from evenear.streaming.ear import Ear, set_blocks
from hearing import assert_same, hear, lasting
from laws import chunkings, random_sound, tiny_bundle
from tiny_detector import tiny_detector

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


@pytest.mark.parametrize("voice", [None, tiny_detector()])
@pytest.mark.parametrize("share", [0.3, 0.75])
def test_chunks_change_nothing_for_streams_that_hear_sparingly(share, voice):
    recognizer = Recognizer(tiny_bundle("gated-sparing"), turns=BRISK, compute=share, voice=voice)
    sound = random_sound(3.0, seed=5)
    expected = hear(recognizer, sound)
    assert words(expected)

    @settings(deadline=None, max_examples=12, derandomize=True)
    @given(chunks=chunkings(len(sound)))
    def check(chunks):
        assert_same(hear(recognizer, sound, np.cumsum(chunks)[:-1]), expected)

    check()


def test_streams_that_hear_sparingly_share_a_batch_as_if_alone():
    recognizer = Recognizer(tiny_bundle("gated-sparing"), turns=BRISK)
    shares = [0.3, 1.0, 0.3, 0.6]
    sounds = [random_sound(2.0, seed=seed) for seed in range(4)]
    alone, spent = [], []
    for share, sound in zip(shares, sounds, strict=True):
        stream = recognizer.stream(compute=share)
        alone.append(lasting(heard(stream, sound)))
        spent.append(stream.compute)
    streams = [recognizer.stream(compute=share) for share in shares]
    events = recognizer.advance(streams, sounds)
    for own, tail, expected in zip(events, recognizer.finish(streams), alone, strict=True):
        assert lasting(own + tail) == expected
    assert [stream.compute for stream in streams] == pytest.approx(spent)
    assert spent[0] < spent[1] == 1.0


def test_what_sparing_streams_tell_was_heard_by_then_and_told_at_once():
    recognizer = Recognizer(tiny_bundle("gated-sparing"), turns=BRISK, compute=0.6)
    block = recognizer.clock.frame_seconds * recognizer.model.encoder.block_frames / 4
    told = 0
    for seed in range(8):
        stream, sound = recognizer.stream(), random_sound(3.0, seed=seed)
        for k in range(0, len(sound), 400):
            for event in stream.accept(sound[k : k + 400]):
                told += 1
                assert event.seconds <= event.known_seconds <= (k + 400) / 16_000
                assert event.known_seconds > (k + 400) / 16_000 - block - 0.1
    assert told


def test_the_meter_of_sparing_streams_counts_right_context_as_all():
    recognizer = Recognizer(tiny_bundle("gated-sparing"), turns=BRISK)
    stream = recognizer.stream(compute=0.3)
    heard(stream, random_sound(2.0))
    assert recognizer.meter.share == pytest.approx(stream.compute)
    assert 0 < recognizer.meter.share < 0.9
    dense = Recognizer(tiny_bundle("gated-thrifty"), turns=BRISK)
    heard(dense.stream(compute=0.99), random_sound(2.0))
    assert recognizer.meter.dense > 1.9 * dense.meter.dense


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
