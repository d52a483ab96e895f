# SPDX-License-Identifier: Apache-2.0
"""Dimensions: B utterances, T frames, F feature width, M mel bins."""

import numpy as np
import pytest
import torch

from evenear.config import replace
from evenear.data.batching.crops import CropConfig, CropMaker, StoredVoices
from evenear.data.batching.store import StoreConfig, build_store
from evenear.data.corpora.manifests import load_cuts, utterance
from evenear.errors import ConfigError
from evenear.features import FeatureConfig
from tiny_speakers import write_speakers

FEATURES = FeatureConfig(num_mel_bins=8, stack=3)
PLAIN = CropConfig(num_speakers=4, num_each=2, seconds=0.6, tilt=0.0, band=0.0, stretch=0.0)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("voices")
    manifest = write_speakers(folder / "corpus", num_speakers=6, num_each=3)
    known = [utterance(cut) for cut in load_cuts(manifest)]
    return build_store(known, folder / "frames", StoreConfig(features=FEATURES, augment=False))


def maker(store, settings=PLAIN, seed=0, **options):
    return CropMaker(StoredVoices({"": store}, **options), settings, FEATURES, seed=seed)


def test_a_batch_holds_some_utterances_of_each_of_some_speakers(store):
    crops = maker(store)
    batch = crops.batch(crops.plan(0)[0], 0)
    assert batch.features_BTF.shape == (8, 20, 24)
    speakers = batch.speakers_B.view(4, 2)
    assert torch.equal(speakers[:, 0], speakers[:, 1])
    assert len(set(speakers[:, 0].tolist())) == 4
    assert int(batch.epoch) == 0
    for row, speaker in zip(batch.rows_B.tolist(), batch.speakers_B.tolist(), strict=True):
        name = crops.voices.speakers[speaker]
        assert store.utterances[crops.voices.places[row][1]].speaker == name
    rows = batch.rows_B.view(4, 2)
    assert (rows[:, 0] != rows[:, 1]).all()


def test_a_plain_crop_is_a_part_of_its_utterance(store):
    crops = maker(store)
    batch = crops.batch(crops.plan(0)[0], 0)
    for b, row in enumerate(batch.rows_B.tolist()):
        whole_TM = crops.voices.frames(row)
        crop_TM = batch.features_BTF[b].reshape(-1, 8).numpy()
        starts = range(len(whole_TM) - len(crop_TM) + 1)
        assert any(np.array_equal(whole_TM[s : s + len(crop_TM)], crop_TM) for s in starts)


def test_short_utterances_are_joined_with_others_of_the_speaker(store):
    crops = maker(store, replace(PLAIN, seconds=2.4))
    assert crops.batch(crops.plan(0)[0], 0).features_BTF.shape == (8, 80, 24)


def test_plans_and_batches_depend_on_seed_and_epoch_alone(store):
    varied = replace(PLAIN, tilt=1.0, band=0.3, stretch=0.2)
    one, same, other = maker(store, varied), maker(store, varied), maker(store, varied, seed=1)
    assert one.plan(3) == same.plan(3)
    assert one.plan(3) != one.plan(4)
    assert one.plan(3) != other.plan(3)
    first, again = (crops.batch(crops.plan(3)[1], 3) for crops in (one, same))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    group = one.plan(3)[1]
    assert not torch.equal(one.batch(group, 3).features_BTF, one.batch(group, 4).features_BTF)


def test_speakers_at_another_speed_are_others_and_the_held_out_are_left_out(store):
    voices = StoredVoices({"": store, "0.9": store}, excluded=["s0", "s3"])
    assert voices.speakers == ("s1", "s1@0.9", "s2", "s2@0.9", "s4", "s4@0.9", "s5", "s5@0.9")
    assert len(voices) == 24
    assert voices.hours == pytest.approx(24 * 100 / 360_000)


def test_masks_and_tilt_change_what_is_heard_but_not_how_much(store):
    varied = maker(store, replace(PLAIN, tilt=1.0, band=0.5, stretch=0.5))
    batch = varied.batch(varied.plan(0)[0], 0)
    assert batch.features_BTF.shape == (8, 20, 24)
    assert batch.features_BTF.isfinite().all()
    row_TM = varied.voices.frames(int(batch.rows_B[0]))
    assert not np.isin(batch.features_BTF[0].numpy(), row_TM).all()


def test_too_few_speakers_are_refused(store):
    with pytest.raises(ConfigError, match="different speakers"):
        maker(store, replace(PLAIN, num_speakers=7))
