# SPDX-License-Identifier: Apache-2.0
"""The first two convolutions of a Whisper-shaped encoder, and nothing behind them.

    features (2 x 10 ms) ── convolution, GELU ── convolution of stride 2, GELU ── frames (20 ms)

What they say of a sound is close to the sound itself, and yet learned from very much speech. They
are causal: each convolution is moved back by a frame, so that its last tap meets the newest one.
The same weights in `TransformerEncoder` look 20 ms ahead and pad each block.

Legend: B streams, T frames, M mel bins, F feature width (2 M), D width, P frames of the past.

Source: Radford et al. 2022 (Whisper), arXiv:2212.04356. Our reading: causal.
"""

from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from evenear.config import config
from evenear.encoders.base import Encoder
from evenear.errors import ConfigError

__all__ = ["SpeechStem", "StemConfig", "StemState"]

_STRIDE = 2
"""Of the second convolution; also the frames that a feature frame joins."""


@config
class StemConfig:
    """The shape of the two convolutions."""

    kind: Literal["stem"] = "stem"
    feature_dim: int = Field(default=160, ge=2, multiple_of=2)
    dim: int = Field(default=384, ge=1)

    @property
    def stack(self) -> int:
        """Log-mel frames in a feature frame."""
        return _STRIDE


class StemState(NamedTuple):
    """What the convolutions still need of the past."""

    features_BMP: Tensor
    convolved_BDP: Tensor


class SpeechStem(Encoder):
    """Two convolutions over time, the second of stride 2."""

    def __init__(self, config: StemConfig) -> None:
        super().__init__()
        self.config, self.feature_dim, self.dim = config, config.feature_dim, config.dim
        self.conv1 = nn.Conv1d(config.feature_dim // _STRIDE, config.dim, 3)
        self.conv2 = nn.Conv1d(config.dim, config.dim, 3, stride=_STRIDE)

    def initial_state(self, batch_size: int) -> StemState:
        """Zeros before the stream."""
        weight = self.conv1.weight
        return StemState(
            weight.new_zeros(batch_size, self.conv1.in_channels, 2),
            weight.new_zeros(batch_size, self.dim, 1),
        )

    def step(self, features_BTF: Tensor, state: StemState) -> tuple[Tensor, StemState]:
        """A frame for each feature frame (two log-mel frames)."""
        size, frames, width = features_BTF.shape
        if frames == 0:
            return features_BTF.new_zeros(size, 0, self.dim), state
        mel_BMT = features_BTF.reshape(size, frames * _STRIDE, width // _STRIDE).transpose(1, 2)
        joined_BMT = torch.cat([state.features_BMP.to(mel_BMT), mel_BMT], dim=2)
        first_BDT = functional.gelu(self.conv1(joined_BMT))
        between_BDT = torch.cat([state.convolved_BDP.to(first_BDT), first_BDT], dim=2)
        encoded_BTD = functional.gelu(self.conv2(between_BDT)).transpose(1, 2)
        return encoded_BTD, StemState(joined_BMT[:, :, -2:], first_BDT[:, :, -1:])

    def flush(self, state: StemState) -> Tensor:
        """Nothing waits."""
        return self.conv1.weight.new_zeros(len(state.features_BMP), 0, self.dim)

    def output_lengths(self, lengths_B: Tensor) -> Tensor:
        """One for each feature frame."""
        return lengths_B

    def take(self, encoder: nn.Module) -> None:
        """Take the convolutions of a Whisper-shaped encoder.

        Raises:
            ConfigError: It is no such encoder, or of another width.
        """
        from evenear.encoders.transformer import TransformerEncoder  # whoever listens needs none

        if not isinstance(encoder, TransformerEncoder):
            raise ConfigError(
                "A stem is taken from an encoder of the kind transformer, got "
                f"{type(encoder).__name__}.",
                hint="Use a model such as evenear-en.",
            )
        wanted, found = self.conv1.weight.shape, encoder.conv1.weight.shape
        if wanted != found:
            raise ConfigError(
                f"The stem's first convolution is {tuple(wanted)}, the encoder's {tuple(found)}.",
                hint="Set feature_dim (twice its mel bins) and dim to those of the encoder.",
            )
        self.conv1.load_state_dict(encoder.conv1.state_dict())
        self.conv2.load_state_dict(encoder.conv2.state_dict())
