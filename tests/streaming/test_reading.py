# SPDX-License-Identifier: Apache-2.0
"""Turns that a detector of voice ends: chunks and company change nothing of them either."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.streaming import Recognizer, TurnConfig, TurnEnded
from laws import chunkings, random_sound, tiny_bundle, tiny_word_bundle
from streaming.test_recognizer import SEARCHES, WORDS, assert_same, hear
from tiny_detector import tiny_detector

TURNS = TurnConfig(
    silence_seconds=(0.04, 0.3), eager_seconds=0.06, final_seconds=1.0, patience_seconds=0.9
)
ENCODERS = ["lstm-reduced-2", "transformer"]


def recognizer(encoder: str, search: str = "greedy", *, listens: bool = True) -> Recognizer:
    bundle = tiny_bundle(encoder, "lstm")
    settings_of_search = WORDS if search == "words" else SEARCHES[search]
    if search == "words":
        bundle = tiny_word_bundle(encoder, "lstm")
    voice = tiny_detector() if listens else None
    return Recognizer(bundle, beam=settings_of_search, turns=TURNS, voice=voice)


def ends(events: list) -> list[float]:
    return [event.known_seconds for event in events if isinstance(event, TurnEnded)]


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("search", ["greedy", "beam", "words"])
def test_chunks_of_any_size_give_the_same_events(encoder, search):
    ears = recognizer(encoder, search)
    whole = {seed: hear(ears, random_sound(4.0, seed=seed)) for seed in range(2)}
    assert sum(len(ends(events)) for events in whole.values()) > 3

    @settings(deadline=None, max_examples=6, derandomize=True)
    @given(cuts=chunkings(64_000, max_chunks=40), seed=st.integers(0, 1))
    def check(cuts, seed):
        sound = random_sound(4.0, seed=seed)
        assert_same(hear(ears, sound, np.cumsum(cuts)[:-1]), whole[seed])

    check()


@pytest.mark.parametrize("encoder", ENCODERS)
def test_ten_milliseconds_at_a_time_give_the_same_events(encoder):
    ears, sound = recognizer(encoder), random_sound(4.0, seed=3)
    assert_same(hear(ears, sound, range(160, len(sound), 160)), hear(ears, sound))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_strangers_in_a_batch_do_not_meet(encoder):
    ears = recognizer(encoder)
    sounds = [random_sound(3.0, seed=seed) for seed in range(3)]
    streams = [ears.stream() for _ in sounds]
    together = [[], [], streams[2].accept(sounds[2][:3600])]
    starts = [0, 0, 3600]
    while any(start < len(sounds[0]) for start in starts):
        chunks = [s[a : a + 700] for s, a in zip(sounds, starts, strict=True)]
        for own, events in zip(together, ears.advance(streams, chunks), strict=True):
            own += events
        starts = [start + 700 for start in starts]
    for own, tail, sound in zip(together, ears.finish(streams), sounds, strict=True):
        assert_same(own + tail, hear(ears, sound))


def test_a_detector_ends_turns_within_a_block():
    def within(listens: bool) -> list[bool]:
        ears = recognizer("transformer", listens=listens)
        block = ears.model.encoder.block_frames * ears.bundle.features.clock.frame_seconds
        moments = [
            end for seed in range(4) for end in ends(hear(ears, random_sound(6.0, seed=seed)))
        ]
        rests = [end / block % 1 for end in moments if end < 6.0]
        return [0.01 < rest < 0.99 for rest in rests]

    assert any(within(True))
    assert not any(within(False))


@pytest.mark.parametrize("encoder", ["transformer", "lstm-reduced-3"])
@pytest.mark.parametrize("listens", [True, False])
def test_an_event_is_known_when_it_is_handed_out(encoder, listens):
    ears = recognizer(encoder, listens=listens)
    stream, sound_N, seen = ears.stream(), random_sound(4.0, seed=3), 0
    window = 0.025  # a frame is made once all of its window was heard
    for start in range(0, len(sound_N), 160):
        for event in stream.accept(sound_N[start : start + 160]):
            seen += 1
            assert 0 <= stream.heard_seconds - event.known_seconds <= window
    assert seen > 3
