# SPDX-License-Identifier: Apache-2.0
"""A tiny two-channel model that talks about noise."""

import torch

from evenear.checkpoint.twotalkers import TwoTalkerBundle, TwoTalkerSettings
from evenear.config import replace
from evenear.encoders.lstm import LstmEncoderConfig
from evenear.models.separator import SeparatorConfig
from evenear.models.twotalkers import SeparatorTransducer, SeparatorTransducerConfig
from evenear.nn.recurrent import LstmStackConfig
from laws import FEATURES, tiny_bundle, tiny_word_bundle
from once import made_once


@made_once
def tiny_two_talkers(*, with_words: bool = False) -> TwoTalkerBundle:
    """Gates that differ a little, before a talkative transducer."""
    single = (
        tiny_word_bundle("convrnn-reduced-2") if with_words else tiny_bundle("convrnn-reduced-2")
    )
    narrow = LstmStackConfig(num_layers=1, hidden_dim=8, dim=8)
    config = SeparatorTransducerConfig(
        separator=SeparatorConfig(
            mixture=None,
            separation=LstmEncoderConfig(feature_dim=FEATURES.dim, lstm=narrow),
            output="gated",
        ),
        transducer=single.model.config,
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        model = SeparatorTransducer(config).eval()
        model.transducer.load_state_dict(single.model.state_dict())
        model.mean_F.copy_(single.model.mean_F)
        model.scale_F.copy_(single.model.scale_F)
        for gate in model.separator.gates:
            gate.weight.normal_(std=2.0)
    settings = TwoTalkerSettings(
        model=config, features=FEATURES, word_search=replace(single.word_search)
    )
    return TwoTalkerBundle(
        model=model,
        settings=settings,
        tokenizer=single.tokenizer,
        words=single.words,
        card="",
        name="tiny",
    )
