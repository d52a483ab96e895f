# SPDX-License-Identifier: Apache-2.0
"""Dimensions: B utterances, T frames, M mel bins, X numbers of an utterance."""

import numpy as np
import pytest

from evenear.config import replace
from evenear.data.batching.store import build_store
from evenear.recipes.speaker import tiny
from evenear.reproduction.reweighting.voices import (
    age_band,
    colored,
    degraded,
    describe,
    describe_store,
    hidden_fifth,
)
from evenear.seeding import rng_for
from evenear.training.runs.preparation import Source
from evenear.training.runs.speaker import read_voices
from tiny_speakers import write_speakers


def frames(num_frames=40, num_bins=8, seed=0):
    return rng_for(seed, "frames").standard_normal((num_frames, num_bins)).astype(np.float32)


def test_an_utterance_is_described_by_its_louder_half():
    quiet_TM, loud_TM = frames() - 9.0, frames(seed=1)
    found_X = describe(np.concatenate([quiet_TM, loud_TM]))
    np.testing.assert_allclose(found_X[:8], loud_TM.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(found_X[8:16], loud_TM.std(axis=0), atol=1e-5)
    assert describe(frames(1)).shape == (24,)


def test_the_bad_channel_loses_the_upper_half_and_keeps_the_lower_one():
    clean_TM = frames(400) + 5.0
    bad_TM = degraded(clean_TM, rng_for(0, "noise"))
    lower = np.corrcoef(clean_TM[:, :4].ravel(), bad_TM[:, :4].ravel())[0, 1]
    upper = np.corrcoef(clean_TM[:, 4:].ravel(), bad_TM[:, 4:].ravel())[0, 1]
    assert lower > 0.9
    assert abs(upper) < 0.1


def test_the_coloring_channel_changes_with_the_recording_and_takes_nothing():
    clean_TM = frames(30)
    one_TM, two_TM = (colored(clean_TM, rng_for(0, name)) for name in ("one", "two"))
    for heard_TM in (one_TM, two_TM):
        color_M = (heard_TM - clean_TM)[0]
        assert color_M.std() > 0.5
        np.testing.assert_allclose(heard_TM - color_M, clean_TM, atol=1e-5)
    assert abs(one_TM - two_TM).max() > 0.5


def test_a_fifth_of_the_speakers_is_drawn_whatever_their_order():
    names = [f"s{n}" for n in range(50)]
    found = hidden_fifth(names, 0)
    assert len(found) == 10
    assert found == hidden_fifth(names[::-1], 0)
    assert found != hidden_fifth(names, 1)


def test_stored_utterances_are_described_with_what_is_known(tmp_path):
    known = read_voices([Source(write_speakers(tmp_path / "c", num_speakers=3, num_each=3))])
    store = build_store(known, tmp_path / "f", replace(tiny().data.store, augment=False))
    voices = describe_store(store, frozenset({"s1"}))
    assert voices.numbers_BX.shape == (9, 72)
    assert voices.attributes[0] == {
        "channel": "plain",
        "gender": "male",
        "age": "child (under 13)",
    }
    channels = [known["channel"] for known in voices.attributes]
    assert channels == ["plain"] * 3 + ["bad"] * 3 + ["plain"] * 3
    fewer = voices.at_most(2)
    assert fewer.speakers == ("s0", "s0", "s1", "s1", "s2", "s2")
    assert np.array_equal(fewer.numbers_BX[2], voices.numbers_BX[3])


@pytest.mark.parametrize(
    ("years", "band"), [(6, "child"), (12, "child"), (13, "teen"), (19, "teen"), (20, "adult")]
)
def test_ages_fall_into_three_bands(years, band):
    assert age_band(years).startswith(band)
