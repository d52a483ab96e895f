# SPDX-License-Identifier: Apache-2.0
import json

from tiny_speakers import write_speakers


def test_a_study_writes_numbers_and_a_page(evenear, tmp_path):
    manifest = write_speakers(tmp_path / "people", num_speakers=14, num_each=3)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    for row in rows:
        row["split"] = "test" if int(row["speaker"][1:]) >= 8 else "train"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "out"
    asked = ("--seeds", "1", "--updates", "4", "--draws", "10", "--each", "3")
    done = evenear("reproduce", "arw", "--data", manifest, "--test", manifest, "--out", out, *asked)
    assert done.code == 0
    found = json.loads((out / "arw.json").read_text())
    assert (found["train_speakers"], found["test_speakers"]) == (8, 6)
    assert "evenear reproduce arw" in found["command"]
    assert str(tmp_path) not in json.dumps(found)
    assert "## A hidden group, planted" in (out / "arw.md").read_text()
