# SPDX-License-Identifier: Apache-2.0
"""A voice as one vector: an encoder of frames, attentive statistics over them, an embedding.

    attention_t = softmax over t of V tanh(W h_t + b)      (one for each channel)
    mean = sum_t attention_t h_t,    deviation = sqrt(sum_t attention_t h_t^2 - mean^2)
    embedding = norm(U [mean; deviation]) / its length

Beside it there may be a second embedding, of what the frames themselves are like on average: the
mean and deviation of each mel bin and the deviation of its change, louder frames counting more,
through a network of one hidden layer. Each embedding is of unit length before they are joined, so
both have half of the score.

The sums over time are the state, so there is an embedding of what was heard so far, it costs
nothing to go on, and a stream ends with the embedding of the whole: the same numbers, whatever its
chunks. The attention looks at one frame at a time for that reason.

Legend: B streams or utterances, T frames, F feature width (S stacked frames of M mel bins), H width
of an encoder frame, D width of the embedding, X numbers of an utterance.

Source: Okabe et al. 2018, arXiv:1803.10963 (attentive statistics pooling); one weight per channel
as in Desplanques et al. 2020, arXiv:2005.07143. The second embedding is our own.
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
from evenear.errors import ConfigError
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
_NOISE = 0.3
"""Added to standardized numbers in training, against learning utterances by heart."""

VoiceEncoderConfig = Annotated[ResNetConfig | TdnnConfig, Field(discriminator="kind")]


@config
class SpeakerConfig:
    """An embedding network."""

    encoder: VoiceEncoderConfig = TdnnConfig()
    attention_dim: int = Field(default=64, ge=1)
    pooled_dim: int = Field(default=0, ge=0)
    """Frames are mixed to this width before pooling; 0 pools them as they are."""
    embedding_dim: int = Field(default=192, ge=2)
    statistics_dim: int = Field(default=0, ge=0)
    """How many numbers of the embedding are made of the frames' own statistics; 0: none are."""
    statistics_hidden: int = Field(default=256, ge=1)

    def __post_init__(self) -> None:
        if self.statistics_dim > self.embedding_dim - 2:
            raise ConfigError(
                f"An embedding of {self.embedding_dim} numbers cannot have {self.statistics_dim} "
                "of statistics: at least two are the network's."
            )

    @property
    def deep_dim(self) -> int:
        """How many numbers of the embedding are made of encoded frames."""
        return self.embedding_dim - self.statistics_dim


class PoolingState(NamedTuple):
    """Sums over the frames so far, in float64, since a stream may last for hours."""

    weight_BH: Tensor
    first_BH: Tensor
    second_BH: Tensor


