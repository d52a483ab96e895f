# SPDX-License-Identifier: Apache-2.0
"""What is counted against torch's own counter, plain cells, and the numbers worked out by hand.

torch counts matrix products and convolutions of its own; depthwise taps are added here by hand.
"""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from evenear.config import replace
from evenear.encoders.conformer import ConformerConfig, ConformerEncoder
from evenear.encoders.contextnet import ContextNetConfig, ContextNetEncoder
from evenear.encoders.convrnn import ConvRnnConfig, ConvRnnEncoder, LocalCnnConfig
from evenear.encoders.lstm import LstmEncoder, LstmEncoderConfig
from evenear.encoders.plainlstm import PlainLstmEncoderConfig
from evenear.encoders.transformer import TransformerConfig
from evenear.errors import ConfigError
from evenear.models.cost import count_macs, encoder_cost, paper_flops, transducer_cost
from evenear.nn.recurrent import LstmStackConfig
from evenear.nn.state import state_bytes
from evenear.recipes.convrnnt import VARIANTS
from laws import ENCODERS, random_features, tiny_transducer

FRAME_SECONDS = 0.03
DEPTHWISE_BY_HAND = {
    "convrnn-reduced-2": 2 * 2 * (2 * 24) * 3,  # two feature frames, two blocks, width 48, 3 taps
    "conformer": 2 * 12 * 3,  # two blocks, width 12, 3 taps
    "conformer-reduced-2": 2 * 12 * 3,
    "contextnet": (24 + (8 + 8) + (8 + 10) + 10) * 3,  # layers of the four blocks, 3 taps
    "contextnet-reduced-3": (72 + (8 + 8) + (8 + 10) + 10) * 3,
}


def counted_by_torch(encoder) -> float:
    """Multiply-accumulates of one encoder frame of a stream that has heard enough."""
    state = encoder.initial_state(1)
    with torch.no_grad():
        _, state = encoder.step(random_features(60 * encoder.stride), state)
        with FlopCounterMode(display=False) as counter:
            encoder.step(random_features(encoder.stride), state)
    return counter.get_total_flops() / 2


@pytest.mark.parametrize(
    "name", [n for n in ENCODERS if not n.startswith(("transformer", "gated"))]
)
def test_torch_counts_the_same(name):
    encoder = tiny_transducer(name).encoder
    cost = encoder_cost(encoder, FRAME_SECONDS)
    expected = counted_by_torch(encoder) + DEPTHWISE_BY_HAND.get(name, 0)
    assert cost.macs_per_frame * encoder.stride == pytest.approx(expected)
    assert cost.macs_per_second == pytest.approx(cost.macs_per_frame / FRAME_SECONDS)


def test_an_lstm_costs_what_its_cells_cost():
    """Cells are linear layers to torch, so it counts them."""
    lstm, cell = nn.LSTM(5, 7, batch_first=True), nn.LSTMCell(5, 7)
    x_BTF = torch.randn(2, 3, 5)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        for t in range(3):
            cell(x_BTF[:, t])
    assert sum(count_macs(lstm, lambda: lstm(x_BTF)).values()) == counter.get_total_flops() // 2


def test_the_papers_convrnnt_costs_what_was_worked_out_by_hand():
    """Millions of MACs a frame: 98.9 + 2.4 local, 2.4 global, 0.07 joining, 18.8 LSTM."""
    cost = encoder_cost(ConvRnnEncoder(ConvRnnConfig()), FRAME_SECONDS)
    parts = {name: macs / 1e6 for name, macs in cost.parts.items()}
    assert parts["local"] == pytest.approx(98.9 + 2.4, abs=0.1)
    assert parts["global_cnn"] == pytest.approx(2.4, abs=0.05)
    assert parts["join"] == pytest.approx(0.07, abs=0.01)
    assert parts["lstm"] == pytest.approx(18.8, abs=0.05)
    assert cost.macs_per_frame / 1e6 == pytest.approx(122.6, abs=0.1)
    assert cost.macs_per_second / 1e9 == pytest.approx(4.1, abs=0.05)


