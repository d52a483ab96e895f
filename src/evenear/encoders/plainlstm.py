# SPDX-License-Identifier: Apache-2.0
"""Textbook LSTM layers as an encoder: the parts of MS-RNN-T, MT-RNN-T and STS.

Legend: B streams, T frames, F feature width, D encoder width.

Source: Sklyar et al. 2021, arXiv:2011.11671. Follows the paper.
"""

from typing import Literal

from pydantic import Field
from torch import Tensor

from evenear.config import config
from evenear.encoders.base import Encoder
from evenear.nn.plainlstm import PlainLstm, PlainLstmConfig
from evenear.nn.recurrent import LstmState

__all__ = ["PlainLstmEncoder", "PlainLstmEncoderConfig"]


@config
class PlainLstmEncoderConfig:
    """An encoder of textbook LSTM layers. The defaults are the papers' mixture encoder."""

    kind: Literal["plain-lstm"] = "plain-lstm"
    feature_dim: int = Field(default=192, ge=1)
    plain: PlainLstmConfig = PlainLstmConfig()

    def build(self) -> "PlainLstmEncoder":
        """The encoder, with fresh weights."""
        return PlainLstmEncoder(self)


class PlainLstmEncoder(Encoder):
    """LSTM layers over frames."""

    def __init__(self, config: PlainLstmEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.feature_dim = config.feature_dim
        self.dim = config.plain.dim
        self.lstm = PlainLstm(config.plain, config.feature_dim)

    def initial_state(self, batch_size: int) -> LstmState:
        """The state of streams that have heard nothing."""
        return self.lstm.initial_state(batch_size)

    def step(self, features_BTF: Tensor, state: LstmState) -> tuple[Tensor, LstmState]:
        """Encode a chunk of any length."""
        return self.lstm.step(features_BTF, state)

    def flush(self, state: LstmState) -> Tensor:
        """Nothing waits."""
        return state.hidden_BLH.new_zeros(len(state.hidden_BLH), 0, self.dim)

    def output_lengths(self, lengths_B: Tensor) -> Tensor:
        """One frame for each."""
        return lengths_B
