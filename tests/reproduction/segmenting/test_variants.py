# SPDX-License-Identifier: Apache-2.0
"""Variants differ in what the paper varies, and in nothing else."""

import pytest

from evenear.config import from_json, replace, to_json
from evenear.features import FeatureConfig
from evenear.models.twotalkers import SeparatorTransducer
from evenear.reproduction.segmenting.variants import (
    BUFFERS,
    VARIANTS,
    first_config,
    model_config,
    variant_config,
)
from evenear.training.tasks.separator import TwoTalkerConfig
from laws import tiny_tokenizer

TOKENIZER = tiny_tokenizer()
MODEL = model_config(
    FeatureConfig(),
    vocabulary_size=len(TOKENIZER),
    blank_id=TOKENIZER.blank_id,
    turns="start-and-end",
)


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_differ_in_turns_and_objective_alone(name):
    config = variant_config(name, MODEL.separator, updates=20, seed=1)
    assert from_json(TwoTalkerConfig, to_json(config)) == config
    plain = variant_config("sts", MODEL.separator, updates=20, seed=1)
    same = replace(config, name="sts", turns=plain.turns, objective=plain.objective)
    assert same == plain


def test_penalties_have_the_papers_buffers():
    for buffer in BUFFERS:
        objective = variant_config(
            f"penalty-{buffer}", MODEL.separator, updates=9, seed=0
        ).objective
        assert (objective.late_end_weight, objective.late_end_buffer_frames) == (1.0, buffer)
        assert objective.fastemit == 0.0


def test_the_first_model_hears_single_talkers():
    mixtures = first_config(MODEL.separator, updates=9, seed=0).batches.mixtures
    assert mixtures.num_speakers == (1, 1)
    assert mixtures.overlap_chance == 0.0


def test_the_model_is_a_thousandth_of_the_papers():
    count = sum(p.numel() for p in SeparatorTransducer(MODEL).parameters())
    assert 200_000 < count < 900_000
