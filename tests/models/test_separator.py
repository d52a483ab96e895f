# SPDX-License-Identifier: Apache-2.0
"""Two channels obey every law, and the papers' sizes come out as published.

Dimensions: B streams, T frames, F feature width, D width.
"""

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from evenear.audio import read_audio
from evenear.checkpoint.folders import find_folder, shipped_models
from evenear.checkpoint.twotalkers import TWO_TALKERS, load_two_talkers
from evenear.config import from_json, replace, to_json
from evenear.encoders.bandsplit import BandSplitConfig
from evenear.encoders.base import Encoded, Encoder
from evenear.encoders.plainlstm import PlainLstmEncoderConfig
from evenear.errors import ConfigError
from evenear.features import extract
from evenear.models.activity import ActivityConfig
from evenear.models.separator import SeparatorConfig
from evenear.models.transducer import PlainLstmPredictorConfig, TransducerConfig
from evenear.models.twotalkers import SeparatorTransducer, SeparatorTransducerConfig
from evenear.nn.plainlstm import PlainLstmConfig
from laws import (
    ENCODERS,
    FEATURES,
    PREDICTORS,
    chunkings,
    law_batching_strangers_changes_nothing,
    law_chunking_changes_nothing,
    law_padding_changes_nothing,
    law_state_size_is_constant,
    law_step_does_not_touch_its_input,
    law_the_future_is_invisible,
    random_features,
)

laws = settings(deadline=None, max_examples=8, derandomize=True)
NARROW = PlainLstmEncoderConfig(
    feature_dim=10, plain=PlainLstmConfig(num_layers=1, hidden_dim=10, layer_norm=True)
)
TRANSDUCER = TransducerConfig(
    encoder=NARROW,
    predictor=PREDICTORS["lstm"],
    joiner_dim=11,
    vocabulary_size=40,
    blank_id=1,
)
PAPER = SeparatorConfig(mixture=ENCODERS["lstm"], separation=NARROW)
MODELS = {
    "as in the papers": SeparatorTransducerConfig(separator=PAPER, transducer=TRANSDUCER),
    "reduced by each part": SeparatorTransducerConfig(
        separator=SeparatorConfig(
            mixture=ENCODERS["lstm-reduced-2"],
            separation=replace(ENCODERS["lstm-reduced-3"], feature_dim=10),
        ),
        transducer=replace(TRANSDUCER, encoder=replace(ENCODERS["lstm-reduced-2"], feature_dim=10)),
    ),
    "without a mixture encoder": SeparatorTransducerConfig(
        separator=SeparatorConfig(mixture=None, separation=ENCODERS["convrnn"]),
        transducer=TRANSDUCER,
    ),
    "gated, before a whole transducer": SeparatorTransducerConfig(
        separator=replace(PAPER, output="gated"),
        transducer=replace(TRANSDUCER, encoder=ENCODERS["convrnn-reduced-2"]),
    ),
    "gated, three frames together": SeparatorTransducerConfig(
        separator=SeparatorConfig(
            mixture=replace(ENCODERS["lstm"], feature_dim=3 * FEATURES.dim),
            separation=NARROW,
            output="gated",
            joined=3,
            floor=-0.5,
        ),
        transducer=replace(TRANSDUCER, encoder=ENCODERS["convrnn-reduced-2"]),
    ),
}


MODELS["deciding who speaks, at once"] = replace(
    MODELS["gated, three frames together"],
    separator=replace(
        MODELS["gated, three frames together"].separator,
        activity=ActivityConfig(ahead_groups=0, switch_cost=0.1, odd_cost=0.1, hold_groups=1),
    ),
)
AHEAD = "deciding who speaks, two groups ahead"
MODELS[AHEAD] = replace(
    MODELS["gated, three frames together"],
    separator=replace(
        MODELS["gated, three frames together"].separator,
        activity=ActivityConfig(switch_cost=0.1, odd_cost=0.1),
    ),
)
SHARES = "sharing energy, bands for both channels"
MODELS[SHARES] = replace(
    MODELS["gated, three frames together"],
    separator=SeparatorConfig(
        mixture=BandSplitConfig(
            joined=3,
            num_bins=FEATURES.dim,
            band_bins=6,
            margin_bins=1,
            band_dim=8,
            hidden_dim=6,
            num_layers=1,
            num_heads=2,
            ff_dim=12,
        ),
        separation=None,
        output="gated",
        joined=3,
        floor=-3.0,
    ),
)
MODELS["sharing, and deciding who speaks"] = replace(
    MODELS[SHARES],
    separator=replace(
        MODELS[SHARES].separator,
        activity=ActivityConfig(ahead_groups=0, switch_cost=0.1, odd_cost=0.1),
    ),
)


