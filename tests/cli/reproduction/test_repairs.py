# SPDX-License-Identifier: Apache-2.0
"""`evenear reproduce geography` and `cohorts` refuse what cannot be, and print verdicts."""

import json

import pytest

from training.mitigation.tone_speakers import write_model, write_speakers


@pytest.mark.parametrize("name", ["geography", "cohorts"])
def test_a_method_that_is_none_is_refused_before_any_work(evenear, tmp_path, name):
    done = evenear(
        "reproduce", name, "--data", tmp_path, "--out", tmp_path / "out", "--methods", "magic"
    )
    assert done.code == 2
    assert "no method 'magic'" in done.err


def test_a_verdict_is_printed_for_each_claim(evenear, tmp_path):
    write_model(tmp_path / "model", layers=2)
    write_speakers(tmp_path / "tones", num_speakers=44)
    done = evenear(
        "reproduce",
        "geography",
        *("--data", tmp_path / "tones", "--out", tmp_path / "out", "--model", tmp_path / "model"),
        *("--updates", "2", "--settings", "1", "--methods", "fine-tune"),
        *("--control-methods", "fine-tune"),
    )
    assert done.code == 0, done.err
    assert "It lowers the variance between regions: not measured." in done.out
    values = json.loads((tmp_path / "out" / "geography.json").read_text())
    assert len(values["maps"]) == 2
