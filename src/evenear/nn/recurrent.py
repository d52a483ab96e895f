# SPDX-License-Identifier: Apache-2.0
"""Unidirectional LSTM layers with projections, and frame reduction, with explicit state.

Each layer is an LSTM, a projection with Swish (ConvRNN-T, section 3.2), optionally layer
normalization and a residual connection, which are ours: small models train faster with them.

Legend: B streams, T frames, D width, L layers, H hidden units, G gates of all, R frames joined by a
reduction.

Source: Radfar et al. 2022, arXiv:2209.14868 (projection with Swish after each LSTM).
"""

from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from evenear.config import config
from evenear.errors import StateError

__all__ = ["FrameReducer", "LstmStack", "LstmStackConfig", "LstmState", "ReducerState", "run_layer"]


@config
class LstmStackConfig:
    """A stack of projected LSTM layers."""

    num_layers: int = Field(default=6, ge=1)
    hidden_dim: int = Field(default=640, ge=1)
    dim: int = Field(default=512, ge=1)
    """Width after each projection, and of the output."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    layer_norm: bool = False
    residual: bool = False
    """Add a layer's input to its output where the widths agree."""


_FEW_FRAMES = 8
"""Chunks up to this are read frame by frame: on a CPU that is faster than to begin torch's LSTM."""


class LstmState(NamedTuple):
    """State of L layers of H hidden units, for B streams."""

    hidden_BLH: Tensor
    cell_BLH: Tensor


class LstmStack(nn.Module):
    """Projected LSTM layers, one above the other."""

    def __init__(self, config: LstmStackConfig, input_dim: int) -> None:
        super().__init__()
        self.config = config
        widths = [input_dim] + [config.dim] * (config.num_layers - 1)
        self.lstms = nn.ModuleList(
            nn.LSTM(width, config.hidden_dim, batch_first=True) for width in widths
        )
        self.projections = nn.ModuleList(nn.Linear(config.hidden_dim, config.dim) for _ in widths)
        self.norms = nn.ModuleList(
            nn.LayerNorm(config.dim) if config.layer_norm else nn.Identity() for _ in widths
        )
        self.dropout = nn.Dropout(config.dropout)
        for lstm in self.lstms:
            _init_lstm(lstm)  # pyright: ignore[reportArgumentType]

    def initial_state(self, batch_size: int) -> LstmState:
        """Zeros: nothing heard yet."""
        shape = (batch_size, self.config.num_layers, self.config.hidden_dim)
        device = next(self.parameters()).device
        return LstmState(torch.zeros(shape, device=device), torch.zeros(shape, device=device))

    def step(self, x_BTD: Tensor, state: LstmState) -> tuple[Tensor, LstmState]:
        """Run a chunk of any length; the state is float32 whatever the arithmetic."""
        if x_BTD.shape[1] == 0:
            return x_BTD.new_zeros(x_BTD.shape[0], 0, self.config.dim), state
        hiddens, cells = [], []
        layers = zip(self.lstms, self.projections, self.norms, strict=True)
        for index, (lstm, projection, norm) in enumerate(layers):
            hidden_BH = state.hidden_BLH[:, index].to(x_BTD.dtype)
            cell_BH = state.cell_BLH[:, index].to(x_BTD.dtype)
            y_BTH, hidden_BH, cell_BH = run_layer(lstm, x_BTD, hidden_BH, cell_BH)  # pyright: ignore[reportArgumentType]
            hiddens.append(hidden_BH)
            cells.append(cell_BH)
            y_BTD = norm(F.silu(projection(y_BTH)))
            y_BTD = self.dropout(y_BTD)
            if self.config.residual and y_BTD.shape == x_BTD.shape:
                y_BTD = y_BTD + x_BTD
            x_BTD = y_BTD
        return x_BTD, LstmState(
            torch.stack(hiddens, dim=1).float(), torch.stack(cells, dim=1).float()
        )


