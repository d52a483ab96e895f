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

Gates may decide on a few frames together (`joined`): a separator of frames of 10 ms then runs more
slowly than the recognizer behind it, and hears a little of what comes.

Half closed gates are not silence, and blur a voice that nobody disturbs. With `activity` it is
decided for each group who speaks (see `models.activity`): whoever speaks alone is heard as they
are, the other channel is silent, and only where both speak do gates count. Groups ahead are heard
before one is decided; then streams of one batch must all have heard so many.

Legend: B streams or utterances, T frames, F feature width, D width, J frames joined, G groups of J
frames, H groups held, S streams of both channels (twice B: channel 0 of all, then channel 1 of
all), C output channels, A states of who speaks.

Source: Sklyar, Piunova, Liu 2021, MS-RNN-T, arXiv:2011.11671; Sklyar et al. 2022, MT-RNN-T,
arXiv:2112.10200; Sklyar, Piunova, Osendorfer 2022, Separator-Transducer-Segmenter,
arXiv:2205.05199.
Departs from the papers on request: "gated", its floor, and `activity`.
"""

import math
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from evenear.config import config
from evenear.encoders.base import Encoded, Encoder
from evenear.encoders.configs import EncoderConfig
from evenear.errors import ConfigError
from evenear.models.activity import Activity, ActivityConfig, ActivityState
from evenear.models.transducer import Transducer, TransducerConfig
from evenear.nn.recurrent import FrameReducer, ReducerState
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


@config
class SeparatorConfig:
    """The part before the recognition encoder."""

    mixture: EncoderConfig | None
    """Hears everything; None leaves it out."""
    separation: EncoderConfig
    """Made once for each channel."""
    output: Literal["encoded", "gated"] = "encoded"
    joined: int = Field(default=1, ge=1)
    """Feature frames that gates decide on together; the encoders hear them as one frame."""
    floor: float = -1.5
    """Where the gates' floor begins, in normalized features: deviations below their mean."""
    activity: ActivityConfig | None = None
    """Decides who speaks, for gates; None lets gates count everywhere."""


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
    waiting: ReducerState
    """Features that wait for the rest of their group."""
    held: Any = ()
    """Groups that wait for those ahead of them, and who spoke so far, where that is decided."""


class SeparatorTransducerState(NamedTuple):
    """State of a two-channel model; the recognition encoder has one for each channel."""

    separator: SeparatorState
    recognition: tuple[Any, Any]


class Separated(NamedTuple):
    """A chunk for each channel, on the batch axis, and the gates if there are some."""

    channels_STD: Tensor
    """What is handed on."""
    gates_STF: Tensor | None
    gated_STF: Tensor | None = None
    """What the gates alone hand on, where it is decided who speaks."""
    talk_BGA: Tensor | None = None
    """Logits of who speaks."""
    active_BCG: Tensor | None = None
    """Who was decided to speak."""