class SpeakerState(NamedTuple):
    """What is known of B voices so far."""

    encoder: Any
    pooling: PoolingState
    statistics: PoolingState
    """Of the frames themselves; of no width where the network has no use for them."""


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
        self.embed = nn.Linear(2 * width, config.deep_dim)
        self.norm = nn.BatchNorm1d(config.deep_dim, affine=False)
        self.statistics = _Statistics(config) if config.statistics_dim else None
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
        normal_BTF = self._normal(features_BTF)
        encoded_BTH, _ = self._encode(normal_BTF, self.encoder.initial_state(len(features_BTF)))
        logits_BTH = self.attend(encoded_BTH)
        if lengths_B is not None:
            frames_T = torch.arange(encoded_BTH.shape[1], device=encoded_BTH.device)
            is_padding_BT = frames_T >= lengths_B[:, None]
            logits_BTH = logits_BTH.masked_fill(is_padding_BT[:, :, None], -torch.inf)
        attention_BTH = logits_BTH.softmax(dim=1)
        mean_BH = (attention_BTH * encoded_BTH).sum(dim=1)
        apart_BTH = encoded_BTH - mean_BH[:, None]
        deep_BD = self._project(mean_BH, (attention_BTH * apart_BTH.square()).sum(dim=1))
        if self.statistics is None:
            return deep_BD
        return _joined(deep_BD, self.statistics(normal_BTF, lengths_B))

    def statistics_embedding(self, features_BTF: Tensor) -> Tensor:
        """Only that part of the embeddings which is made of statistics, of unit length."""
        assert self.statistics is not None, "this network has no part for statistics"
        return self.statistics(self._normal(features_BTF))

    def initial_state(self, batch_size: int) -> SpeakerState:
        """Nothing heard yet."""
        zeros_BH = self.mean_F.new_zeros(batch_size, self.width, dtype=torch.float64)
        pooling = PoolingState(zeros_BH, zeros_BH.clone(), zeros_BH.clone())
        bins = self.statistics.bins if self.statistics is not None else 0
        statistics = PoolingState(
            zeros_BH.new_zeros(batch_size, min(bins, 1)),
            zeros_BH.new_zeros(batch_size, bins),
            zeros_BH.new_zeros(batch_size, 2 * bins),
        )
        return SpeakerState(self.encoder.initial_state(batch_size), pooling, statistics)

    def step(self, features_BTF: Tensor, state: SpeakerState) -> SpeakerState:
        """Hear a chunk of any length."""
        normal_BTF = self._normal(features_BTF)
        encoded_BTH, encoder = self._encode(normal_BTF, state.encoder)
        weights_BTH = self.attend(encoded_BTH).double().exp()
        wide_BTH = encoded_BTH.double()
        weight_BH, first_BH, second_BH = state.pooling
        pooling = PoolingState(
            weight_BH + weights_BTH.sum(dim=1),
            first_BH + (weights_BTH * wide_BTH).sum(dim=1),
            second_BH + (weights_BTH * wide_BTH.square()).sum(dim=1),
        )
        statistics = state.statistics
        if self.statistics is not None:
            statistics = self.statistics.step(normal_BTF, statistics)
        return SpeakerState(encoder, pooling, statistics)

    def embedding(self, state: SpeakerState) -> Tensor:
        """The embeddings (B, D) of what was heard so far; of no frames at all, not a number."""
        weight_BH, first_BH, second_BH = state.pooling
        mean_BH = first_BH / weight_BH
        variance_BH = second_BH / weight_BH - mean_BH.square()
        deep_BD = self._project(mean_BH.float(), variance_BH.float())
        if self.statistics is None:
            return deep_BD
        return _joined(deep_BD, self.statistics.embedding(state.statistics))

    def _normal(self, features_BTF: Tensor) -> Tensor:
        return (features_BTF - self.mean_F) * self.scale_F

    def _encode(self, normal_BTF: Tensor, state: Any) -> tuple[Tensor, Any]:
        encoded_BTH, state = self.encoder.step(normal_BTF, state)
        return encoded_BTH if self.mix is None else functional.relu(self.mix(encoded_BTH)), state

    def _project(self, mean_BH: Tensor, variance_BH: Tensor) -> Tensor:
        deviation_BH = variance_BH.clamp_min(_LEAST_VARIANCE).sqrt()
        pooled_BH = self.pooled_norm(torch.cat([mean_BH, deviation_BH], dim=1))
        return functional.normalize(self.norm(self.embed(pooled_BH)), dim=1)


