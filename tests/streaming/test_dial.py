# SPDX-License-Identifier: Apache-2.0
"""Listeners that ask for a share of the computation, and what they are told that they spent."""

import json

import pytest
import soundfile

from evenear.checkpoint import save_model
from evenear.errors import ConfigError
from evenear.streaming import Final, Recognizer
from evenear.streaming.dial import unhurried_share
from laws import random_sound, tiny_bundle


def gated(**settings) -> Recognizer:
    return Recognizer(tiny_bundle("gated-blocks"), **settings)


def said(stream, samples_N) -> list[str]:
    events = [*stream.accept(samples_N), *stream.finish()]
    return [event.text for event in events if isinstance(event, Final)]


def test_streams_of_different_shares_in_one_batch_are_each_as_if_alone():
    recognizer, sounds = gated(), [random_sound(2.0, seed=seed) for seed in range(3)]
    shares = [1.0, 0.2, 0.6]
    alone = [
        said(recognizer.stream(compute=share), sound)
        for share, sound in zip(shares, sounds, strict=True)
    ]
    streams = [recognizer.stream(compute=share) for share in shares]
    first = recognizer.advance(streams, sounds)
    last = recognizer.finish(streams)
    together = [
        [event.text for event in [*one, *other] if isinstance(event, Final)]
        for one, other in zip(first, last, strict=True)
    ]
    assert together == alone
    assert streams[0].compute == 1.0
    assert all(0 < stream.compute < 1.1 for stream in streams[1:])


def test_a_recognizer_adds_up_what_its_finished_streams_have_spent():
    recognizer = gated(compute=0.5)
    streams = [recognizer.stream(), recognizer.stream(compute=1.0)]
    for seed, stream in enumerate(streams):
        said(stream, random_sound(1.0 + seed, seed=seed))
    states = [stream.state.encoder for stream in streams]
    spent = sum(float(state.spent_B) for state in states)
    dense = sum(float(state.dense_B) for state in states)
    assert recognizer.meter.share == pytest.approx(spent / dense)
    assert streams[0].compute != 1.0


def test_a_model_without_gates_computes_all_and_says_so_when_less_is_asked_for():
    recognizer = Recognizer(tiny_bundle())
    stream = recognizer.stream(compute=1.0)
    said(stream, random_sound(1.0))
    assert stream.compute == recognizer.meter.share == 1.0
    with pytest.raises(ConfigError, match="no compute dial"):
        recognizer.stream(compute=0.4)
    with pytest.raises(ConfigError, match="no compute dial"):
        Recognizer(tiny_bundle(), compute=0.4)


@pytest.fixture
def folder(tmp_path):
    bundle = tiny_bundle("gated-blocks")
    save_model(
        tmp_path / "dial", model=bundle.model, features=bundle.features, tokenizer=bundle.tokenizer
    )
    soundfile.write(tmp_path / "noise.wav", random_sound(1.5), 16_000)
    row = {"utterance_id": "a", "speaker": "s", "text": "A CAT", "audio": "noise.wav"}
    row |= {"seconds": 1.5}
    (tmp_path / "utterances.jsonl").write_text(json.dumps(row) + "\n")
    return tmp_path


def test_the_command_line_takes_a_share_and_says_what_was_spent(folder):
    from typer.testing import CliRunner

    from evenear.cli import app

    run = CliRunner().invoke
    sound = str(folder / "noise.wav")
    options = ["--model", str(folder / "dial"), "--format", "json"]
    printed = run(app, ["transcribe", sound, *options, "--compute", "0.5"])
    assert printed.exit_code == 0, printed.output
    share = json.loads(printed.stdout)["compute"]
    recognizer = gated(compute=0.5)
    recognizer.transcribe(sound)
    assert share == pytest.approx(recognizer.meter.share, rel=1e-4)
    arguments = ["evaluate", str(folder / "dial"), str(folder), "--compute", "0.5", "--json"]
    evaluated = run(app, arguments)
    assert evaluated.exit_code == 0, evaluated.output
    assert 0 < json.loads(evaluated.stdout)["compute"] < 1.1
    assert "compute" not in json.loads(run(app, ["transcribe", sound, *options]).stdout)


def test_who_can_wait_asks_for_the_longest_windows_with_all_gates_open():
    encoder = tiny_bundle("gated-sparing").model.encoder
    assert unhurried_share(encoder) == pytest.approx(0.7)
    assert unhurried_share(tiny_bundle("gated-thrifty").model.encoder) == 1.0
    assert unhurried_share(tiny_bundle().model.encoder) == 1.0
