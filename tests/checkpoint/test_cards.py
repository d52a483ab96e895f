# SPDX-License-Identifier: Apache-2.0
"""Another card, the same model."""

import pytest

from evenear.checkpoint import load_model, save_model
from evenear.checkpoint.cards import read_card, replace_card
from evenear.errors import CheckpointError
from laws import FEATURES, tiny_tokenizer, tiny_transducer


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "model"
    save_model(
        path, model=tiny_transducer(), features=FEATURES, tokenizer=tiny_tokenizer(), card="# One"
    )
    return path


def test_only_the_card_and_its_digest_change(folder):
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    assert read_card(folder) == "# One"
    replace_card(folder, "# Two\n\nWhom it serves.\n")
    assert load_model(folder).card == read_card(folder) == "# Two\n\nWhom it serves.\n"
    after = {p.name: p.read_bytes() for p in folder.iterdir()}
    assert {n for n in before if after[n] != before[n]} == {"card.md", "manifest.json"}
    assert after.keys() == before.keys()


def test_a_damaged_model_gets_no_card(folder):
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(CheckpointError, match="damaged"):
        replace_card(folder, "# Two")
    assert (folder / "card.md").read_text() == "# One"
