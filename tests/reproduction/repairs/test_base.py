# SPDX-License-Identifier: Apache-2.0
"""A recognizer made of a pretrained encoder and of speakers outside of the weak cohort."""

import safetensors.torch
import torch

from checkpoint.test_pretrained import HUGGING_FACE
from evenear.checkpoint import load_model
from evenear.config import replace
from evenear.encoders.transformer import TransformerConfig, TransformerEncoder
from evenear.reproduction.repairs.base import BasePlan, base_speakers, train_base
from evenear.reproduction.repairs.bench import Effort
from evenear.reproduction.repairs.setting import Setting
from evenear.training.mitigation.cohort import parse_cohort
from training.mitigation.tone_speakers import utterances

ENCODER = TransformerConfig(dim=8, num_heads=2, num_layers=2, ff_dim=10, block_frames=3000)


def write_whisper(folder):
    """A tiny encoder with Whisper's names."""
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(1)
        encoder = TransformerEncoder(ENCODER)
    found = {}
    for name, tensor in encoder.state_dict().items():
        place, _, part = name.rpartition(".")
        head = "model.encoder."
        if place.startswith("layers."):
            _, number, place = place.split(".", 2)
            head += f"layers.{number}."
        found[f"{head}{HUGGING_FACE.get(place, place)}.{part}"] = tensor.clone()
    path = folder / "model.safetensors"
    safetensors.torch.save_file(found, path)
    return path, encoder


def plan(folder, **changes) -> BasePlan:
    known = {"updates": 4, "batch_seconds": 3.0, "vocabulary_size": 24, "dev_speakers": 1}
    return BasePlan(write_whisper(folder)[0], ENCODER, **{**known, **changes})


def test_only_speakers_outside_of_the_cohort_who_do_not_test_teach(tmp_path):
    sides = {f"s{k:02}": k % 2 == 1 for k in range(20)}
    taught = base_speakers(sides, {"s00", "s02"}, plan(tmp_path, share=0.5))
    assert len(taught) == 4
    assert not any(sides[s] or s in ("s00", "s02") for s in taught)


def test_the_encoder_stays_and_what_is_finished_is_read_again(tmp_path):
    spoken = [u for u in utterances(tmp_path / "tones") if u.attributes["age"] > 18]
    spoken = [replace(u, text=u.text.lower()) for u in spoken]
    made = train_base(plan(tmp_path), spoken, tmp_path / "runs")
    _, encoder = write_whisper(tmp_path)
    for name, tensor in encoder.state_dict().items():
        torch.testing.assert_close(made.model.encoder.state_dict()[name], tensor)
    assert made.provenance["updates"] == 4
    (tmp_path / "model.safetensors").unlink()
    again = train_base(BasePlan(tmp_path / "model.safetensors"), spoken, tmp_path / "runs")
    assert torch.equal(again.model.joiner.output.bias, made.model.joiner.output.bias)
    assert load_model(tmp_path / "runs" / "base").name == "base"


def test_those_who_taught_it_take_no_other_part_but_are_replayed(tmp_path):
    spoken = utterances(tmp_path / "tones", num_speakers=40)
    setting = Setting.prepare(
        "not looked at",
        spoken,
        parse_cohort("age<18"),
        tmp_path / "runs",
        num_layers=0,
        base=plan(tmp_path, share=0.3),
    )
    taught = {u.speaker for u in setting.general}
    assert len(taught) == 6
    bench = setting.bench(Effort(updates=2, batch_seconds=3.0, num_settings=1))
    assert not taught & frozenset().union(*bench.division)
    assert taught <= {u.speaker for u in bench.adaptation.utterances}
    assert not taught & {u.speaker for u in bench.discovery.utterances}
    assert {u.speaker for u in bench.general.utterances} == taught
    outcome = bench.attempt("children", "replay", setting.sides)
    assert set(outcome.table.speakers["speaker"]) == bench.division.test
