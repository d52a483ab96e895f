# SPDX-License-Identifier: Apache-2.0
"""A voice as one vector: an encoder of frames, attentive statistics over them, an embedding.

    attention_t = softmax over t of V tanh(W h_t + b)      (one for each channel)
    mean = sum_t attention_t h_t,    deviation = sqrt(sum_t attention_t h_t^2 - mean^2)
    embedding = norm(U [mean; deviation]) / its length

The sums over time are the state, so there is an embedding of what was heard so far, it costs
nothing to go on, and a stream ends with the embedding of the whole: the same numbers, whatever its
chunks. The attention looks at one frame at a time for that reason.

Legend: B streams or utterances, T frames, F feature width, H width of an encoder frame, D width of
the embedding.

Source: Okabe et al. 2018, arXiv:1803.10963 (attentive statistics pooling); one weight per channel
as in Desplanques et al. 2020, arXiv:2005.07143.
"""

from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from evenear.config import config
from evenear.encoders.base import Encoder
from evenear.encoders.voices.resnet import ResNet, ResNetConfig
from evenear.encoders.voices.tdnn import Tdnn, TdnnConfig
from evenear.features import FeatureConfig

__all__ = [
    "PoolingState",
    "SpeakerConfig",
    "SpeakerModel",
    "SpeakerState",
    "VoiceEncoderConfig",
    "published",
    "published_features",
]

_LEAST_VARIANCE = 1e-4

VoiceEncoderConfig = Annotated[ResNetConfig | TdnnConfig, Field(discriminator="kind")]


@config
class SpeakerConfig:
    """An embedding network."""

    encoder: VoiceEncoderConfig = TdnnConfig()
    attention_dim: int = Field(default=64, ge=1)
    pooled_dim: int = Field(default=0, ge=0)
    """Frames are mixed to this width before pooling; 0 pools them as they are."""
    embedding_dim: int = Field(default=192, ge=2)


class PoolingState(NamedTuple):
    """Sums over the frames so far, in float64, since a stream may last for hours."""

    weight_BH: Tensor
    first_BH: Tensor
    second_BH: Tensor


class SpeakerState(NamedTuple):
    """What is known of B voices so far."""

    encoder: Any
    pooling: PoolingState


class SpeakerModel(nn.Module):
    """Turns the feature frames of an utterance, or of a stream so far, into a unit vector."""

    def __init__(self, config: SpeakerConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = _build(config.encoder)
        width = config.pooled_dim or self.encoder.dim
        self.mix = nn.Linear(self.encoder.dim, width) if config.pooled_dim else None
        self.attend = nn.Sequential(
            nn.Linear(width, config.attention_dim),
            nn.Tanh(),
            nn.Linear(config.attention_dim, width),
        )
        self.width = width
        self.pooled_norm = nn.BatchNorm1d(2 * width)
        self.embed = nn.Linear(2 * width, config.embedding_dim)
        self.norm = nn.BatchNorm1d(config.embedding_dim, affine=False)
        self.mean_F: Tensor
        self.scale_F: Tensor
        self.register_buffer("mean_F", torch.zeros(config.encoder.feature_dim))
        self.register_buffer("scale_F", torch.ones(config.encoder.feature_dim))

    def forward(self, features_BTF: Tensor, lengths_B: Tensor | None = None) -> Tensor:
        """Embeddings (B, D) of unit length, of whole utterances.

        Args:
            features_BTF: Feature frames, padded behind each utterance's end.
            lengths_B: Frames of each; None where all are real. Training crops are of one length,
                since batch normalization would count padding.
        """
        encoded_BTH, _ = self._encode(features_BTF, self.encoder.initial_state(len(features_BTF)))
        logits_BTH = self.attend(encoded_BTH)
        if lengths_B is not None:
            frames_T = torch.arange(encoded_BTH.shape[1], device=encoded_BTH.device)
            is_padding_BT = frames_T >= lengths_B[:, None]
            logits_BTH = logits_BTH.masked_fill(is_padding_BT[:, :, None], -torch.inf)
        attention_BTH = logits_BTH.softmax(dim=1)
        mean_BH = (attention_BTH * encoded_BTH).sum(dim=1)
        apart_BTH = encoded_BTH - mean_BH[:, None]
        return self._project(mean_BH, (attention_BTH * apart_BTH.square()).sum(dim=1))

    def initial_state(self, batch_size: int) -> SpeakerState:
        """Nothing heard yet."""
        zeros_BH = self.mean_F.new_zeros(batch_size, self.width, dtype=torch.float64)
        pooling = PoolingState(zeros_BH, zeros_BH.clone(), zeros_BH.clone())
        return SpeakerState(self.encoder.initial_state(batch_size), pooling)

    def step(self, features_BTF: Tensor, state: SpeakerState) -> SpeakerState:
        """Hear a chunk of any length."""
        encoded_BTH, encoder = self._encode(features_BTF, state.encoder)
        weights_BTH = self.attend(encoded_BTH).double().exp()
        wide_BTH = encoded_BTH.double()
        weight_BH, first_BH, second_BH = state.pooling
        pooling = PoolingState(
            weight_BH + weights_BTH.sum(dim=1),
            first_BH + (weights_BTH * wide_BTH).sum(dim=1),
            second_BH + (weights_BTH * wide_BTH.square()).sum(dim=1),
        )
        return SpeakerState(encoder, pooling)

    def embedding(self, state: SpeakerState) -> Tensor:
        """The embeddings (B, D) of what was heard so far; of no frames at all, not a number."""
        weight_BH, first_BH, second_BH = state.pooling
        mean_BH = first_BH / weight_BH
        variance_BH = second_BH / weight_BH - mean_BH.square()
        return self._project(mean_BH.float(), variance_BH.float())

    def _encode(self, features_BTF: Tensor, state: Any) -> tuple[Tensor, Any]:
        normal_BTF = (features_BTF - self.mean_F) * self.scale_F
        encoded_BTH, state = self.encoder.step(normal_BTF, state)
        return encoded_BTH if self.mix is None else functional.relu(self.mix(encoded_BTH)), state

    def _project(self, mean_BH: Tensor, variance_BH: Tensor) -> Tensor:
        deviation_BH = variance_BH.clamp_min(_LEAST_VARIANCE).sqrt()
        pooled_BH = self.pooled_norm(torch.cat([mean_BH, deviation_BH], dim=1))
        return functional.normalize(self.norm(self.embed(pooled_BH)), dim=1)


def published() -> SpeakerConfig:
    """The half-width ResNet-34 with attentive statistics: 8.0 M parameters, 512 numbers out."""
    return SpeakerConfig(encoder=ResNetConfig(), attention_dim=128, embedding_dim=512)


def published_features() -> FeatureConfig:
    """What `published` listens to: 64 log-mel bins, eight frames of 10 ms stacked."""
    return FeatureConfig(stack=8)


def _build(settings: ResNetConfig | TdnnConfig) -> Encoder:
    return ResNet(settings) if isinstance(settings, ResNetConfig) else Tdnn(settings)
