# SPDX-License-Identifier: Apache-2.0
"""Two people at once: a separator that feeds one transducer twice, once for each output channel.

    features ── mixture encoder ──┬── separation encoder 1 ──┐
                                  └── separation encoder 2 ──┴── transducer (both on the batch axis)

The separation encoders have parameters of their own; recognition encoder, predictor and joiner are
shared and run once, with both channels stacked on the batch axis (`models.twotalkers`). Any of our
encoders can be any of the three. The segmenter is no network: it is the tokens that begin and end
turns, their times, and what the losses ask of them.

What a separation encoder hands on is either its own frames ("encoded", the papers'), or a gate for
each feature of each frame that fades the mixture towards a floor ("gated", ours): then a whole
single-talker transducer, already trained, recognizes each channel, and a gate that is open hands
it just what it knows.

    gated_n = floor + sigmoid(A_n separated_n) * (normalized features - floor)

Gates may decide on a few frames together (`joined`): a separator of frames of 10 ms then runs more
slowly than the recognizer behind it, and hears a little of what comes.

Without separation encoders a band-split mixture encoder gates both channels alone. Its gates are
shares: the part of a bin's energy that is the channel's, and what is handed on has so much less.

    shared_n = normalized features + nat * log(sigmoid(A_n mixture)), where nat is a nat of energy

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

from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from evenear.config import config
from evenear.encoders.bandsplit import BandMasks, BandSplitConfig
from evenear.encoders.base import Encoder
from evenear.encoders.configs import EncoderConfig
from evenear.errors import ConfigError
from evenear.models.activity import Activity, ActivityConfig, ActivityState
from evenear.nn.recurrent import FrameReducer, ReducerState

__all__ = [
    "NUM_CHANNELS",
    "Separated",
    "Separator",
    "SeparatorConfig",
    "SeparatorState",
    "expect_width",
    "real_frames",
]

NUM_CHANNELS = 2
_OPEN = 3.0
"""Where the gates begin: sigmoid(3) = 0.95, so a channel hears the mixture at first."""
_LEAST_SHARE = 1e-4
"""A channel hears no bin more than 40 dB below what the mixture is there."""


@config
class SeparatorConfig:
    """The part before the recognition encoder."""

    mixture: EncoderConfig | None
    """Hears everything; None leaves it out."""
    separation: EncoderConfig | None
    """Made once for each channel; None: a band-split mixture encoder gates both."""
    output: Literal["encoded", "gated"] = "encoded"
    joined: int = Field(default=1, ge=1)
    """Feature frames that gates decide on together; the encoders hear them as one frame."""
    floor: float = -1.5
    """Where the gates' floor begins, in normalized features: deviations below their mean."""
    activity: ActivityConfig | None = None
    """Decides who speaks, for gates; None lets gates count everywhere."""

    @property
    def feature_dim(self) -> int:
        """Width of what the first encoder hears.

        Raises:
            ConfigError: There is none.
        """
        first = self.mixture or self.separation
        if first is None:
            raise ConfigError("A separator needs a mixture encoder or separation encoders.")
        return first.feature_dim


