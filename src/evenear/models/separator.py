# SPDX-License-Identifier: Apache-2.0
"""Two people at once: a separator that feeds one transducer twice, once for each output channel.

    features ── mixture encoder ──┬── separation encoder 1 ──┐
                                  └── separation encoder 2 ──┴── transducer (both on the batch axis)

The separation encoders have parameters of their own; recognition encoder, predictor and joiner are
shared and run once, with both channels stacked on the batch axis. Any of our encoders can be any
of the three. The segmenter is no network: it is the tokens that begin and end turns, their times,
and what the losses ask of them.

What a separation encoder hands on is either its own frames ("encoded", the papers'), or a gate for
each feature of each frame that fades the mixture towards a floor ("gated", ours): then a whole
single-talker transducer, already trained, recognizes each channel, and a gate that is open hands
it just what it knows.

    gated_n = floor + sigmoid(A_n separated_n) * (normalized features - floor)

Legend: B streams or utterances, T frames, F feature width, D width, S streams of both channels
(twice B: channel 0 of all, then channel 1 of all), C output channels.

Source: Sklyar, Piunova, Liu 2021, MS-RNN-T, arXiv:2011.11671; Sklyar et al. 2022, MT-RNN-T,
arXiv:2112.10200; Sklyar, Piunova, Osendorfer 2022, Separator-Transducer-Segmenter,
arXiv:2205.05199.
Departs from the papers on request: "gated" and its floor.
"""

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from evenear.config import config
from evenear.encoders.base import Encoded, Encoder
from evenear.encoders.configs import EncoderConfig
from evenear.errors import ConfigError
from evenear.models.transducer import Transducer, TransducerConfig
from evenear.nn.state import map_state, stack_states

__all__ = [
    "NUM_CHANNELS",
    "Separated",
    "Separator",
    "SeparatorConfig",
    "SeparatorState",
    "SeparatorTransducer",
    "SeparatorTransducerConfig",
    "SeparatorTransducerState",
]

NUM_CHANNELS = 2
_OPEN = 3.0
"""Where the gates begin: sigmoid(3) = 0.95, so a channel hears the mixture at first."""
_FLOOR = -1.5
"""Where the floor begins, in deviations below the mean of the features."""


@config
class SeparatorConfig:
    """The part before the recognition encoder."""

    mixture: EncoderConfig | None
    """Hears everything; None leaves it out."""
    separation: EncoderConfig
    """Made once for each channel."""
    output: Literal["encoded", "gated"] = "encoded"


@config
class SeparatorTransducerConfig:
    """A two-channel model; the transducer's encoder is the recognition encoder."""

    separator: SeparatorConfig
    transducer: TransducerConfig
    turns: Literal["none", "between", "start-and-end"] = "start-and-end"
    """Tokens that mark turns: none (MS-RNN-T), one between two turns of a channel (`<cot>` of
    MT-RNN-T; the end-of-turn token stands for it), or one at each end (STS)."""


class SeparatorState(NamedTuple):
    """State of a separator: of the mixture encoder, and of each channel's encoder."""

    mixture: Any
    channels: tuple[Any, Any]


class SeparatorTransducerState(NamedTuple):
    """State of a two-channel model; the recognition encoder has one for each channel."""

    separator: SeparatorState
    recognition: tuple[Any, Any]


class Separated(NamedTuple):
    """A chunk for each channel, on the batch axis, and the gates if there are some."""

    channels_STD: Tensor
    gates_STF: Tensor | None


