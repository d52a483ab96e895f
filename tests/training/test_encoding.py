# SPDX-License-Identifier: Apache-2.0
"""Whole utterances are read once each, and as if they were alone.

Dimensions: T frames, D width.
"""

import pytest
import torch

from evenear.data.batching.store import FrameStore, StoreConfig, build_store
from evenear.features import stack_frames
from evenear.training.encoding import encode, plain_batches
from laws import FEATURES, tiny_transducer
from tiny_corpora import spoken_tone


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> FrameStore:
    folder = tmp_path_factory.mktemp("encoding")
    said = [spoken_tone(folder / f"{k}.wav", f"u{k}", "A", 0.3 + 0.2 * (k % 5)) for k in range(9)]
    return build_store(said, folder / "store", StoreConfig(features=FEATURES, augment=False))


def test_every_utterance_is_in_one_batch_beside_others_of_its_length(store):
    places = [place for batch in plain_batches(store, FEATURES) for place in batch]
    assert sorted(places) == list(range(len(store)))
    lengths = [store.utterances[place].num_frames for place in places]
    assert lengths == sorted(lengths)


@torch.no_grad()
def test_an_utterance_is_encoded_as_if_it_were_alone(store):
    model = tiny_transducer("lstm")
    together = encode(model, store, [0, 4, 2], FEATURES)
    for row, place in enumerate((0, 4, 2)):
        stacked_TF = torch.from_numpy(stack_frames(store.frames(place), FEATURES))
        alone = model.encode(stacked_TF[None], torch.tensor([len(stacked_TF)]))
        length = int(together.lengths_B[row])
        assert length == int(alone.lengths_B[0])
        torch.testing.assert_close(
            together.encoded_BTD[row, :length], alone.encoded_BTD[0, :length], atol=1e-4, rtol=0
        )
