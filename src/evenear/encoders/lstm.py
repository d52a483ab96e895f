# SPDX-License-Identifier: Apache-2.0
"""The RNN-T baseline: a stack of unidirectional LSTM layers.

Legend: B streams, T frames, F feature width, D encoder width.

Source: the baseline of Radfar et al. 2022, arXiv:2209.14868, section 3.2 (7 layers of 640 units,
each followed by a projection with Swish). Departs from the paper where the config says so: layer
normalization, residual connections and frame reduction are options, off by default.
"""

from typing import Literal, NamedTuple

from pydantic import Field
from torch import Tensor

from evenear.config import config
from evenear.encoders.base import Encoder
from evenear.nn.recurrent import FrameReducer, LstmStack, LstmStackConfig, LstmState, ReducerState

__all__ = ["LstmEncoder", "LstmEncoderConfig", "LstmEncoderState"]


@config
class LstmEncoderConfig:
    """An LSTM encoder. The defaults are the paper's sizes."""

    kind: Literal["lstm"] = "lstm"
    feature_dim: int = Field(default=192, ge=1)
    lstm: LstmStackConfig = LstmStackConfig(num_layers=7)
    reduction: int = Field(default=1, ge=1)
    """Feature frames joined into one before the LSTM layers."""

    def build(self) -> "LstmEncoder":
        """The encoder, with fresh weights."""
        return LstmEncoder(self)


class LstmEncoderState(NamedTuple):
    """State of an LSTM encoder."""

    reducer: ReducerState
    lstm: LstmState


class LstmEncoder(Encoder):
    """LSTM layers over feature frames."""

    def __init__(self, config: LstmEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.feature_dim = config.feature_dim
        self.dim = config.lstm.dim
        self.stride = config.reduction
        self.lookahead_frames = config.reduction - 1
        self.reducer = FrameReducer(config.reduction, config.feature_dim)
        self.lstm = LstmStack(config.lstm, config.feature_dim * config.reduction)

    def initial_state(self, batch_size: int) -> LstmEncoderState:
        """The state of streams that have heard nothing."""
        return LstmEncoderState(
            self.reducer.initial_state(batch_size), self.lstm.initial_state(batch_size)
        )

    def step(
        self, features_BTF: Tensor, state: LstmEncoderState
    ) -> tuple[Tensor, LstmEncoderState]:
        """Encode a chunk of any length."""
        groups_BTF, reducer = self.reducer.step(features_BTF, state.reducer)
        encoded_BTD, lstm = self.lstm.step(groups_BTF, state.lstm)
        return encoded_BTD, LstmEncoderState(reducer, lstm)

    def flush(self, state: LstmEncoderState) -> Tensor:
        """The frame of the last, incomplete group, if one waits."""
        encoded_BTD, _ = self.lstm.step(self.reducer.flush(state.reducer), state.lstm)
        return encoded_BTD

    def output_lengths(self, lengths_B: Tensor) -> Tensor:
        """Encoder frames of utterances of these many feature frames."""
        return self.reducer.output_lengths(lengths_B)
