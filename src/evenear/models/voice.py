# SPDX-License-Identifier: Apache-2.0
"""Is somebody speaking, and are they done? Two gated recurrent layers over log-mel frames.

    listening = VoiceListening(model)
    logits_T2, state = listening.step(frames_TM, state)    # chunk after chunk

For each frame it gives two logits: that there is voice, and that whoever spoke is done.
`VoiceModel` is trained by torch; `VoiceListening` computes the same with numpy, frame by frame:
products of the same sizes whatever the chunks and whoever else is heard, so the bits do not depend
on them.

Legend: B streams, T frames, M mel bins, H hidden units, G gates of all, L layers.

Source: Cho et al. 2014, arXiv:1406.1078 (gated recurrent units, with torch's reset gate, which
works behind the recurrent product). What they hear and say is ours.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from evenear.config import config

__all__ = ["VoiceConfig", "VoiceListening", "VoiceModel", "VoiceState"]

_Array = NDArray[Any]  # float32 throughout
_NUM_LAYERS = 2
_LEVEL, _SPREAD = -8.0, 4.0
"""About where log-mel energies lie."""
_FLOOR = -18.0
"""Quieter is not told apart; so digital silence is no infinity."""


@config
class VoiceConfig:
    """Sizes of a detector of voice."""

    num_mel_bins: int = Field(default=40, ge=1)
    hidden_dim: int = Field(default=48, ge=1)
    voice_logit: float = 2.0
    """From this logit of voice on a frame counts as voice."""


class VoiceState(NamedTuple):
    """What is remembered of one stream. It is never changed; the next one is made."""

    previous_M: _Array
    """The last frame."""
    hidden_LH: _Array


class VoiceModel(nn.Module):
    """The network as it is trained, over whole recordings."""

    def __init__(self, config: VoiceConfig) -> None:
        super().__init__()
        self.config = config
        size = config.hidden_dim
        self.input = nn.Linear(2 * config.num_mel_bins, size)
        self.layers = nn.ModuleList(
            nn.GRU(size, size, batch_first=True) for _ in range(_NUM_LAYERS)
        )
        self.output = nn.Linear(size, 2)

    def forward(self, frames_BTM: Tensor) -> Tensor:
        """Logits of voice and of an end for each frame, (B, T, 2)."""
        scaled_BTM = (frames_BTM.clamp(min=_FLOOR) - _LEVEL) / _SPREAD
        before_BTM = torch.cat(
            [scaled_BTM.new_zeros(len(scaled_BTM), 1, scaled_BTM.shape[2]), scaled_BTM[:, :-1]], 1
        )
        x_BTH = torch.relu(self.input(torch.cat([before_BTM, scaled_BTM], dim=2)))
        for layer in self.layers:
            x_BTH, _ = layer(x_BTH)
        return self.output(x_BTH)


class VoiceListening:
    """A trained network, frame by frame. It keeps nothing of any stream."""

    def __init__(self, model: VoiceModel) -> None:
        self.config = model.config
        values = {
            name: value.detach().float().numpy() for name, value in model.state_dict().items()
        }
        self._input = values["input.weight"], values["input.bias"]
        self._output = values["output.weight"], values["output.bias"]
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        self._layers = [
            tuple(values[f"layers.{layer}.{name}"] for name in names)
            for layer in range(_NUM_LAYERS)
        ]

    def initial_state(self) -> VoiceState:
        """Nothing was heard yet."""
        hidden_LH = np.zeros((_NUM_LAYERS, self.config.hidden_dim), np.float32)
        return VoiceState(np.zeros(self.config.num_mel_bins, np.float32), hidden_LH)

    def step(self, frames_TM: _Array, state: VoiceState) -> tuple[_Array, VoiceState]:
        """Logits of each frame, (T, 2), and what is remembered then."""
        logits_T2 = np.zeros((len(frames_TM), 2), np.float32)
        before_M, hidden_LH = state
        scaled_TM = ((np.maximum(frames_TM, _FLOOR) - _LEVEL) / _SPREAD).astype(np.float32)
        for t, now_M in enumerate(scaled_TM):
            x_H = np.maximum(self._input[0] @ np.concatenate([before_M, now_M]) + self._input[1], 0)
            hiddens = []
            for weights, hidden_H in zip(self._layers, hidden_LH, strict=True):
                x_H = _unit(weights, x_H, hidden_H)
                hiddens.append(x_H)
            before_M, hidden_LH = now_M, np.stack(hiddens)
            logits_T2[t] = self._output[0] @ x_H + self._output[1]
        return logits_T2, VoiceState(before_M, hidden_LH)


def _unit(weights: tuple[_Array, ...], x_H: _Array, hidden_H: _Array) -> _Array:
    """A step of a layer of gated recurrent units."""
    input_GH, recurrent_GH, input_bias_G, recurrent_bias_G = weights
    size = len(hidden_H)
    given_G = input_GH @ x_H + input_bias_G
    kept_G = recurrent_GH @ hidden_H + recurrent_bias_G
    reset_H, update_H = np.split(_sigmoid(given_G[: 2 * size] + kept_G[: 2 * size]), 2)
    new_H = np.tanh(given_G[2 * size :] + reset_H * kept_G[2 * size :])
    return (1 - update_H) * new_H + update_H * hidden_H


def _sigmoid(x: _Array) -> _Array:
    """Logistic function, without overflow."""
    return (0.5 * (np.tanh(0.5 * x) + 1)).astype(np.float32)
