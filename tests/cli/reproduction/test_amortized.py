# SPDX-License-Identifier: Apache-2.0
"""`evenear reproduce amortized`, from a model with a dial to a page and its numbers."""

import json

import soundfile

from evenear.checkpoint import save_model
from laws import random_sound, tiny_bundle


def test_a_dial_is_measured_and_written_down(evenear, tmp_path):
    bundle = tiny_bundle("gated-blocks")
    save_model(
        tmp_path / "dial", model=bundle.model, features=bundle.features, tokenizer=bundle.tokenizer
    )
    rows = []
    for place in range(3):
        soundfile.write(tmp_path / f"{place}.wav", random_sound(1.0, seed=place), 16_000)
        row = {"utterance_id": str(place), "speaker": f"s{place}", "text": "A CAT"}
        rows.append(json.dumps(row | {"audio": f"{place}.wav", "seconds": 1.0, "split": "test"}))
    (tmp_path / "utterances.jsonl").write_text("\n".join(rows) + "\n")
    out = tmp_path / "out"
    done = evenear(
        "reproduce", "amortized", tmp_path / "dial", "--test", tmp_path, "--split", "test",
        "--limit", 2, "--out", out,
    )  # fmt: skip
    assert done.code == 0, done.err
    results = json.loads((out / "amortized.json").read_text())
    assert results["utterances"] == 2
    assert results["ways"]["dense"]["compute"] == 1.0
    assert results["claims"]
    assert (out / "amortized.md").read_text() in done.out