@pytest.mark.parametrize(("num_layers", "millions"), [(7, 22.1), (8, 25.4)])
def test_the_papers_rnnt_costs_what_was_worked_out_by_hand(num_layers, millions):
    encoder = LstmEncoder(LstmEncoderConfig(lstm=LstmStackConfig(num_layers=num_layers)))
    cost = encoder_cost(encoder, FRAME_SECONDS)
    assert cost.macs_per_frame / 1e6 == pytest.approx(millions, abs=0.05)


def test_the_papers_contextnet_costs_what_was_worked_out_by_hand():
    """23 blocks: 1 layer, 14 of 5 at width 256, 7 of 5 and 1 of 1 at 512, with 5 taps each."""
    narrow, wide = 256, 512
    layers = [(192, narrow)] + [(narrow, narrow)] * (14 * 5)
    layers += [(narrow, wide)] + [(wide, wide)] * (7 * 5 - 1 + 1)
    convolutions = sum(a * 5 + a * b for a, b in layers)
    gates = 15 * 2 * narrow * narrow + 8 * 2 * wide * wide
    skips = 14 * narrow * narrow + narrow * wide + 6 * wide * wide
    cost = encoder_cost(ContextNetEncoder(ContextNetConfig()), FRAME_SECONDS)
    assert cost.macs_per_frame == convolutions + gates + skips


def test_the_small_contextnet_costs_what_was_worked_out_by_hand():
    """Per encoder frame: blocks of 120 and 208, gates through a quarter, two frames joined."""
    config = VARIANTS["contextnet"]().model.encoder
    layers = [(384, 120)] + [(120, 120)] * (9 * 5) + [(120, 208)] + [(208, 208)] * (5 * 5 - 1 + 1)
    convolutions = sum(a * 5 + a * b for a, b in layers)
    gates = 10 * 2 * 120 * 30 + 6 * 2 * 208 * 52
    skips = 9 * 120 * 120 + 120 * 208 + 4 * 208 * 208
    assert convolutions + gates + skips == 2_385_568
    cost = encoder_cost(ContextNetEncoder(config), FRAME_SECONDS)
    assert cost.macs_per_frame * 2 == 2_385_568


def test_the_paper_counts_no_other_encoder():
    with pytest.raises(ConfigError, match="counts no encoder of the kind"):
        paper_flops(PlainLstmEncoderConfig(), 100)


def test_a_transformer_costs_what_was_worked_out_by_hand():
    """Whisper tiny's shape per 20 ms, in blocks of 320 ms with 4 s before them."""
    width, wide, layers, seen = 384, 1536, 4, 200 + 16
    convolutions = 2 * (80 * 3 * width) + width * 3 * width
    each = 4 * width * width + 2 * width * wide + 2 * width * seen
    cost = encoder_cost(TransformerConfig().build(), 0.01)
    assert cost.macs_per_frame * 2 == convolutions + layers * each


def test_the_papers_conformer_costs_what_was_worked_out_by_hand():
    width, wide, taps, past = 256, 1024, 15, 128
    forward = 2 * 2 * width * wide
    attention = 4 * width * width + 2 * width * (past + 1)
    convolution = 2 * width * width + width * taps + width * width
    cost = encoder_cost(ConformerEncoder(ConformerConfig()), FRAME_SECONDS)
    each = 2 * 192 * width + 14 * (forward + attention + convolution)
    assert cost.macs_per_frame * 2 == each