class SeparatorState(NamedTuple):
    """State of a separator: of the mixture encoder, and of each channel's encoder."""

    mixture: Any
    channels: tuple[Any, ...]
    waiting: ReducerState
    """Features that wait for the rest of their group."""
    held: Any = ()
    """Groups that wait for those ahead of them, and who spoke so far, where that is decided."""


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
        encoders = (
            [config.separation.build() for _ in range(NUM_CHANNELS)] if config.separation else []
        )
        self.channels = nn.ModuleList(encoders)
        self._reducer = FrameReducer(joined, feature_dim)
        last = encoders[0] if encoders else self.mixture
        if last is None:
            raise ConfigError("A separator needs a mixture encoder or separation encoders.")
        first = self.mixture or last
        expect_width("The separator", first.feature_dim, feature_dim * joined, "features")
        self.stride: int = 1
        self.lookahead_frames: int = 0
        for each in dict.fromkeys((first, last)):
            self.lookahead_frames += self.stride * each.lookahead_frames
            self.stride *= each.stride
        if encoders and self.mixture:
            expect_width("The separation encoder", last.feature_dim, self.mixture.dim, "its input")
        self.gates = None
        self.dim = last.dim
        if config.output == "gated":
            if self.stride != 1 or self.lookahead_frames != 0:
                raise ConfigError(
                    f"Gates need a separator of stride 1 without look-ahead, got {self.stride} and "
                    f"{self.lookahead_frames} frames.",
                    hint="Leave reduction to the transducer's encoder, or set `joined`.",
                )
            self.dim, self.lookahead_frames = feature_dim, joined - 1
            self.gates = self._make_gates(last.dim, feature_dim)
        elif not encoders:
            raise ConfigError(
                "Only gates do without separation encoders.", hint='Set `output` to "gated".'
            )
        self.activity = None
        if config.activity is not None:
            if self.gates is None:
                raise ConfigError("Who speaks can be decided for gated output only.")
            dim = last.dim * max(1, len(encoders))
            sizes = {"dim": dim, "feature_dim": feature_dim, "joined": joined}
            self.activity = Activity(config.activity, silence=config.floor, **sizes)
            self.lookahead_frames += self.activity.ahead_frames

    @property
    def gives_shares(self) -> bool:
        """Whether gates are shares of a bin's energy."""
        return self.gates is not None and not self.channels

    @property
    def block_frames(self) -> int:
        """Feature frames that are separated together."""
        return self.stride * self.config.joined

    def initial_state(self, batch_size: int) -> SeparatorState:
        """The state of streams that have heard nothing."""
        mixture = self.mixture.initial_state(batch_size) if self.mixture else ()
        channels = tuple(each.initial_state(batch_size) for each in self._encoders())
        held = self.activity.initial_state(batch_size) if self.activity else ()
        waiting = self._reducer.initial_state(batch_size)
        return SeparatorState(mixture, channels, waiting, held)

    def step(self, features_BTF: Tensor, state: SeparatorState) -> tuple[Separated, SeparatorState]:
        """Separate a chunk of normalized features, of any length."""
        groups_BGF, waiting = self._reducer.step(features_BTF, state.waiting)
        mixture, inner_BGD = state.mixture, groups_BGF
        if self.mixture:
            inner_BGD, mixture = self.mixture.step(groups_BGF, state.mixture)
        frames, channels = [], []
        for each, own in zip(self._encoders(), state.channels, strict=True):
            own_BGD, after = each.step(inner_BGD, own)
            frames.append(own_BGD)
            channels.append(after)
        frames = frames or [inner_BGD]
        state = SeparatorState(mixture, tuple(channels), waiting, state.held)
        if self.activity is not None:
            separated, held = self._decided(groups_BGF, frames, state.held)
            return separated, state._replace(held=held)
        return self._handed_on(groups_BGF, frames), state

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
        if self.config.joined > 1 or self.activity is not None or not self.channels:
            return self._encode_joined(features_BTF, valid_BT)
        inner_BTD, inner_valid_BT = features_BTF, valid_BT
        if self.mixture:
            inner_BTD = self.mixture.encode(features_BTF, valid_BT)
            lengths_B = self.mixture.output_lengths(valid_BT.sum(dim=1))
            inner_valid_BT = real_frames(lengths_B, inner_BTD.shape[1])
        frames = [each.encode(inner_BTD, inner_valid_BT) for each in self._encoders()]
        return self._handed_on(features_BTF, frames)

    def output_lengths(self, lengths_B: Tensor) -> Tensor:
        """Frames of each channel for utterances of these many feature frames."""
        if self.mixture:
            lengths_B = self.mixture.output_lengths(lengths_B)
        return self._encoders()[0].output_lengths(lengths_B) if self.channels else lengths_B

    def copy_first_channel(self) -> None:
        """Let the second channel begin where the first is (after pre-training on single talkers).

        Our reading: the paper pre-trains one separation encoder and does not say how the second
        begins.
        """
        if self.channels:
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
        each = frames if len(frames) == NUM_CHANNELS else frames * NUM_CHANNELS
        pairs = zip(self.gates, each, strict=True)
        gates_SGF = torch.cat([torch.sigmoid(gate(own)) for gate, own in pairs])
        gates_STF = gates_SGF.unflatten(2, (self.config.joined, self.dim)).flatten(1, 2)
        mixture_BTF = groups_BGF.unflatten(2, (self.config.joined, self.dim)).flatten(1, 2)
        mixture_STF = torch.cat([mixture_BTF] * NUM_CHANNELS)
        if self.channels:
            return Separated(self.floor_F + gates_STF * (mixture_STF - self.floor_F), gates_STF)
        shared_STF = mixture_STF + self.nat_F * gates_STF.clamp(min=_LEAST_SHARE).log()
        lowest_STF = mixture_STF.clamp(max=self.config.floor)
        return Separated(shared_STF.maximum(lowest_STF), gates_STF)

    def _make_gates(self, dim: int, feature_dim: int) -> nn.ModuleList:
        """A gate for each channel, half or nearly open."""
        config = self.config
        if self.channels:
            self.floor_F = nn.Parameter(torch.full((feature_dim,), config.floor))
            gates = [nn.Linear(dim, feature_dim * config.joined) for _ in range(NUM_CHANNELS)]
            for gate in gates:
                nn.init.constant_(gate.bias, _OPEN)
            return nn.ModuleList(gates)
        if not isinstance(config.mixture, BandSplitConfig):
            raise ConfigError(
                "Without separation encoders the mixture encoder must split bands, got "
                f"{config.mixture.kind if config.mixture else None!r}.",
                hint="Give a band-split mixture encoder, or separation encoders.",
            )
        expect_width("Its frames", config.mixture.joined, config.joined, "`joined`")
        self.nat_F: Tensor
        self.register_buffer("nat_F", torch.ones(feature_dim))
        return nn.ModuleList([BandMasks(config.mixture) for _ in range(NUM_CHANNELS)])

    def _encoders(self) -> list[Encoder]:
        return list(self.channels)  # pyright: ignore[reportReturnType]


def real_frames(lengths_B: Tensor, num_frames: int) -> Tensor:
    """Which frames of padded utterances are real, (B, T)."""
    return torch.arange(num_frames, device=lengths_B.device) < lengths_B[:, None]


def expect_width(part: str, width: int, given: int, what: str) -> None:
    """Say so if a part is not as wide as what it hears.

    Raises:
        ConfigError: It is not.
    """
    if width != given:
        raise ConfigError(f"{part} must be as wide as {what}, got {width} and {given}.")
