# SPDX-License-Identifier: Apache-2.0
"""Textbook LSTM layers are torch's own, in chunks of any length."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from evenear.nn.plainlstm import PlainLstm, PlainLstmConfig
from laws import chunkings


@torch.no_grad()
def test_without_norm_and_output_it_is_torchs_lstm():
    ours = PlainLstm(PlainLstmConfig(num_layers=2, hidden_dim=7), 5)
    torchs = nn.LSTM(5, 7, num_layers=2, batch_first=True)
    for layer, lstm in enumerate(ours.lstms):
        for name, parameter in lstm.named_parameters():
            getattr(torchs, name.replace("_l0", f"_l{layer}")).copy_(parameter)
    x_BTD = torch.randn(3, 20, 5, generator=torch.Generator().manual_seed(0))
    y_BTD, _ = ours.step(x_BTD, ours.initial_state(3))
    torch.testing.assert_close(y_BTD, torchs(x_BTD)[0])


@torch.no_grad()
@settings(deadline=None, max_examples=15)
@given(chunkings(24))
def test_chunks_change_nothing(chunks):
    layers = PlainLstm(
        PlainLstmConfig(num_layers=2, hidden_dim=7, output_dim=4, layer_norm=True), 5
    )
    x_BTD = torch.randn(2, 24, 5, generator=torch.Generator().manual_seed(0))
    whole_BTD, _ = layers.step(x_BTD, layers.initial_state(2))
    state, parts = layers.initial_state(2), []
    for chunk_BTD in x_BTD.split(chunks, dim=1):
        y_BTD, state = layers.step(chunk_BTD, state)
        parts.append(y_BTD)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole_BTD, atol=1e-5, rtol=1e-5)
    assert whole_BTD.shape == (2, 24, 4)


@given(st.integers(1, 3))
def test_each_gate_has_one_bias_that_learns(num_layers):
    layers = PlainLstm(PlainLstmConfig(num_layers=num_layers, hidden_dim=6), 5)
    learned = sum(p.numel() for p in layers.parameters() if p.requires_grad)
    widths = [5] + [6] * (num_layers - 1)
    assert learned == sum(4 * 6 * (width + 6 + 1) for width in widths)
