# SPDX-License-Identifier: Apache-2.0
"""Costs, time and the identity of streams."""

import pytest

from evenear.config import replace
from evenear.encoders.convrnn import ConvRnnEncoder
from evenear.models.cost import transducer_cost
from evenear.nn.state import state_bytes
from evenear.reproduction.measures import (
    costs,
    counts_of_the_paper,
    streaming_gap,
    timed,
    trap_gap,
)
from evenear.search import BeamConfig
from evenear.streaming import Recognizer
from laws import ENCODERS, LAW_TOLERANCE, random_features, tiny_bundle, tiny_transducer
from reproduction.test_scoring import utterances  # noqa: F401


@pytest.mark.parametrize("name", ENCODERS)
def test_streams_of_lawful_encoders_are_whole_utterances(name):
    gap = streaming_gap(tiny_transducer(name).encoder, random_features(50, batch_size=2))
    assert gap <= LAW_TOLERANCE


def test_an_encoder_that_hears_the_future_is_caught():
    encoder = tiny_transducer("convrnn").encoder
    wide = replace(encoder.config.global_cnn, squeeze_excite="whole-utterance")
    trapped = ConvRnnEncoder(replace(encoder.config, global_cnn=wide)).eval()
    trapped.load_state_dict(encoder.state_dict())
    features_BTF = 20.0 * random_features(50, batch_size=2)
    lawful = streaming_gap(encoder, features_BTF)
    assert streaming_gap(trapped, features_BTF) > 10 * lawful
    assert trap_gap(encoder, features_BTF) == streaming_gap(trapped, features_BTF)


@pytest.mark.parametrize("name", ["lstm", "convrnn-local-only", "convrnn-global-only"])
def test_what_has_no_such_gate_has_no_trap(name):
    assert trap_gap(tiny_transducer(name).encoder, random_features(9)) is None


def test_costs_are_those_of_the_recognizer():
    model = tiny_transducer("conformer")
    found, priced = costs(model, 0.03, 4.0), transducer_cost(model, 0.03)
    assert found.macs_per_second == priced.macs_per_second(4.0) > found.encoder_macs_per_second
    assert found.state_bytes == state_bytes(model.encoder.initial_state(1))
    assert found.num_parameters == sum(p.numel() for p in model.parameters())


def test_the_paper_counts_convrnnt_cheaper_and_it_is_dearer():
    counts = counts_of_the_paper()
    shares = [a / b for a, b in zip(counts.papers_convrnn, counts.papers_conformer, strict=True)]
    assert shares == sorted(shares, reverse=True)
    assert max(shares) < 1
    true = counts.true_macs
    assert true["convrnn"] > 4 * true["conformer-full-rate"] > 4 * true["conformer"]
    assert true["convrnn"] > 4 * true["lstm-8"]


def test_time_is_added_up_over_utterances(utterances):  # noqa: F811
    found = timed(Recognizer(tiny_bundle(), beam=BeamConfig(width=1)), utterances)
    assert found.heard_seconds == pytest.approx(sum(u.seconds for u in utterances), abs=0.01)
    assert found.real_time_factor > 0