class Separator(nn.Module):
    """Mixture encoder and one separation encoder for each channel."""

    def __init__(self, config: SeparatorConfig, feature_dim: int) -> None:
        super().__init__()
        self.config, joined = config, config.joined
        if joined > 1 and config.output != "gated":
            raise ConfigError(
                f"Only gates decide on frames together, got {joined} frames for encoded output.",
                hint="Let the mixture encoder reduce instead.",
            )
        self.mixture = config.mixture.build() if config.mixture else None
        encoders = [config.separation.build() for _ in range(NUM_CHANNELS)]
        self.channels = nn.ModuleList(encoders)
        self._reducer = FrameReducer(joined, feature_dim)
        each = encoders[0]
        first = self.mixture or each
        width = self.mixture.dim if self.mixture else feature_dim * joined
        _check("The separator", first.feature_dim, feature_dim * joined, "features")
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
                    hint="Leave reduction to the transducer's encoder, or set `joined`.",
                )
            self.dim, self.lookahead_frames = feature_dim, joined - 1
            gates = [nn.Linear(each.dim, feature_dim * joined) for _ in range(NUM_CHANNELS)]
            for gate in gates:
                nn.init.constant_(gate.bias, _OPEN)
            self.gates = nn.ModuleList(gates)
            self.floor_F = nn.Parameter(torch.full((feature_dim,), config.floor))
        self.activity = None
        if config.activity is not None:
            if self.gates is None:
                raise ConfigError("Who speaks can be decided for gated output only.")
            sizes = {"dim": each.dim, "feature_dim": feature_dim, "joined": joined}
            self.activity = Activity(config.activity, silence=config.floor, **sizes)
            self.lookahead_frames += self.activity.ahead_frames

    @property
    def block_frames(self) -> int:
        """Feature frames that are separated together."""
        return self.stride * self.config.joined

    def initial_state(self, batch_size: int) -> SeparatorState:
        """The state of streams that have heard nothing."""
        mixture = self.mixture.initial_state(batch_size) if self.mixture else ()
        first, second = (each.initial_state(batch_size) for each in self._encoders())
        held = self.activity.initial_state(batch_size) if self.activity else ()
        waiting = self._reducer.initial_state(batch_size)
        return SeparatorState(mixture, (first, second), waiting, held)

    def step(self, features_BTF: Tensor, state: SeparatorState) -> tuple[Separated, SeparatorState]:
        """Separate a chunk of normalized features, of any length."""
        groups_BGF, waiting = self._reducer.step(features_BTF, state.waiting)
        mixture, inner_BGD = state.mixture, groups_BGF
        if self.mixture:
            inner_BGD, mixture = self.mixture.step(groups_BGF, state.mixture)
        steps = [
            each.step(inner_BGD, own)
            for each, own in zip(self._encoders(), state.channels, strict=True)
        ]
        (first_BGD, first), (second_BGD, second) = steps
        frames = [first_BGD, second_BGD]
        if self.activity is not None:
            separated, held = self._decided(groups_BGF, frames, state.held)
            return separated, SeparatorState(mixture, (first, second), waiting, held)
        separated = self._handed_on(groups_BGF, frames)
        return separated, SeparatorState(mixture, (first, second), waiting)

    def flush(self, state: SeparatorState) -> Tensor:
        """What the end of the streams completes, for both channels on the batch axis."""
        if self.gates is not None:
            return self._rest(state)
        parts = []
        tail_BTD = self.mixture.flush(state.mixture) if self.mixture else None
        for each, own in zip(self._encoders(), state.channels, strict=True):
            if tail_BTD is None:
                parts.append(each.flush(own))
                continue
            last_BTD, after = each.step(tail_BTD, own)
            parts.append(torch.cat([last_BTD, each.flush(after)], dim=1))
        return torch.cat(parts)

    def encode(self, features_BTF: Tensor, valid_BT: Tensor) -> Separated:
        """Separate padded utterances of normalized features."""
        if self.config.joined > 1 or self.activity is not None:
            return self._encode_joined(features_BTF, valid_BT)
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

    def _encode_joined(self, features_BTF: Tensor, valid_BT: Tensor) -> Separated:
        """Padded utterances, group by group; behind an utterance's end are zeros, as in `flush`."""
        num_frames = features_BTF.shape[1]
        features_BTF = features_BTF.masked_fill(~valid_BT[:, :, None], 0.0)
        missing = -num_frames % self.config.joined
        missing += self.activity.ahead_frames if self.activity is not None else 0
        zeros_BTF = features_BTF.new_zeros(len(features_BTF), missing, features_BTF.shape[2])
        padded_BTF = torch.cat([features_BTF, zeros_BTF], dim=1)
        separated, _ = self.step(padded_BTF, self.initial_state(len(padded_BTF)))
        by_frame = {name: frames for name, frames in separated._asdict().items() if "_ST" in name}
        cut = {n: x if x is None else x[:, :num_frames] for n, x in by_frame.items()}
        return separated._replace(**cut)

    def _rest(self, state: SeparatorState) -> Tensor:
        """The frames of an incomplete group, and of those for whose groups ahead zeros stand."""
        counts = state.waiting.count_B.tolist()
        num_frames = counts[0] if counts else 0
        groups_BGF = self._reducer.flush(state.waiting)
        zeros_BTF = groups_BGF.unflatten(2, (self.config.joined, self.dim)).flatten(1, 2)
        empty = state._replace(waiting=self._reducer.initial_state(len(zeros_BTF)))
        if self.activity is not None:
            num_frames += self.activity.waiting_frames(state.held)
            ahead = self.activity.ahead_frames
            ahead_BTF = zeros_BTF.new_zeros(len(zeros_BTF), ahead, self.dim)
            zeros_BTF = torch.cat([zeros_BTF, ahead_BTF], dim=1)
        separated, _ = self.step(zeros_BTF, empty)
        return separated.channels_STD[:, :num_frames]

    def _decided(
        self, groups_BGF: Tensor, frames: list[Tensor], held: Any
    ) -> tuple[Separated, ActivityState]:
        """Frames of groups on which it is decided who speaks."""
        assert self.activity is not None
        found = self.activity.step(groups_BGF, frames, held)
        gated = self._handed_on(found.groups_BGF, found.frames)
        channels_STF = self.activity.handed_on(found, gated.channels_STD)
        separated = Separated(
            channels_STF, gated.gates_STF, gated.channels_STD, found.talk_BGA, found.active_BCG
        )
        return separated, found.state

    def _handed_on(self, groups_BGF: Tensor, frames: list[Tensor]) -> Separated:
        """Frames of both channels, of groups as wide as the encoders hear them."""
        if self.gates is None:
            return Separated(torch.cat(frames), None)
        pairs = zip(self.gates, frames, strict=True)
        gates_SGF = torch.cat([torch.sigmoid(gate(own)) for gate, own in pairs])
        gates_STF = gates_SGF.unflatten(2, (self.config.joined, self.dim)).flatten(1, 2)
        mixture_BTF = groups_BGF.unflatten(2, (self.config.joined, self.dim)).flatten(1, 2)
        mixture_STF = torch.cat([mixture_BTF] * NUM_CHANNELS)
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

    @property
    def block_frames(self) -> int:
        """Feature frames that are heard together (see `Encoder.block_frames`)."""
        recognition = self.separator.stride * self.transducer.encoder.block_frames
        return math.lcm(self.separator.block_frames, recognition)

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
