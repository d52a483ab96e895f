# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import pytest
import torch

from evenear.checkpoint.folders import write_folder
from evenear.checkpoint.listeners import ListenerFolder, write_listener
from evenear.errors import CheckpointError
from tiny_detector import FEATURES, tiny_voice_model


def write(folder: Path, seed: int = 0, **changes) -> Path:
    """A folder of a small network; what is named by keyword is another."""
    model = tiny_voice_model(seed)
    given = {"card": "# It", "provenance": {"seed": seed}, "dtype": "float32"} | changes
    write_listener(folder, "voice", model=model, network=model.config, features=FEATURES, **given)
    return folder


def test_what_is_written_is_read(tmp_path):
    found = ListenerFolder.read(write(tmp_path / "m", seed=2), "voice")
    assert (found.card, found.provenance) == ("# It", {"seed": 2})
    assert found.settings["features"]["num_mel_bins"] == FEATURES.num_mel_bins
    filled = tiny_voice_model(0)
    found.fill(filled)
    right = tiny_voice_model(2).state_dict()
    assert all(torch.equal(tensor, right[name]) for name, tensor in filled.state_dict().items())


def test_card_and_provenance_may_be_missing(tmp_path):
    found = ListenerFolder.read(write(tmp_path / "m", card="", provenance=None), "voice")
    assert (found.card, dict(found.provenance)) == ("", {})


def test_the_version_is_of_weights_and_settings_and_of_nothing_else(tmp_path):
    def version(**changes) -> str:
        return ListenerFolder.read(write(tmp_path / "m", **changes), "voice").version

    assert version(card="another card", provenance=None) == version()
    assert version(seed=1) != version()
    assert version().startswith("m-")


def test_another_kind_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="speaker"):
        ListenerFolder.read(write(tmp_path / "m"), "speaker")


def test_another_format_is_refused(tmp_path):
    written = write(tmp_path / "m")
    settings = json.loads((written / "config.json").read_text()) | {"format": 99}
    files = {"config.json": json.dumps(settings).encode()}
    weights = (written / "weights.safetensors").read_bytes()
    write_folder(written, files | {"weights.safetensors": weights})
    with pytest.raises(CheckpointError, match="99"):
        ListenerFolder.read(written, "voice")


def test_a_damaged_file_is_refused(tmp_path):
    weights = write(tmp_path / "m") / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(CheckpointError):
        ListenerFolder.read(tmp_path / "m", "voice")


def test_weights_of_another_network_are_refused(tmp_path):
    found = ListenerFolder.read(write(tmp_path / "m"), "voice")
    with pytest.raises(CheckpointError):
        found.fill(torch.nn.Linear(2, 2))
