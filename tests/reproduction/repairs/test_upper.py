# SPDX-License-Identifier: Apache-2.0
"""The upper part over stored frames says what the whole recognizer says."""

import pytest
import torch

from evenear.checkpoint import load_model, shipped_models
from evenear.data.batching.store import StoreConfig, build_store
from evenear.errors import ConfigError
from evenear.reproduction.repairs.upper import stored_below, upper_part
from evenear.search import greedy_search
from evenear.training.encoding import encode
from training.mitigation.tone_speakers import utterances, write_model


@pytest.fixture(params=["tones", "evenear-en-small"])
def parts(request, tmp_path):
    if request.param == "tones":
        bundle = write_model(tmp_path / "model", layers=3)
    elif request.param in shipped_models():
        bundle = load_model(request.param)
    else:
        pytest.skip("not shipped")
    spoken = utterances(tmp_path / "tones", num_speakers=3)
    store = build_store(
        spoken, tmp_path / "frames", StoreConfig(features=bundle.features, augment=False)
    )
    return bundle, store


def test_the_upper_part_encodes_and_reads_as_the_whole_does(parts, tmp_path):
    bundle, store = parts
    cut, lower = upper_part(bundle, 1)
    below = stored_below(bundle, lower, store, tmp_path / "below")
    places = range(len(store))
    whole = encode(bundle.model, store, list(places), bundle.features)
    upper = encode(cut.model, below, list(places), cut.features)
    assert whole.lengths_B.tolist() == upper.lengths_B.tolist()
    for b, length in enumerate(whole.lengths_B.tolist()):
        torch.testing.assert_close(
            upper.encoded_BTD[b, :length], whole.encoded_BTD[b, :length], rtol=0.02, atol=0.02
        )
    said = [reading.tokens for reading in greedy_search(bundle.model, whole)]
    again = [reading.tokens for reading in greedy_search(cut.model, upper)]
    assert [len(t) for t in said] == [len(t) for t in again]


def test_stored_frames_are_found_again(parts, tmp_path):
    bundle, store = parts
    _, lower = upper_part(bundle, 1)
    first = stored_below(bundle, lower, store, tmp_path / "below")
    heard: list[int] = []
    again = stored_below(bundle, lower, store, tmp_path / "below", progress=heard.append)
    assert heard == []
    assert again.utterances == first.utterances


def test_layers_that_are_not_there_are_refused(tmp_path):
    bundle = write_model(tmp_path / "model", layers=2)
    with pytest.raises(ConfigError, match="Between 1 and 1"):
        upper_part(bundle, 2)
