# SPDX-License-Identifier: Apache-2.0
"""Delays of emission against one alignment."""

from dataclasses import replace

import pytest
import torch

from evenear.reproduction.latency import Delays, Reference, delays, force_alignments
from evenear.reproduction.scoring import CLEAN, Score, listen, score
from laws import FEATURES, tiny_bundle
from reproduction.test_scoring import utterances  # noqa: F401


def read(tokens, frames, *, name: str = "u") -> Score:
    return Score("clean", name, "s", 0, 1, "", tuple(tokens), tuple(frames))


def test_delays_are_those_of_the_tokens_that_were_read_right():
    references = {"u": Reference((5, 6, 7, 8), (0.1, 0.2, 0.3, 0.4))}
    found = delays([read((5, 9, 7, 7, 8), (2, 3, 4, 5, 9))], references, 0.06)
    assert found.num_tokens == 4
    assert found.seconds[0] == pytest.approx(0.12 - 0.1)
    assert found.seconds[-1] == pytest.approx(0.54 - 0.4)
    assert len(found.seconds) == 3


def test_percentiles_are_in_milliseconds_and_unknown_without_tokens():
    found = Delays((0.1, 0.2, 0.3), 5)
    assert found.percentile_milliseconds(50) == pytest.approx(200)
    assert found.mean_milliseconds == pytest.approx(200)
    none = delays([read((), ())], {"u": Reference((4,), (0.0,))}, 0.06)
    assert (none.num_tokens, none.percentile_milliseconds(50), none.mean_milliseconds) == (
        1,
        None,
        None,
    )


@pytest.fixture(scope="module")
def aligned(utterances, tmp_path_factory):  # noqa: F811
    bundle = tiny_bundle()
    stores = listen(utterances, FEATURES, (), tmp_path_factory.mktemp("aligned"))
    found = force_alignments(bundle.model, bundle.tokenizer, FEATURES, stores[CLEAN])
    return bundle, stores, found


def test_each_reference_token_has_a_moment_within_the_utterance(aligned):
    bundle, stores, found = aligned
    for stored in stores[CLEAN].utterances:
        reference = found[stored.utterance_id]
        assert list(reference.tokens) == bundle.tokenizer.encode(stored.text)
        assert list(reference.seconds) == sorted(reference.seconds)
        assert 0 <= reference.seconds[0] <= reference.seconds[-1] < stored.num_frames * 0.01 + 0.06


def test_a_reference_that_no_word_pieces_cover_is_scored_but_not_aligned(
    utterances,  # noqa: F811
    tmp_path,
):
    bundle = tiny_bundle()
    foreign = [replace(u, text="ÆØÅ " + u.text) for u in utterances[:1]]
    stores = listen([*foreign, utterances[1]], FEATURES, (), tmp_path)
    references = force_alignments(bundle.model, bundle.tokenizer, FEATURES, stores[CLEAN])
    assert list(references) == ["u1"]
    scores = list(score(bundle.model, bundle.tokenizer, FEATURES, stores))
    assert {one.utterance_id: one.words for one in scores} == {"u0": 4, "u1": 6}
    assert delays(scores, references, 0.06).num_tokens == len(references["u1"].tokens)


@torch.no_grad()
def test_a_recognizer_that_is_sure_is_not_late_against_itself(aligned):
    """Its own reading, aligned by itself: the best path emits about where it emitted."""
    bundle, stores, _ = aligned
    scores = list(score(bundle.model, bundle.tokenizer, FEATURES, stores))
    clock = FEATURES.clock.frame_seconds * bundle.model.encoder.stride
    own = {
        one.utterance_id: Reference(one.tokens, tuple(frame * clock for frame in one.frames))
        for one in scores
    }
    found = delays(scores, own, clock)
    assert found.num_tokens == len(found.seconds) > 0
    assert max(map(abs, found.seconds)) < 1e-9