def run_layer(
    lstm: nn.LSTM, x_BTD: Tensor, hidden_BH: Tensor, cell_BH: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """One LSTM layer over a chunk, from its state: outputs, next hidden units, next cells."""
    if x_BTD.shape[1] <= _FEW_FRAMES and x_BTD.device.type == "cpu" and not torch.is_grad_enabled():
        return _run_few(lstm, x_BTD, hidden_BH, cell_BH)
    state = hidden_BH[None].contiguous(), cell_BH[None].contiguous()
    y_BTH, (hidden_1BH, cell_1BH) = lstm(x_BTD, state)
    return y_BTH, hidden_1BH[0], cell_1BH[0]


def _run_few(
    lstm: nn.LSTM, x_BTD: Tensor, hidden_BH: Tensor, cell_BH: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The same, frame by frame; torch's own LSTM packs its weights anew at every call."""
    input_GD, recurrent_GH, input_bias_G, recurrent_bias_G = lstm.all_weights[0]
    gates_BTG = F.linear(x_BTD, input_GD, input_bias_G + recurrent_bias_G)
    outputs = []
    for gates_BG in gates_BTG.unbind(1):
        into, keep, new, out = torch.addmm(gates_BG, hidden_BH, recurrent_GH.t()).chunk(4, dim=1)
        cell_BH = keep.sigmoid() * cell_BH + into.sigmoid() * new.tanh()
        hidden_BH = out.sigmoid() * cell_BH.tanh()
        outputs.append(hidden_BH)
    return torch.stack(outputs, dim=1), hidden_BH, cell_BH


class ReducerState(NamedTuple):
    """Frames that wait for the rest of their group; the first `count` of R-1 places are real."""

    waiting_BRD: Tensor
    count_B: Tensor


class FrameReducer(nn.Module):
    """Joins every `factor` frames into one wider frame, so the layers above run more slowly.

    Streams of one batch must wait for equally many frames; the recognizer sees to it.

    Args:
        factor: Frames per group; 1 does nothing.
        dim: Width of an input frame; the output is `factor * dim` wide.
    """

    def __init__(self, factor: int, dim: int) -> None:
        super().__init__()
        self.factor, self.dim = factor, dim

    def initial_state(self, batch_size: int) -> ReducerState:
        """No frame waits."""
        return ReducerState(
            torch.zeros(batch_size, self.factor - 1, self.dim),
            torch.zeros(batch_size, dtype=torch.int64),
        )

    def step(self, x_BTD: Tensor, state: ReducerState) -> tuple[Tensor, ReducerState]:
        """Return the groups that are complete; keep the rest waiting."""
        if self.factor == 1:
            return x_BTD, state
        counts = sorted(set(state.count_B.tolist()))
        if len(counts) > 1:
            raise StateError(
                f"Streams of a batch must be at one phase of {self.factor} frames, got {counts}.",
                hint=f"Feed each stream a multiple of {self.factor} frames before batching.",
            )
        num_waiting = counts[0] if counts else 0
        if num_waiting == 0 and x_BTD.shape[1] % self.factor == 0:
            return x_BTD.reshape(len(x_BTD), -1, self.factor * self.dim), state
        waiting_BRD = state.waiting_BRD[:, :num_waiting].to(x_BTD)
        joined_BTD = torch.cat([waiting_BRD, x_BTD], dim=1)
        num_groups = joined_BTD.shape[1] // self.factor
        split = num_groups * self.factor
        groups_BTD = joined_BTD[:, :split].reshape(len(x_BTD), num_groups, self.factor * self.dim)
        rest_BRD = joined_BTD[:, split:]
        places = self.factor - 1 - rest_BRD.shape[1]
        return groups_BTD, ReducerState(
            F.pad(rest_BRD, (0, 0, 0, places)), torch.full_like(state.count_B, rest_BRD.shape[1])
        )

    def flush(self, state: ReducerState) -> Tensor:
        """The last, incomplete group, filled up with zeros; no frame if none waits."""
        if self.factor == 1 or len(state.count_B) == 0 or int(state.count_B[0]) == 0:
            return state.waiting_BRD.new_zeros(len(state.count_B), 0, self.factor * self.dim)
        num_missing = self.factor - int(state.count_B[0])
        zeros_BRD = state.waiting_BRD.new_zeros(len(state.count_B), num_missing, self.dim)
        groups_BTD, _ = self.step(zeros_BRD, state)
        return groups_BTD

    def output_lengths(self, lengths_B: Tensor) -> Tensor:
        """Groups in utterances of these many frames, the filled-up one included."""
        return (lengths_B + self.factor - 1) // self.factor


def _init_lstm(lstm: nn.LSTM) -> None:
    """Orthogonal recurrence and a forget gate that starts open."""
    for name, parameter in lstm.named_parameters():
        if "weight_hh" in name:
            for gate in parameter.data.chunk(4):
                nn.init.orthogonal_(gate)
        elif "weight_ih" in name:
            nn.init.xavier_uniform_(parameter)
        elif "bias_ih" in name:
            nn.init.zeros_(parameter)
            parameter.data[lstm.hidden_size : 2 * lstm.hidden_size].fill_(1.0)
        else:
            nn.init.zeros_(parameter)
