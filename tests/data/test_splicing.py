# SPDX-License-Identifier: Apache-2.0
"""Spliced sentences are the beginning of one utterance and the end of another, sound and text."""

from collections import Counter

import numpy as np
import pytest

from evenear.data.splicing import Splicer, read_seams, write_seams
from evenear.data.store import FrameStore, StoreConfig, build_store
from evenear.features import FeatureConfig
from evenear.seeding import rng_for
from tiny_corpora import spoken_tone

FEATURES = FeatureConfig(num_mel_bins=8)
TEXTS = {"a": "A B C", "b": "D E F G", "c": "H", "d": "I J"}
SEAMS = {("a", 0): [20, None], ("b", 0): [15, 30, 45], ("d", 0): [50]}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> FrameStore:
    folder = tmp_path_factory.mktemp("splicing")
    said = [
        spoken_tone(folder / f"{name}.wav", name, text, 0.5 + 0.1 * k)
        for k, (name, text) in enumerate(TEXTS.items())
    ]
    return build_store(said, folder / "store", StoreConfig(features=FEATURES, augment=False))


def parts_of(text: str, store: FrameStore) -> set[tuple[int, int, int, int]]:
    """All pairs of seams that make a text: first, words of it, second, words left out of it."""
    found = set()
    for first, one in enumerate(store.utterances):
        for second, other in enumerate(store.utterances):
            for k in range(1, len(one.text.split())):
                for skipped in range(1, len(other.text.split())):
                    if text.split() == one.text.split()[:k] + other.text.split()[skipped:]:
                        found.add((first, k, second, skipped))
    return found


def test_sound_and_text_are_parted_at_the_same_words(store):
    splicer, seen = Splicer(store, SEAMS), Counter()
    for draw in range(200):
        made = splicer.splice(1, rng_for(0, "splice", draw))
        if made is None:
            continue
        frames_TM, text = made
        ((first, k, second, skipped),) = parts_of(text, store)
        seen[second] += 1
        assert first == 1
        assert second != 1
        start = SEAMS[store.utterances[first].utterance_id, 0][k - 1]
        end = SEAMS[store.utterances[second].utterance_id, 0][skipped - 1]
        expected_TM = np.concatenate([store.frames(first)[:start], store.frames(second)[end:]])
        np.testing.assert_array_equal(frames_TM, expected_TM)
        assert len(frames_TM) <= store.utterances[first].num_frames
    assert seen.keys() == {0, 3}


def test_what_cannot_be_parted_is_left_alone(store):
    splicer = Splicer(store, SEAMS)
    assert splicer.splice(2, rng_for(0, "splice", 0)) is None
    alone = Splicer(store, {("b", 0): [15]})
    assert alone.splice(1, rng_for(0, "splice", 0)) is None


def test_the_same_draw_makes_the_same_sentence(store):
    first, second = (Splicer(store, SEAMS).splice(1, rng_for(3, "splice", 5)) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first[1] == second[1]
    np.testing.assert_array_equal(first[0], second[0])


def test_seams_that_are_written_are_read(tmp_path):
    seams = {("ü\u2028x", 1): [3, None], ("b", 0): []}
    write_seams(seams, tmp_path / "seams.jsonl")
    assert read_seams(tmp_path / "seams.jsonl") == seams
    assert [path.name for path in tmp_path.iterdir()] == ["seams.jsonl"]