class SideBySide(Encoder):
    """A two-channel model as one encoder of frames twice as wide, to hold it against the laws."""

    def __init__(self, model: SeparatorTransducer) -> None:
        super().__init__()
        self.model, self.dim, self.stride = model, 2 * model.dim, model.stride
        self.feature_dim, self.lookahead_frames = model.feature_dim, model.lookahead_frames

    @property
    def block_frames(self):
        return self.model.block_frames

    def initial_state(self, batch_size):
        return self.model.initial_state(batch_size)

    def step(self, features_BTF, state):
        both_STD, state = self.model.step(features_BTF, state)
        return beside(both_STD), state

    def flush(self, state):
        return beside(self.model.flush(state))

    def forward(self, features_BTF, lengths_B):
        encoded = self.model(features_BTF, lengths_B)
        return Encoded(beside(encoded.encoded_BTD), encoded.lengths_B[: len(lengths_B)])

    def output_lengths(self, lengths_B):
        raise AssertionError("the model has its own forward")


def beside(both_STD: Tensor) -> Tensor:
    return torch.cat(both_STD.chunk(2), dim=2)


@functools.cache
def tiny(name: str) -> SideBySide:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = SeparatorTransducer(MODELS[name]).eval()
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data.add_(0.2 * torch.randn(parameter.shape))
        model.mean_F.normal_()
        model.transducer.joiner.encoder_proj.weight.data.mul_(3.0)
    return SideBySide(model)


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.no_grad():
        yield


@pytest.mark.parametrize("name", MODELS)
@laws
@given(data=st.data(), length=st.integers(1, 40), batch_size=st.integers(1, 2))
def test_chunking_changes_nothing(name, data, length, batch_size):
    features_BTF = random_features(length, batch_size=batch_size)
    law_chunking_changes_nothing(tiny(name), features_BTF, data.draw(chunkings(length)))


@pytest.mark.parametrize("name", MODELS)
@laws
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=3))
def test_padding_changes_nothing(name, lengths):
    features_BTF = random_features(max(lengths), batch_size=len(lengths))
    law_padding_changes_nothing(tiny(name), features_BTF, lengths)


@pytest.mark.parametrize("name", MODELS)
@laws
@given(heard=st.lists(st.integers(0, 3), min_size=2, max_size=3))
def test_batching_strangers_changes_nothing(name, heard):
    if name == AHEAD:  # who are batched once they have heard as much as is heard ahead
        heard = [2 + blocks for blocks in heard]
    features_BTF = random_features(60, batch_size=len(heard))
    law_batching_strangers_changes_nothing(tiny(name), features_BTF, heard)


@pytest.mark.parametrize("name", MODELS)
@laws
@given(frame=st.integers(0, 35))
def test_the_future_is_invisible(name, frame):
    law_the_future_is_invisible(tiny(name), random_features(60), frame)


@pytest.mark.parametrize("name", MODELS)
def test_a_step_does_not_touch_its_input(name):
    law_step_does_not_touch_its_input(tiny(name), random_features(30, batch_size=2), heard=12)


@pytest.mark.parametrize("name", MODELS)
def test_state_size_is_constant(name):
    law_state_size_is_constant(tiny(name), random_features(30))


@pytest.mark.parametrize("name", MODELS)
def test_channels_hear_differently_and_settings_survive_json(name):
    model = tiny(name).model
    first_BTD, second_BTD = model(random_features(30), torch.tensor([30])).encoded_BTD.chunk(2)
    assert (first_BTD - second_BTD).abs().max() > 1e-2
    again = from_json(SeparatorTransducerConfig, to_json(model.config))
    assert again == model.config
    SeparatorTransducer(again).load_state_dict(model.state_dict(), strict=True)


@functools.cache
def shipped() -> SideBySide:
    return SideBySide(load_two_talkers("evenear-en-duo").model)


def real_frames(*, batch_size: int = 1, num_frames: int = 60) -> Tensor:
    """Frames of shipped clips, different ones in each row."""
    folder = find_folder("evenear-en").parent / "clips"
    settings = load_two_talkers("evenear-en-duo").settings.features
    clips = sorted(folder.glob("*.flac"))[:batch_size]
    frames = [extract(read_audio(clip), settings)[6 : 6 + num_frames] for clip in clips]
    return torch.from_numpy(np.stack(frames))


@pytest.mark.skipif("evenear-en-duo" not in shipped_models(TWO_TALKERS), reason="not shipped")
def test_the_shipped_model_keeps_every_law():
    model, one_BTF, two_BTF = shipped(), real_frames(), real_frames(batch_size=2)
    law_chunking_changes_nothing(model, one_BTF, [1, 7, 0, 40, 12])
    law_padding_changes_nothing(model, two_BTF, [60, 41])
    law_batching_strangers_changes_nothing(model, two_BTF, [3, 2])  # what is ahead was heard
    law_the_future_is_invisible(model, one_BTF, 50)
    law_step_does_not_touch_its_input(model, two_BTF, heard=20)
    law_state_size_is_constant(model, one_BTF)


def test_the_second_channel_can_begin_where_the_first_is():
    model = SeparatorTransducer(MODELS["gated, before a whole transducer"]).eval()
    model.separator.copy_first_channel()
    first_BTD, second_BTD = model(random_features(30), torch.tensor([30])).encoded_BTD.chunk(2)
    torch.testing.assert_close(first_BTD, second_BTD)


