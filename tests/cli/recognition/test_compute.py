# SPDX-License-Identifier: Apache-2.0
"""Files through a model that has a dial: how they are heard, and the page of what ran."""

import soundfile

from evenear.checkpoint import save_model
from evenear.streaming import Recognizer
from laws import random_sound, tiny_bundle


def test_the_command_line_writes_the_page(evenear, tmp_path):
    bundle = tiny_bundle("gated-thrifty")
    save_model(
        tmp_path / "dial", model=bundle.model, features=bundle.features, tokenizer=bundle.tokenizer
    )
    soundfile.write(tmp_path / "noise.wav", random_sound(1.5), 16_000)
    page = tmp_path / "page.html"
    asked = ("transcribe", tmp_path / "noise.wav", "--model", tmp_path / "dial", "--compute", 0.4)
    done = evenear(*asked, "--explain", page)
    assert done.code == 0, done.err
    assert "Asked for 40 %" in page.read_text()
    twice = evenear(*asked, tmp_path / "noise.wav", "--explain", page)
    assert twice.code != 0
    assert "one file" in twice.err


def test_files_are_heard_without_hurry_and_standard_input_at_once(evenear, tmp_path):
    bundle = tiny_bundle("gated-sparing")
    parts = {"features": bundle.features, "tokenizer": bundle.tokenizer}
    save_model(tmp_path / "dial", model=bundle.model, **parts)
    soundfile.write(tmp_path / "noise.wav", random_sound(3.0), 16_000)
    done = evenear("transcribe", tmp_path / "noise.wav", "--model", tmp_path / "dial")
    hurried = evenear(
        "transcribe", tmp_path / "noise.wav", "--model", tmp_path / "dial", "--compute", 1
    )
    said = {
        share: " ".join(
            segment.text
            for segment in Recognizer.load(tmp_path / "dial", compute=share).transcribe(
                tmp_path / "noise.wav"
            )
        )
        for share in (0.7, 1.0)
    }
    assert said[0.7] != said[1.0]
    assert done.out.split() == said[0.7].split()
    assert hurried.out.split() == said[1.0].split()
