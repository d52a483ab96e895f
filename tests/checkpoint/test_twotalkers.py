# SPDX-License-Identifier: Apache-2.0
"""A two-channel model comes back as it was saved, and is not taken for a recognizer."""

import copy
import json

import pytest
import torch

from evenear.checkpoint import load_model, save_model, shipped_models
from evenear.checkpoint.folders import find_folder
from evenear.checkpoint.twotalkers import TWO_TALKERS, load_two_talkers, save_two_talkers
from evenear.config import replace
from evenear.errors import CheckpointError
from evenear.models.twotalkers import SeparatorTransducer
from evenear.search import BeamConfig
from laws import FEATURES, random_features, tiny_bundle
from two_talkers import tiny_two_talkers


def saved(folder, *, with_words: bool = False, **changes):
    bundle = tiny_two_talkers(with_words=with_words)
    save_two_talkers(
        folder,
        model=bundle.model,
        settings=replace(bundle.settings, **changes),
        tokenizer=bundle.tokenizer,
        card="# A card",
        words=bundle.words,
        provenance={"seed": 3},
    )
    return folder


@torch.no_grad()
@pytest.mark.parametrize("with_words", [False, True])
def test_a_loaded_model_is_the_saved_one(tmp_path, with_words):
    before = tiny_two_talkers(with_words=with_words)
    after = load_two_talkers(saved(tmp_path / "m", with_words=with_words))
    assert after.settings == before.settings
    assert (after.card, after.name, after.provenance) == ("# A card", "m", {"seed": 3})
    assert (after.words is None) == (not with_words)
    features_BTF, lengths_B = random_features(40), torch.tensor([40])
    first, second = (m.model(features_BTF, lengths_B).encoded_BTD for m in (before, after))
    assert torch.equal(first, second)
    assert after.channel.model is after.model.transducer


def test_a_separator_of_frames_together_is_saved_too(tmp_path):
    bundle = tiny_two_talkers()
    separator = bundle.settings.model.separator
    wide = replace(separator.separation, feature_dim=2 * FEATURES.dim)
    config = replace(bundle.settings.model, separator=replace(separator, separation=wide, joined=2))
    save_two_talkers(
        tmp_path / "m",
        model=SeparatorTransducer(config),
        settings=replace(bundle.settings, model=config),
        tokenizer=bundle.tokenizer,
    )
    assert load_two_talkers(tmp_path / "m").settings.model == config


def test_kinds_are_not_mixed_up(tmp_path):
    folder = saved(tmp_path / "m")
    with pytest.raises(CheckpointError, match="two-talker recognizer"):
        load_model(folder)
    with pytest.raises(CheckpointError, match="is a recognizer"):
        load_two_talkers("evenear-en-small")


def test_words_of_a_model_that_is_not_there_are_missed(tmp_path):
    folder = saved(tmp_path / "m", words_of="evenear-xx-none")
    with pytest.raises(CheckpointError, match="evenear-xx-none"):
        load_two_talkers(folder)


def test_words_of_other_phones_are_refused(tmp_path):
    folder = saved(tmp_path / "m", words_of="evenear-en-small")
    with pytest.raises(CheckpointError, match="phones"):
        load_two_talkers(folder)


def test_settings_of_another_model_are_refused(tmp_path):
    bundle = tiny_two_talkers()
    with pytest.raises(CheckpointError, match="another model"):
        saved(tmp_path / "m", model=replace(bundle.settings.model, turns="none"))


@torch.no_grad()
def test_a_frozen_recognizer_is_named_instead_of_held(tmp_path):
    bundle, single = tiny_two_talkers(), tiny_bundle("convrnn-reduced-2")
    save_model(
        tmp_path / "single", model=single.model, features=FEATURES, tokenizer=single.tokenizer
    )
    named = str(tmp_path / "single")
    whole, small = saved(tmp_path / "whole"), saved(tmp_path / "small", transducer_of=named)
    assert size(small) < size(whole) / 2
    first, second = load_two_talkers(whole), load_two_talkers(small)
    for name, tensor in first.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name]), name
    assert not (small / "tokenizer.model").exists()
    changed = copy.deepcopy(bundle)
    changed.model.transducer.joiner.output.bias.add_(1.0)
    with pytest.raises(CheckpointError, match="as it is"):
        save_two_talkers(
            tmp_path / "again",
            model=changed.model,
            settings=replace(bundle.settings, transducer_of=named),
            tokenizer=bundle.tokenizer,
        )


@torch.no_grad()
def test_new_heads_of_the_recognizer_are_used_and_a_new_encoder_is_said(tmp_path, caplog):
    single, named = tiny_bundle("convrnn-reduced-2"), tmp_path / "single"
    save_model(named, model=single.model, features=FEATURES, tokenizer=single.tokenizer)
    small = saved(tmp_path / "small", transducer_of=str(named))
    changed = copy.deepcopy(single.model)
    changed.joiner.output.bias.add_(1.0)
    search = BeamConfig(width=3)
    save_model(named, model=changed, features=FEATURES, tokenizer=single.tokenizer, search=search)
    bundle = load_two_talkers(small)
    assert torch.equal(bundle.model.transducer.joiner.output.bias, changed.joiner.output.bias)
    assert bundle.settings.search == search
    assert not caplog.records
    for parameter in changed.encoder.parameters():
        parameter.add_(0.1)
    save_model(named, model=changed, features=FEATURES, tokenizer=single.tokenizer)
    load_two_talkers(small)
    assert "another encoder" in caplog.text


def test_a_recognizer_of_other_features_is_refused(tmp_path):
    single, named = tiny_bundle("convrnn-reduced-2"), tmp_path / "single"
    save_model(named, model=single.model, features=FEATURES, tokenizer=single.tokenizer)
    small = saved(tmp_path / "small", transducer_of=str(named))
    other = replace(FEATURES, window_milliseconds=30.0)
    save_model(named, model=single.model, features=other, tokenizer=single.tokenizer)
    with pytest.raises(CheckpointError, match="other features"):
        load_two_talkers(small)


def test_a_folder_that_names_no_recognizer_needs_a_tokenizer(tmp_path):
    folder = saved(tmp_path / "m")
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["files"]["tokenizer.model"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match=r"tokenizer\.model"):
        load_two_talkers(folder)


def size(folder) -> int:
    return (folder / "weights.safetensors").stat().st_size


@pytest.mark.skipif("evenear-en-duo" not in shipped_models(TWO_TALKERS), reason="not shipped")
def test_the_shipped_model_is_small_and_fits_the_recognizer_beside_it():
    bundle = load_two_talkers("evenear-en-duo")
    assert bundle.settings.transducer_of in shipped_models()
    assert bundle.words is not None
    folder = find_folder("evenear-en-duo", kind=TWO_TALKERS)
    assert sum(path.stat().st_size for path in folder.iterdir()) < 15_000_000
    assert "## Limits and harms" in bundle.card
    assert bundle.provenance["updates"] > 0
