# SPDX-License-Identifier: Apache-2.0
"""The distance to a teacher, written out; and a teacher that nothing changes."""

import math

import pytest
import torch

from evenear.encoders.base import Encoded
from evenear.encoders.transformer import TransformerEncoder
from evenear.seeding import torch_rng_for
from evenear.training.distillation import Teacher, distances
from laws import ENCODERS, random_features


def teacher() -> Teacher:
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(0)
        return Teacher(TransformerEncoder(ENCODERS["transformer"]))


def test_the_distance_is_what_its_formula_says_over_real_frames():
    rng = torch_rng_for(0, "frames")
    student, wanted = (torch.randn(2, 4, 3, generator=rng) for _ in range(2))
    found = distances(Encoded(student, torch.tensor([4, 2])), wanted)
    for b, length in enumerate((4, 2)):
        total = 0.0
        for t in range(length):
            one, two = student[b, t].tolist(), wanted[b, t].tolist()
            squared = sum((x - y) ** 2 for x, y in zip(one, two, strict=True)) / 3
            dot = sum(x * y for x, y in zip(one, two, strict=True))
            total += squared + 0.5 * (1.0 - dot / math.hypot(*one) / math.hypot(*two))
        assert found[b].item() == pytest.approx(total / length, rel=1e-5)


def test_who_hears_the_same_as_the_teacher_has_no_distance():
    wise = teacher()
    clean_BTF, lengths_B = random_features(24, batch_size=2), torch.tensor([24, 9])
    encoded_BTD = wise.encode(clean_BTF, lengths_B)
    same = Encoded(encoded_BTD, wise.encoder.output_lengths(lengths_B))
    assert wise.distances(same, clean_BTF, lengths_B).abs().max() < 1e-5


def test_the_teacher_hears_quiet_frames_lifted_as_whisper_does():
    wise = teacher()
    clean_BTF = random_features(16).clamp(-0.5, 1.0)
    clean_BTF[0, 3, 2] = 1.0
    deeper_BTF = clean_BTF.clone()
    clean_BTF[0, 5], deeper_BTF[0, 5] = -1.0, -7.0
    lengths_B = torch.tensor([16])
    assert torch.equal(wise.encode(clean_BTF, lengths_B), wise.encode(deeper_BTF, lengths_B))


def test_the_teacher_does_not_learn():
    wise = teacher()
    assert not any(p.requires_grad for p in wise.encoder.parameters())
    assert not wise.encode(random_features(8), torch.tensor([8])).requires_grad
