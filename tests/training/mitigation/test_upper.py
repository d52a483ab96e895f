# SPDX-License-Identifier: Apache-2.0
"""The upper part over stored frames says what the whole recognizer says."""

import copy
import dataclasses

import pytest
import torch

from evenear.checkpoint import load_model, shipped_models
from evenear.data.batching.store import StoreConfig, build_store
from evenear.encoders.transformer import TransformerEncoder
from evenear.errors import ConfigError
from evenear.search import greedy_search
from evenear.streaming.ear import Ear
from evenear.training.encoding import encode
from evenear.training.mitigation.upper import cut_below, stored_below
from laws import FEATURES, tiny_bundle
from training.mitigation.tone_speakers import utterances, write_model


@pytest.fixture(params=["tones", "evenear-en-small", "evenear-en"])
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
    cut = cut_below(bundle, 1)
    below = stored_below(cut, store, tmp_path / "below")
    places = range(len(store))
    whole = encode(_heard_in_windows(bundle.model), store, list(places), bundle.features)
    upper = encode(cut.upper.model, below, list(places), cut.upper.features)
    assert whole.lengths_B.tolist() == upper.lengths_B.tolist()
    for b, length in enumerate(whole.lengths_B.tolist()):
        torch.testing.assert_close(
            upper.encoded_BTD[b, :length], whole.encoded_BTD[b, :length], rtol=0.02, atol=0.02
        )
    said = [reading.tokens for reading in greedy_search(bundle.model, whole)]
    again = [reading.tokens for reading in greedy_search(cut.upper.model, upper)]
    assert [len(t) for t in said] == [len(t) for t in again]


def _heard_in_windows(model):
    """A recognizer whose blocks are as long as the windows of its right context, if it has one."""
    encoder = model.encoder
    if isinstance(encoder, TransformerEncoder) and encoder.right_frames:
        model = copy.deepcopy(model)
        model.encoder.set_block(encoder.block_frames + encoder.right_frames)
    return model


def test_stored_frames_are_found_again(parts, tmp_path):
    bundle, store = parts
    cut = cut_below(bundle, 1)
    first = stored_below(cut, store, tmp_path / "below")
    heard: list[int] = []
    again = stored_below(cut, store, tmp_path / "below", progress=heard.append)
    assert heard == []
    assert again.utterances == first.utterances


def test_another_upper_part_finds_the_same_frames_and_another_lower_part_does_not(parts):
    bundle, _ = parts
    digests = {cut_below(bundle, 1).digest}
    for name, is_new in (("joiner.output.bias", False), ("mean_F", True)):
        model = copy.deepcopy(bundle.model)
        with torch.no_grad():
            model.state_dict()[name].add_(1.0)
        digest = cut_below(dataclasses.replace(bundle, model=model), 1).digest
        assert (digest not in digests) is is_new
        digests.add(digest)


def test_layers_that_are_not_there_are_refused(tmp_path):
    bundle = write_model(tmp_path / "model", layers=2)
    with pytest.raises(ConfigError, match="Between 1 and 1"):
        cut_below(bundle, 2)


def test_the_parts_join_to_the_whole(parts):
    bundle, _ = parts
    cut = cut_below(bundle, 1)
    same = cut.joined(cut.upper.model).state_dict()
    assert all(torch.equal(same[n], t) for n, t in bundle.model.state_dict().items())
    changed = copy.deepcopy(cut.upper.model)
    with torch.no_grad():
        for weight in changed.parameters():
            weight.add_(1.0)
    other = cut.joined(changed).state_dict()
    moved = {n for n, t in bundle.model.state_dict().items() if not torch.equal(other[n], t)}
    assert len(moved) == len(dict(cut.upper.model.named_parameters()))
    assert all(n.split(".")[0] != "encoder" or _is_above(n, bundle) for n in moved)


def _is_above(name, bundle):
    """Whether an encoder's weight is of its last layer, or behind it."""
    numbers = [int(part) for part in name.split(".") if part.isdigit()]
    count = getattr(bundle.model.config.encoder, "num_layers", None)
    count = count or bundle.model.config.encoder.lstm.num_layers
    return not numbers or numbers[0] == count - 1


@pytest.mark.parametrize("num_layers", [0, 1])
def test_a_transformer_says_the_same_in_two_parts(num_layers):
    bundle = tiny_bundle("transformer")
    cut = cut_below(bundle, num_layers)
    features_BTF = torch.randn(2, 37, FEATURES.dim, generator=torch.Generator().manual_seed(0))
    lengths_B = torch.tensor([37, 22])
    with torch.inference_mode():
        whole = bundle.model.encode(features_BTF, lengths_B)
        upper = cut.upper.model.encode(*cut.lower.hear(features_BTF, lengths_B))
    assert upper.lengths_B.tolist() == whole.lengths_B.tolist()
    for b, length in enumerate(whole.lengths_B.tolist()):
        torch.testing.assert_close(upper.encoded_BTD[b, :length], whole.encoded_BTD[b, :length])


def test_heads_are_given_the_frames_that_a_stream_with_right_context_settles():
    bundle = tiny_bundle("transformer")
    block = bundle.model.encoder.block_frames
    without = cut_below(bundle, 0).digest
    bundle.model.encoder.right_frames = block
    cut, ear = cut_below(bundle, 0), Ear(bundle.model)
    assert cut.digest != without
    features_BTF = torch.randn(2, 5 * block + 3, FEATURES.dim)
    lengths_B = torch.tensor([5 * block + 3, 3 * block])
    with torch.inference_mode():
        heard = cut.upper.model.encode(*cut.lower.hear(features_BTF, lengths_B))
        projected_BTD = cut.upper.model.joiner.encoder_proj(heard.encoded_BTD)
        for b, length in enumerate(lengths_B.tolist()):
            settled_1TD, _ = ear.finish(features_BTF[b, :length], ear.initial_state(1.0))
            torch.testing.assert_close(projected_BTD[b, : heard.lengths_B[b]], settled_1TD[0])
