# SPDX-License-Identifier: Apache-2.0
"""A voice as one vector: moments of a recognizer's first layers, then Fisher's discriminants.

    weight_t = exp(loudness * mean log energy of frame t)
    numbers = mean and deviation of the stem's frames; mean, deviation and change of each mel bin
    embedding = linear(normalized numbers) / its length

All that is learned of voices is one matrix, which has a solution in closed form. A few hundred
speakers are enough for it; networks over frames, with so few, learn the speakers by heart. The stem
is that of a speech recognizer and stays as it is.

The sums over time are the state, so there is an embedding of what was heard so far, and a stream
ends with the embedding of the whole.

Legend: B streams or utterances, T frames, F feature width (S stacked frames of M mel bins), H width
of the stem, X numbers of an utterance (2 H + 3 M), D width of an embedding, C width of a sum.

Source: mean and deviation pooling as in Snyder et al. 2018 (x-vectors); discriminants of whole
utterances as in Dehak et al. 2011 (i-vectors). Early layers of speech models know who speaks: Chen
et al. 2022 (WavLM), arXiv:2110.13900, section V. The rest is our own.
"""

from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from evenear.config import config
from evenear.encoders.voices.stem import SpeechStem, StemConfig, StemState

__all__ = ["MomentsConfig", "MomentsModel", "MomentsState"]

_LEAST_VARIANCE = 1e-6
_TO_NATURAL = 9.2103
"""Whisper's features are (log10 of energy + 4) / 4: times 4 ln 10 they are natural logarithms."""


@config
class MomentsConfig:
    """A stem, and a projection of its moments."""

    kind: Literal["moments"] = "moments"
    encoder: StemConfig = StemConfig()
    embedding_dim: int = Field(default=100, ge=1)
    loudness: float = Field(default=1 / 3, ge=0)
    """How much more a louder frame counts: energy to this power. 0: all count alike."""

    @property
    def mel_bins(self) -> int:
        """Width of a log-mel frame."""
        return self.encoder.feature_dim // self.encoder.stack

    @property
    def numbers(self) -> int:
        """How many numbers X an utterance is described by."""
        return 2 * self.encoder.dim + 3 * self.mel_bins


class MomentsState(NamedTuple):
    """What is known of B voices so far; sums in float64, since a stream may last for hours."""

    stem: StemState
    weight_B1: Tensor
    sums_BC: Tensor


class MomentsModel(nn.Module):
    """Turns the feature frames of an utterance, or of a stream so far, into a unit vector."""

    def __init__(self, config: MomentsConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = SpeechStem(config.encoder)
        self.mean_X: Tensor
        self.scale_X: Tensor
        self.register_buffer("mean_X", torch.zeros(config.numbers))
        self.register_buffer("scale_X", torch.ones(config.numbers))
        self.linear = nn.Linear(config.numbers, config.embedding_dim, bias=False)

    def forward(self, features_BTF: Tensor, lengths_B: Tensor | None = None) -> Tensor:
        """Embeddings (B, D) of unit length, of whole utterances, padded behind their ends."""
        return self.project(self.describe(features_BTF, lengths_B))

    def describe(self, features_BTF: Tensor, lengths_B: Tensor | None = None) -> Tensor:
        """The numbers (B, X) of whole utterances."""
        state = self._add(features_BTF, self.initial_state(len(features_BTF)), lengths_B)
        return self._numbers(state)

    def project(self, numbers_BX: Tensor) -> Tensor:
        """Embeddings (B, D) of numbers."""
        normal_BX = (numbers_BX - self.mean_X) * self.scale_X
        return functional.normalize(self.linear(normal_BX), dim=1)

    def initial_state(self, batch_size: int) -> MomentsState:
        """Nothing heard yet."""
        width = self.config.numbers
        zeros_BC = self.mean_X.new_zeros(batch_size, width, dtype=torch.float64)
        return MomentsState(self.encoder.initial_state(batch_size), zeros_BC[:, :1], zeros_BC)

    def step(self, features_BTF: Tensor, state: MomentsState) -> MomentsState:
        """Hear a chunk of any length."""
        return self._add(features_BTF, state, None)

    def embedding(self, state: MomentsState) -> Tensor:
        """The embeddings (B, D) of what was heard so far; of no frames at all, not a number."""
        return self.project(self._numbers(state))

    def _add(
        self, features_BTF: Tensor, state: MomentsState, lengths_B: Tensor | None
    ) -> MomentsState:
        encoded_BTH, stem = self.encoder.step(features_BTF, state.stem)
        mel_BTSM = features_BTF.unflatten(2, (self.config.encoder.stack, self.config.mel_bins))
        loudness_BT = mel_BTSM.mean(dim=(2, 3)).double()
        weights_BT = (self.config.loudness * _TO_NATURAL * loudness_BT).exp()
        if lengths_B is not None:
            frames_T = torch.arange(features_BTF.shape[1], device=features_BTF.device)
            weights_BT = weights_BT * (frames_T < lengths_B[:, None])
        change_BTM = mel_BTSM[:, :, 1:] - mel_BTSM[:, :, :-1]
        parts = (
            encoded_BTH,
            mel_BTSM.mean(dim=2),
            encoded_BTH.square(),
            mel_BTSM.square().mean(dim=2),
            change_BTM.square().mean(dim=2),
        )
        sums = [torch.bmm(weights_BT[:, None], part.double())[:, 0] for part in parts]
        return MomentsState(
            stem,
            state.weight_B1 + weights_BT.sum(dim=1, keepdim=True),
            state.sums_BC + torch.cat(sums, dim=1),
        )

    def _numbers(self, state: MomentsState) -> Tensor:
        width = self.config.encoder.dim + self.config.mel_bins
        means_BC = state.sums_BC / state.weight_B1
        first_BC, second_BC = means_BC[:, :width], means_BC[:, width : 2 * width]
        variance_BC = second_BC - first_BC.square()
        squares_BC = torch.cat([variance_BC, means_BC[:, 2 * width :]], dim=1)
        return torch.cat([first_BC, squares_BC.clamp_min(_LEAST_VARIANCE).sqrt()], dim=1).float()
