# SPDX-License-Identifier: Apache-2.0
import json

import pytest
import torch

from evenear.checkpoint import load_model
from evenear.checkpoint.speakers import load_speaker, save_speaker
from evenear.config import replace
from evenear.errors import CheckpointError
from tiny_voices import FEATURES, tiny_speaker


def test_a_saved_network_comes_back_with_all_its_numbers(tmp_path):
    model = tiny_speaker()
    save_speaker(
        tmp_path / "m", model=model, features=FEATURES, card="# It", provenance={"seed": 3}
    )
    bundle = load_speaker(tmp_path / "m")
    assert (bundle.card, bundle.name, bundle.features) == ("# It", "m", FEATURES)
    assert bundle.provenance == {"seed": 3}
    assert not bundle.model.training
    own = bundle.model.state_dict()
    assert all(torch.equal(tensor, own[name]) for name, tensor in model.state_dict().items())


def test_float16_halves_the_matrices_and_keeps_the_voices(tmp_path):
    model = tiny_speaker()
    save_speaker(tmp_path / "wide", model=model, features=FEATURES)
    save_speaker(tmp_path / "narrow", model=model, features=FEATURES, dtype="float16")
    features_BTF = torch.randn(3, 20, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wide, narrow = (
            load_speaker(tmp_path / name).model(features_BTF) for name in ("wide", "narrow")
        )
    assert float((wide * narrow).sum(dim=1).min()) > 0.999


def test_versions_follow_weights_and_settings(tmp_path):
    save_speaker(tmp_path / "m", model=tiny_speaker(), features=FEATURES)
    first = load_speaker(tmp_path / "m").version
    save_speaker(tmp_path / "m", model=tiny_speaker(), features=FEATURES, card="other words")
    assert load_speaker(tmp_path / "m").version == first
    save_speaker(tmp_path / "m", model=tiny_speaker(seed=1), features=FEATURES)
    assert load_speaker(tmp_path / "m").version != first


def test_features_of_another_width_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="stacked"):
        save_speaker(
            tmp_path / "m", model=tiny_speaker(), features=replace(FEATURES, num_mel_bins=9)
        )


def test_a_recognizer_is_not_taken_for_a_verifier_nor_the_other_way_round(tmp_path):
    with pytest.raises(CheckpointError, match="speaker"):
        load_speaker("evenear-en-small")
    save_speaker(tmp_path / "m", model=tiny_speaker(), features=FEATURES)
    with pytest.raises(CheckpointError, match="recognizer"):
        load_model(tmp_path / "m")


@pytest.mark.parametrize(("field", "value"), [("format", 99), ("speaker", {"what": 1})])
def test_settings_of_another_version_are_refused(tmp_path, field, value):
    from evenear.checkpoint.folders import read_folder, write_folder

    save_speaker(tmp_path / "m", model=tiny_speaker(), features=FEATURES)
    files = read_folder(tmp_path / "m", ())
    settings = {**json.loads(files["config.json"]), field: value}
    write_folder(tmp_path / "m", {**files, "config.json": json.dumps(settings).encode()})
    with pytest.raises(CheckpointError, match="version"):
        load_speaker(tmp_path / "m")
