# SPDX-License-Identifier: Apache-2.0
"""Spliced sentences are the beginning of one utterance and the end of another, sound and text."""

from collections import Counter

import numpy as np
import pytest

from evenear.data.batching.splicing import Splicer, read_splice_points, write_splice_points
from evenear.data.batching.store import FrameStore, StoreConfig, build_store
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


def pieces_of(text: str) -> list[tuple[str, int, int]]:
    """The runs of words a text is made of: whose they are, the first, the one behind the last."""
    places = {w: (name, k) for name, said in TEXTS.items() for k, w in enumerate(said.split())}
    pieces: list[tuple[str, int, int]] = []
    for name, k in map(places.get, text.split()):
        if pieces and pieces[-1][0] == name and pieces[-1][2] == k:
            pieces[-1] = (name, pieces[-1][1], k + 1)
        else:
            pieces.append((name, k, k + 1))
    return pieces


def frames_of(piece: tuple[str, int, int], store: FrameStore) -> np.ndarray:
    name, begin, end = piece
    index = list(TEXTS).index(name)
    splice_points = [0, *SEAMS[name, 0], store.utterances[index].num_frames]
    assert splice_points[begin] is not None
    assert splice_points[end] is not None
    return store.frames(index)[splice_points[begin] : splice_points[end]]


def test_sound_and_text_are_parted_at_the_same_words(store):
    splicer = Splicer(store, SEAMS, middle_chance=0.8)
    numbers, endings = Counter(), Counter()
    for draw in range(400):
        made = splicer.splice(1, rng_for(0, "splice", draw))
        if made is None:
            continue
        frames_TM, text = made
        pieces = pieces_of(text)
        assert pieces[0][:2] == ("b", 0)
        assert "b" not in [name for name, _, _ in pieces[1:]]
        numbers[len(pieces)] += 1
        endings[text.split()[-1]] += 1
        expected_TM = np.concatenate([frames_of(piece, store) for piece in pieces])
        np.testing.assert_array_equal(frames_TM, expected_TM)
        assert len(frames_TM) <= store.utterances[1].num_frames
    assert numbers[2] > 0
    assert endings.keys() == {"C", "J"}


def test_middles_come_between_as_often_as_they_are_wanted(store):
    def longest(middle_chance: float) -> int:
        splicer = Splicer(store, SEAMS | {("a", 0): [10, 12]}, middle_chance=middle_chance)
        made = [splicer.splice(3, rng_for(0, "splice", draw)) for draw in range(100)]
        return max(len(text.split()) for _, text in filter(None, made))

    # I and an ending: two words of a, or two of b, which has no room for three.
    assert longest(0.0) == 3
    assert longest(0.9) > 3


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
    splice_points = {("ü\u2028x", 1): [3, None], ("b", 0): []}
    write_splice_points(splice_points, tmp_path / "splice_points.jsonl")
    assert read_splice_points(tmp_path / "splice_points.jsonl") == splice_points
    assert [path.name for path in tmp_path.iterdir()] == ["splice_points.jsonl"]