class Separator(nn.Module):
    """Mixture encoder and one separation encoder for each channel."""

    def __init__(self, config: SeparatorConfig, feature_dim: int) -> None:
        super().__init__()
        self.config = config
        self.mixture = config.mixture.build() if config.mixture else None
        encoders = [config.separation.build() for _ in range(NUM_CHANNELS)]
        self.channels = nn.ModuleList(encoders)
        each = encoders[0]
        first = self.mixture or each
        width = self.mixture.dim if self.mixture else feature_dim
        _check("The separator", first.feature_dim, feature_dim, "features")
        _check("The separation encoder", each.feature_dim, width, "its input")
        before = self.mixture.stride if self.mixture else 1
        self.stride: int = before * each.stride
        self.lookahead_frames: int = before * each.lookahead_frames
        if self.mixture:
            self.lookahead_frames += self.mixture.lookahead_frames
        self.gates = None
        self.dim = each.dim
        if config.output == "gated":
            if self.stride != 1 or self.lookahead_frames != 0:
                raise ConfigError(
                    f"Gates need a separator of stride 1 without look-ahead, got {self.stride} and "
                    f"{self.lookahead_frames} frames.",
                    hint="Leave reduction to the transducer's encoder.",
                )
            self.dim = feature_dim
            gates = [nn.Linear(each.dim, feature_dim) for _ in range(NUM_CHANNELS)]
            for gate in gates:
                nn.init.constant_(gate.bias, _OPEN)
            self.gates = nn.ModuleList(gates)
            self.floor_F = nn.Parameter(torch.full((feature_dim,), _FLOOR))

    def initial_state(self, batch_size: int) -> SeparatorState:
        """The state of streams that have heard nothing."""
        mixture = self.mixture.initial_state(batch_size) if self.mixture else ()
        first, second = (each.initial_state(batch_size) for each in self._encoders())
        return SeparatorState(mixture, (first, second))

    def step(self, features_BTF: Tensor, state: SeparatorState) -> tuple[Separated, SeparatorState]:
        """Separate a chunk of normalized features, of any length."""
        mixture, inner_BTD = state.mixture, features_BTF
        if self.mixture:
            inner_BTD, mixture = self.mixture.step(features_BTF, state.mixture)
        steps = [
            each.step(inner_BTD, own)
            for each, own in zip(self._encoders(), state.channels, strict=True)
        ]
        (first_BTD, first), (second_BTD, second) = steps
        separated = self._handed_on(features_BTF, [first_BTD, second_BTD])
        return separated, SeparatorState(mixture, (first, second))

    def flush(self, state: SeparatorState) -> Tensor:
        """What the end of the streams completes, for both channels on the batch axis."""
        parts = []
        tail_BTD = self.mixture.flush(state.mixture) if self.mixture else None
        for each, own in zip(self._encoders(), state.channels, strict=True):
            if tail_BTD is None:
                parts.append(each.flush(own))
                continue
            last_BTD, after = each.step(tail_BTD, own)
            parts.append(torch.cat([last_BTD, each.flush(after)], dim=1))
        if self.gates is not None:  # stride 1 without look-ahead: nothing waits
            return parts[0].new_zeros(NUM_CHANNELS * len(parts[0]), 0, self.dim)
        return torch.cat(parts)

    def encode(self, features_BTF: Tensor, valid_BT: Tensor) -> Separated:
        """Separate padded utterances of normalized features."""
        inner_BTD, inner_valid_BT = features_BTF, valid_BT
        if self.mixture:
            inner_BTD = self.mixture.encode(features_BTF, valid_BT)
            lengths_B = self.mixture.output_lengths(valid_BT.sum(dim=1))
            inner_valid_BT = _valid(lengths_B, inner_BTD.shape[1])
        frames = [each.encode(inner_BTD, inner_valid_BT) for each in self._encoders()]
        return self._handed_on(features_BTF, frames)

    def output_lengths(self, lengths_B: Tensor) -> Tensor:
        """Frames of each channel for utterances of these many feature frames."""
        if self.mixture:
            lengths_B = self.mixture.output_lengths(lengths_B)
        return self._encoders()[0].output_lengths(lengths_B)

    def copy_first_channel(self) -> None:
        """Let the second channel begin where the first is (after pre-training on single talkers).

        Our reading: the paper pre-trains one separation encoder and does not say how the second
        begins.
        """
        self.channels[1].load_state_dict(self.channels[0].state_dict())
        if self.gates is not None:
            self.gates[1].load_state_dict(self.gates[0].state_dict())

    def _handed_on(self, features_BTF: Tensor, frames: list[Tensor]) -> Separated:
        if self.gates is None:
            return Separated(torch.cat(frames), None)
        pairs = zip(self.gates, frames, strict=True)
        gates_STF = torch.cat([torch.sigmoid(gate(own)) for gate, own in pairs])
        mixture_STF = torch.cat([features_BTF] * NUM_CHANNELS)
        return Separated(self.floor_F + gates_STF * (mixture_STF - self.floor_F), gates_STF)

    def _encoders(self) -> list[Encoder]:
        return list(self.channels)  # pyright: ignore[reportReturnType]