def test_the_frequency_axis_counts():
    """Halving the bins after the first layer halves what the others cost."""
    small = LocalCnnConfig(channels=(4, 4), frequency_strides=(2, 1))
    whole = replace(small, frequency_strides=(1, 1))
    layers = LstmStackConfig(num_layers=1, hidden_dim=2, dim=2)
    parts = []
    for local in (whole, small):
        encoder = ConvRnnEncoder(ConvRnnConfig(local=local, global_cnn=None, lstm=layers))
        features_BTF = torch.zeros(1, 1, 192)
        state = encoder.initial_state(1)
        parts.append(count_macs(encoder, lambda e=encoder, s=state, f=features_BTF: e.step(f, s)))
    assert parts[0]["local.convs.1.conv"] == 2 * parts[1]["local.convs.1.conv"]


def test_counting_changes_nothing():
    encoder = ContextNetEncoder(ENCODERS["contextnet"]).train()
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    encoder_cost(encoder, FRAME_SECONDS)
    assert encoder.training
    assert all(torch.equal(before[name], t) for name, t in encoder.state_dict().items())
    assert not any(module._forward_hooks for module in encoder.modules())


@pytest.mark.parametrize("predictor", ["lstm", "stateless"])
def test_a_recognizer_costs_the_sum_of_its_parts(predictor):
    model = tiny_transducer("lstm-reduced-2", predictor)
    cost = transducer_cost(model, FRAME_SECONDS)
    read = 2 * 9 if predictor == "stateless" else 4 * 8 * (6 + 8) + 8 * 9
    assert cost.macs_per_token == read + 9 * 11
    assert (cost.macs_per_frame, cost.macs_per_score) == (10 * 11, 11 * 40)
    assert cost.frames_per_second == pytest.approx(1 / 0.06)
    silent = cost.encoder.macs_per_second + cost.frames_per_second * (110 + 440)
    assert cost.macs_per_second(0.0) == pytest.approx(silent)
    talking = silent + 5.0 * (cost.macs_per_token + 440)
    assert cost.macs_per_second(5.0) == pytest.approx(talking)
    assert cost.num_parameters == sum(p.numel() for p in model.parameters())


def test_the_state_is_that_of_one_stream():
    encoder = tiny_transducer("convrnn").encoder
    assert encoder_cost(encoder, FRAME_SECONDS).state_bytes == state_bytes(encoder.initial_state(1))


@pytest.mark.parametrize(("frames", "billions"), [(100, 4.4), (1000, 43.8), (1600, 70.0)])
def test_the_papers_count_of_convrnnt_fits_its_figure_without_the_frequency_axis(frames, billions):
    assert paper_flops(ConvRnnConfig(), frames) / 1e9 == pytest.approx(billions, abs=0.06)


def test_with_the_frequency_axis_the_papers_own_formula_says_ten_times_as_much():
    flops = paper_flops(ConvRnnConfig(), 1000, with_frequency=True)
    assert flops / 1e9 == pytest.approx(437, abs=0.5)


@pytest.mark.parametrize(("frames", "billions"), [(100, 4.4), (1000, 56.8), (1600, 105)])
def test_the_papers_count_of_a_conformer_grows_with_the_square_of_the_frames(frames, billions):
    config = ConformerConfig(kernel=31, reduction=1)
    assert paper_flops(config, frames) / 1e9 == pytest.approx(billions, rel=0.01)


def test_the_papers_claim_is_reproduced_by_its_count_and_refuted_by_the_true_one():
    conformer = ConformerConfig(reduction=1)
    shares = [paper_flops(ConvRnnConfig(), n) / paper_flops(conformer, n) for n in (200, 800, 1600)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] < 1
    true = paper_flops(ConvRnnConfig(), 1600, with_frequency=True)
    assert true > 5 * paper_flops(conformer, 1600)


def test_the_papers_count_of_a_contextnet_is_four_times_its_convolution_weights():
    config = ContextNetConfig(squeeze_excite="off", reduction=2)
    layers = [
        m for m in ContextNetEncoder(config).modules() if isinstance(m, nn.Linear | nn.Conv1d)
    ]
    weights = sum(layer.weight.numel() for layer in layers)
    assert paper_flops(config, 50) == 4 * weights * 25
