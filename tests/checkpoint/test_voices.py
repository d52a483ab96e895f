# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from evenear.checkpoint.folders import shipped_models
from evenear.checkpoint.voices import VOICE, load_voice, save_voice
from evenear.config import replace
from evenear.errors import CheckpointError
from tiny_detector import FEATURES, tiny_voice_model


def test_a_saved_detector_comes_back_with_all_its_numbers(tmp_path):
    model = tiny_voice_model()
    save_voice(
        tmp_path / "m",
        model=model,
        features=FEATURES,
        card="# It",
        provenance={"seed": 3},
        dtype="float32",
    )
    bundle = load_voice(tmp_path / "m")
    assert (bundle.card, bundle.name, bundle.features) == ("# It", "m", FEATURES)
    assert bundle.provenance == {"seed": 3}
    assert not bundle.model.training
    own = bundle.model.state_dict()
    assert all(torch.equal(tensor, own[name]) for name, tensor in model.state_dict().items())


def test_versions_follow_the_weights(tmp_path):
    versions = []
    for seed in (0, 0, 1):
        save_voice(tmp_path / "m", model=tiny_voice_model(seed), features=FEATURES)
        versions.append(load_voice(tmp_path / "m").version)
    assert versions[0] == versions[1] != versions[2]


def test_features_of_another_width_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="9 wide"):
        save_voice(
            tmp_path / "m", model=tiny_voice_model(), features=replace(FEATURES, num_mel_bins=9)
        )


def test_a_recognizer_is_no_detector():
    with pytest.raises(CheckpointError, match="voice"):
        load_voice("evenear-en-small")


@pytest.mark.skipif("evenear-voice" not in shipped_models(VOICE), reason="not shipped")
def test_the_shipped_detector_is_small_and_has_a_card():
    bundle = load_voice("evenear-voice")
    assert sum(p.numel() for p in bundle.model.parameters()) < 60_000
    assert "# evenear-voice" in bundle.card
    assert bundle.provenance["command"].startswith("python benchmarks/ship_voice.py")