def test_open_gates_hand_on_the_normalized_mixture_and_closed_ones_the_floor():
    model = SeparatorTransducer(MODELS["gated, before a whole transducer"]).eval()
    features_BTF = random_features(20)
    for gate in model.separator.gates:
        gate.weight.zero_()
        gate.bias.fill_(50.0)
    separated = model.separate(features_BTF, torch.tensor([20]))
    torch.testing.assert_close(separated.channels_STD[1:], model.normalize(features_BTF))
    model.separator.gates[1].bias.fill_(-50.0)
    separated = model.separate(features_BTF, torch.tensor([20]))
    floor_BTF = model.separator.floor_F.expand(1, 20, FEATURES.dim)
    torch.testing.assert_close(separated.channels_STD[1:], floor_BTF)
    assert separated.gates_STF is not None


def test_gates_over_frames_together_hear_only_their_group():
    model = SeparatorTransducer(MODELS["gated, three frames together"]).eval()
    features_BTF = random_features(12)
    changed_BTF = features_BTF.clone()
    changed_BTF[:, 7] += 1.0  # of the third group
    first, second = (
        model.separate(f_BTF, torch.tensor([12])).channels_STD
        for f_BTF in (features_BTF, changed_BTF)
    )
    torch.testing.assert_close(first[:, :6], second[:, :6])
    assert (first[:, 6] != second[:, 6]).any()
    assert model.separator.lookahead_frames == 2


def test_true_shares_hand_on_each_channels_own_sound():
    """Energies add, so the mixture's features and true shares give those of each source."""
    model = SeparatorTransducer(MODELS[SHARES]).eval()
    separator, generator = model.separator, torch.Generator().manual_seed(0)
    nat = 0.7
    separator.nat_F.fill_(nat)
    energies_STF = torch.rand(2, 6, FEATURES.dim, generator=generator) + 0.05
    mixture_BTF = nat * energies_STF.sum(dim=0, keepdim=True).log()
    shares_STF = energies_STF / energies_STF.sum(dim=0)
    logits = torch.logit(shares_STF).reshape(2, 1, 2, -1)
    for gate, own_1GF in zip(separator.gates, logits, strict=True):
        gate.forward = lambda _, given_1GF=own_1GF: given_1GF
    separated = separator.encode(mixture_BTF, torch.ones(1, 6, dtype=torch.bool))
    torch.testing.assert_close(separated.channels_STD, nat * energies_STF.log())
    assert separator.gives_shares


def test_bands_are_needed_where_nothing_else_separates():
    bare = SeparatorConfig(mixture=None, separation=None, output="gated")
    with pytest.raises(ConfigError, match="needs a mixture encoder"):
        SeparatorTransducer(replace(MODELS[SHARES], separator=bare))
    with pytest.raises(ConfigError, match="must split bands"):
        SeparatorTransducer(
            replace(MODELS[SHARES], separator=replace(bare, mixture=ENCODERS["lstm"]))
        )
    unequal = replace(MODELS[SHARES].separator, joined=1)
    with pytest.raises(ConfigError, match="as wide as"):
        SeparatorTransducer(replace(MODELS[SHARES], separator=unequal))


def test_parts_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="as wide as"):
        SeparatorTransducer(
            replace(
                MODELS["as in the papers"],
                separator=replace(PAPER, separation=ENCODERS["convrnn"]),
            )
        )
    with pytest.raises(ConfigError, match="Only gates"):
        SeparatorTransducer(replace(MODELS["as in the papers"], separator=replace(PAPER, joined=2)))
    reduced = replace(PAPER, mixture=ENCODERS["lstm-reduced-2"], output="gated")
    with pytest.raises(ConfigError, match="stride 1"):
        SeparatorTransducer(replace(MODELS["gated, before a whole transducer"], separator=reduced))


def published(vocabulary_size: int) -> SeparatorTransducerConfig:
    """The sizes of the three papers (our reading: see `nn.plainlstm` and `joiner_tied`)."""
    layers = PlainLstmEncoderConfig()
    inner = replace(layers, feature_dim=1024)
    return SeparatorTransducerConfig(
        separator=SeparatorConfig(mixture=layers, separation=inner),
        transducer=TransducerConfig(
            encoder=replace(inner, plain=PlainLstmConfig(output_dim=640)),
            predictor=PlainLstmPredictorConfig(),
            joiner_dim=512,
            joiner_tied=True,
            vocabulary_size=vocabulary_size,
        ),
    )


def test_the_published_number_of_parameters():
    """80.9 million with two branches, 64.2 million with the one of pre-training."""
    with torch.device("meta"):
        model = SeparatorTransducer(published(2501))
    counted = sum(p.numel() for p in model.parameters() if p.requires_grad)
    branch = sum(p.numel() for p in model.separator.channels[1].parameters() if p.requires_grad)
    assert counted == 80_936_901
    assert round((counted - branch) / 1e6, 1) == 64.2
