# SPDX-License-Identifier: Apache-2.0
"""The RNN-T baseline: a stack of unidirectional LSTM layers.

Legend: B streams, T frames, F feature width, D encoder width.

Source: the baseline of Radfar et al. 2022, arXiv:2209.14868, section 3.2 (7 layers of 640 units,
each followed by a projection with Swish). Departs from the paper where the config says so: layer
normalization, residual connections and frame reduction are options, off by default.
"""

from typing import Literal

from pydantic import Field
from torch import Tensor

from evenear.config import config
from evenear.encoders.reduced import ReducedEncoder
from evenear.nn.recurrent import LstmStack, LstmStackConfig, LstmState

__all__ = ["LstmEncoder", "LstmEncoderConfig"]


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


class LstmEncoder(ReducedEncoder):
    """LSTM layers over feature frames."""

    def __init__(self, config: LstmEncoderConfig) -> None:
        super().__init__(config.feature_dim, config.lstm.dim, config.reduction)
        self.config = config
        self.lstm = LstmStack(config.lstm, config.feature_dim * config.reduction)

    def initial_core(self, batch_size: int) -> LstmState:
        """The state of the LSTM layers."""
        return self.lstm.initial_state(batch_size)

    def core(
        self, groups_BTF: Tensor, state: LstmState, valid_BT: Tensor | None
    ) -> tuple[Tensor, LstmState]:
        """The LSTM layers: causal, so padding behind the end changes nothing."""
        del valid_BT
        return self.lstm.step(groups_BTF, state)