class _Statistics(nn.Module):
    """An embedding of the means, deviations and changes of mel bins, of sums over time.

    A stacked frame counts exp(loudness * its mean), with a learned loudness. Changes are those
    between the frames of a stack, so that no frame of the past is needed.
    """

    def __init__(self, config: SpeakerConfig) -> None:
        super().__init__()
        self.stack = config.encoder.stack
        self.bins = config.encoder.feature_dim // self.stack
        self.loudness = nn.Parameter(torch.tensor(1.0))
        self.standardize = nn.BatchNorm1d(3 * self.bins, affine=False)
        self.embed = nn.Sequential(
            nn.Linear(3 * self.bins, config.statistics_hidden),
            nn.BatchNorm1d(config.statistics_hidden),
            nn.ReLU(),
            nn.Linear(config.statistics_hidden, config.statistics_dim),
        )

    def forward(self, normal_BTF: Tensor, lengths_B: Tensor | None = None) -> Tensor:
        """Embeddings of whole utterances."""
        logits_BT = self.loudness * normal_BTF.mean(dim=2)
        if lengths_B is not None:
            frames_T = torch.arange(normal_BTF.shape[1], device=normal_BTF.device)
            logits_BT = logits_BT.masked_fill(frames_T >= lengths_B[:, None], -torch.inf)
        weights_BT1 = logits_BT.softmax(dim=1)[:, :, None]
        first_BTM, second_BTX = self._moments(normal_BTF)
        return self._project(
            (weights_BT1 * first_BTM).sum(dim=1), (weights_BT1 * second_BTX).sum(dim=1)
        )

    def step(self, normal_BTF: Tensor, state: PoolingState) -> PoolingState:
        """Add a chunk to the sums."""
        weights_BT1 = (self.loudness * normal_BTF.mean(dim=2, keepdim=True)).double().exp()
        first_BTM, second_BTX = self._moments(normal_BTF)
        return PoolingState(
            state.weight_BH + weights_BT1.sum(dim=1),
            state.first_BH + (weights_BT1 * first_BTM).sum(dim=1),
            state.second_BH + (weights_BT1 * second_BTX).sum(dim=1),
        )

    def embedding(self, state: PoolingState) -> Tensor:
        """Embeddings of what the sums are of."""
        weight_B1, first_BM, second_BX = state
        return self._project((first_BM / weight_B1).float(), (second_BX / weight_B1).float())

    def _moments(self, normal_BTF: Tensor) -> tuple[Tensor, Tensor]:
        """Of each stacked frame: means of bins; mean squares of bins, and of their changes."""
        x_BTSM = normal_BTF.unflatten(2, (self.stack, self.bins))
        square_BTM = x_BTSM.square().mean(dim=2)
        change_BTM = torch.zeros_like(square_BTM)
        if self.stack > 1:
            change_BTM = (x_BTSM[:, :, 1:] - x_BTSM[:, :, :-1]).square().mean(dim=2)
        return x_BTSM.mean(dim=2), torch.cat([square_BTM, change_BTM], dim=2)

    def _project(self, mean_BM: Tensor, second_BX: Tensor) -> Tensor:
        square_BM, change_BM = second_BX.chunk(2, dim=1)
        variances_BX = torch.cat([square_BM - mean_BM.square(), change_BM], dim=1)
        deviations_BX = variances_BX.clamp_min(_LEAST_VARIANCE).sqrt()
        numbers_BX = self.standardize(torch.cat([mean_BM, deviations_BX], dim=1))
        if self.training:
            numbers_BX = numbers_BX + _NOISE * torch.randn_like(numbers_BX)
        return functional.normalize(self.embed(numbers_BX), dim=1)


def _joined(deep_BD: Tensor, statistics_BD: Tensor) -> Tensor:
    """Both at half of the score, together of unit length."""
    return torch.cat([deep_BD, statistics_BD.to(deep_BD.dtype)], dim=1) * 0.5**0.5


def published() -> SpeakerConfig:
    """The half-width ResNet-34 with attentive statistics: 8.0 M parameters, 512 numbers out."""
    return SpeakerConfig(encoder=ResNetConfig(), attention_dim=128, embedding_dim=512)


def published_features() -> FeatureConfig:
    """What `published` listens to: 64 log-mel bins, eight frames of 10 ms stacked."""
    return FeatureConfig(stack=8)


def _build(settings: ResNetConfig | TdnnConfig) -> Encoder:
    return ResNet(settings) if isinstance(settings, ResNetConfig) else Tdnn(settings)
