# SPDX-License-Identifier: Apache-2.0
"""Textbook LSTM layers, one above the other, with explicit state and one bias for each gate.

What the two-channel papers use: no projection between layers, layer normalization after each if
asked for, and one linear layer at the end if its width is given.

Legend: B streams, T frames, D width, H hidden units, L layers.

Source: Sklyar et al. 2021, arXiv:2011.11671 (layers of 1024, outputs of 640).
Our reading, from the published number of parameters: one bias for each gate.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from evenear.config import config
from evenear.nn.recurrent import LstmState, run_layer

__all__ = ["PlainLstm", "PlainLstmConfig"]


@config
class PlainLstmConfig:
    """Textbook LSTM layers."""

    num_layers: int = Field(default=2, ge=1)
    hidden_dim: int = Field(default=1024, ge=1)
    output_dim: int = Field(default=0, ge=0)
    """Width of a linear layer at the end; 0 leaves it out."""
    layer_norm: bool = False
    dropout: float = Field(default=0.0, ge=0, lt=1)

    @property
    def dim(self) -> int:
        """Width of the output."""
        return self.output_dim or self.hidden_dim


class PlainLstm(nn.Module):
    """LSTM layers whose state is a value."""

    def __init__(self, config: PlainLstmConfig, input_dim: int) -> None:
        super().__init__()
        self.config = config
        widths = [input_dim] + [config.hidden_dim] * (config.num_layers - 1)
        self.lstms = nn.ModuleList(
            nn.LSTM(width, config.hidden_dim, batch_first=True) for width in widths
        )
        self.norms = nn.ModuleList(
            nn.LayerNorm(config.hidden_dim) if config.layer_norm else nn.Identity() for _ in widths
        )
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Identity()
        if config.output_dim:
            self.output = nn.Linear(config.hidden_dim, config.output_dim)
        for name, parameter in self.lstms.named_parameters():
            if "bias_hh" in name:  # torch has two where one is enough
                nn.init.zeros_(parameter)
                parameter.requires_grad_(False)

    def initial_state(self, batch_size: int) -> LstmState:
        """Zeros: nothing heard yet."""
        shape = (batch_size, self.config.num_layers, self.config.hidden_dim)
        device = next(self.parameters()).device
        return LstmState(torch.zeros(shape, device=device), torch.zeros(shape, device=device))

    def step(self, x_BTD: Tensor, state: LstmState) -> tuple[Tensor, LstmState]:
        """Run a chunk of any length; the state is float32 whatever the arithmetic."""
        if x_BTD.shape[1] == 0:
            return x_BTD.new_zeros(len(x_BTD), 0, self.config.dim), state
        hiddens, cells = [], []
        for index, (lstm, norm) in enumerate(zip(self.lstms, self.norms, strict=True)):
            hidden_BH = state.hidden_BLH[:, index].to(x_BTD.dtype)
            cell_BH = state.cell_BLH[:, index].to(x_BTD.dtype)
            y_BTH, hidden_BH, cell_BH = run_layer(lstm, x_BTD, hidden_BH, cell_BH)  # pyright: ignore[reportArgumentType]
            hiddens.append(hidden_BH)
            cells.append(cell_BH)
            x_BTD = self.dropout(norm(y_BTH))
        return self.output(x_BTD), LstmState(
            torch.stack(hiddens, dim=1).float(), torch.stack(cells, dim=1).float()
        )