class SeparatorTransducer(nn.Module):
    """A separator and the transducer that hears each of its channels."""

    def __init__(self, config: SeparatorTransducerConfig) -> None:
        super().__init__()
        self.config = config
        self.transducer = Transducer(config.transducer)
        features = config.transducer.encoder.feature_dim
        if config.separator.output == "encoded":
            first = config.separator.mixture or config.separator.separation
            features = first.feature_dim
        self.feature_dim = features
        self.separator = Separator(config.separator, features)
        recognition = self.transducer.encoder
        _check("The recognition encoder", recognition.feature_dim, self.separator.dim, "its input")
        self.blank_id = self.transducer.blank_id
        self.dim = self.transducer.config.joiner_dim
        self.stride = self.separator.stride * recognition.stride
        self.lookahead_frames = (
            self.separator.lookahead_frames + self.separator.stride * recognition.lookahead_frames
        )
        self.mean_F: Tensor
        self.scale_F: Tensor
        self.register_buffer("mean_F", torch.zeros(features))
        self.register_buffer("scale_F", torch.ones(features))

    def normalize(self, features_BTF: Tensor) -> Tensor:
        """Features with the training set's mean and deviation taken out."""
        return (features_BTF - self.mean_F) * self.scale_F

    def initial_state(self, batch_size: int) -> SeparatorTransducerState:
        """The state of streams that have heard nothing."""
        encoder = self.transducer.encoder
        return SeparatorTransducerState(
            self.separator.initial_state(batch_size),
            (encoder.initial_state(batch_size), encoder.initial_state(batch_size)),
        )

    def step(
        self, features_BTF: Tensor, state: SeparatorTransducerState
    ) -> tuple[Tensor, SeparatorTransducerState]:
        """Hear a chunk; frames of both channels, projected for the joiner, (S, T, joiner width)."""
        separated, separator = self.separator.step(self.normalize(features_BTF), state.separator)
        both = stack_states(list(state.recognition))
        encoded_STD, both = self.transducer.encoder.step(separated.channels_STD, both)
        size = len(features_BTF)
        first: Any = map_state(lambda tensor: tensor[:size], both)
        second: Any = map_state(lambda tensor: tensor[size:], both)
        state = SeparatorTransducerState(separator, (first, second))
        return self.transducer.joiner.encoder_proj(encoded_STD), state

    def flush(self, state: SeparatorTransducerState) -> Tensor:
        """What the end of the streams completes, as `step` gives it."""
        encoder = self.transducer.encoder
        both = stack_states(list(state.recognition))
        tail_STD, both = encoder.step(self.separator.flush(state.separator), both)
        tail_STD = torch.cat([tail_STD, encoder.flush(both)], dim=1)
        return self.transducer.joiner.encoder_proj(tail_STD)

    def separate(self, features_BTF: Tensor, lengths_B: Tensor) -> Separated:
        """What the transducer gets of padded mixtures."""
        valid_BT = _valid(lengths_B, features_BTF.shape[1])
        return self.separator.encode(self.normalize(features_BTF), valid_BT)

    def recognize(self, separated: Separated, lengths_B: Tensor) -> Encoded:
        """Encode both channels of mixtures of these many feature frames (not projected)."""
        lengths_S = self.separator.output_lengths(lengths_B).repeat(NUM_CHANNELS)
        return self.transducer.encoder(separated.channels_STD, lengths_S)

    def encode(self, features_BTF: Tensor, lengths_B: Tensor) -> Encoded:
        """Encode padded mixtures: both channels on the batch axis (not projected)."""
        return self.recognize(self.separate(features_BTF, lengths_B), lengths_B)

    def forward(self, features_BTF: Tensor, lengths_B: Tensor) -> Encoded:
        """Frames of both channels as a stream gets them, projected for the joiner."""
        encoded = self.encode(features_BTF, lengths_B)
        return Encoded(self.transducer.joiner.encoder_proj(encoded.encoded_BTD), encoded.lengths_B)


def _valid(lengths_B: Tensor, num_frames: int) -> Tensor:
    return torch.arange(num_frames, device=lengths_B.device) < lengths_B[:, None]


def _check(part: str, width: int, given: int, what: str) -> None:
    if width != given:
        raise ConfigError(f"{part} must be as wide as {what}, got {width} and {given}.")
