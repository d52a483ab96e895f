# SPDX-License-Identifier: Apache-2.0
"""Arbitrators: small networks that look at a frame and say which parts of a large one it needs.

    logit = Output(ReLU(Hidden(frame, asked)))        feed-forward, or two layers of LSTM
    p = sigmoid(logit)                                trained softly at first (phase 1)
    s = (1 - c) p + c sigmoid((logit + noise) / tau)  then with noise, ever harder (phase 2)
    on = logit > 0                                    decided, when it is used

`noise` is the difference of two Gumbel variables, which is logistic; the temperature tau falls and
the contribution c of the noise rises as training goes on. An arbitrator may be told how much of the
computation is asked for, so that one set of weights serves a range.

Legend: B streams or utterances, T frames, N toggles, D width, K blocks, L layers, H hidden units.

Source: Xie et al. 2022, Compute Cost Amortized Transformer, arXiv:2207.02393, sections 2 and 3.
Our reading: frames are normalized before an arbitrator hears them; toggles begin switched on; the
contribution mixes the noisy sample with the noiseless one.
Departs from the paper: what is asked for is an input, a block of frames can decide as one, and what
is off can leave a cheap stand-in.
"""

import contextlib
from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from evenear.config import config
from evenear.nn.recurrent import LstmState, run_layer

__all__ = [
    "Arbitrator",
    "ArbitratorConfig",
    "GateSchedule",
    "Sampling",
    "StandIn",
    "by_block",
    "gumbel_sigmoid",
    "logistic_noise",
]


@config
class ArbitratorConfig:
    """Arbitrators of a stack of layers."""

    kind: Literal["feed-forward", "lstm"] = "feed-forward"
    count: int = Field(default=1, ge=1)
    """Each drives an equal share of the layers and hears what the layers below its share say: 1 is
    the paper's single arbitrator, 2 the dual one."""
    hidden_dim: int = Field(default=128, ge=1)
    asked: bool = True
    """Whether it is told how much computation is asked for."""
    bias: float = 3.0
    """Logit of every toggle before anything is learned."""
    slope: float = 6.0
    """How much more a toggle's logit is where all is asked for than where nothing is, before
    anything is learned; so the dial turns from the first update on."""
    together: bool = False
    """Say one number for all toggles of a frame, as if that much more were asked for there: toggles
    that stand on a ladder then go on and off from its top, and what is behind them can be learned
    for a few dozen sets of modules instead of all. The paper's arbitrators say one for each."""


class Sampling(NamedTuple):
    """How toggles are drawn in training."""

    temperature: float = 1.0
    contribution: float = 0.0
    """Of the noisy sample; the rest is the probability itself."""
    is_hard: bool = False
    """Decide in the forward pass all the same (straight through). Departs from the paper."""


@config
class GateSchedule:
    """Temperature and contribution over a phase of training."""

    first_temperature: float = Field(default=1.0, gt=0)
    last_temperature: float = Field(default=1e-5, gt=0)
    first_contribution: float = Field(default=0.0, ge=0, le=1)
    last_contribution: float = Field(default=1.0, ge=0, le=1)
    hard: bool = False
    """Straight through; departs from the paper."""

    def at(self, progress: float) -> Sampling:
        """How to sample when this part (0 to 1) of the phase is over; both go in a line."""
        gone = min(max(progress, 0.0), 1.0)
        temperature = (1 - gone) * self.first_temperature + gone * self.last_temperature
        contribution = (1 - gone) * self.first_contribution + gone * self.last_contribution
        return Sampling(temperature, contribution, self.hard)


class Arbitrator(nn.Module):
    """Gives the logits of N toggles for each frame.

    Args:
        config: Its kind and size.
        dim: Width of a frame.
        num_toggles: Toggles that it drives.
    """

    def __init__(self, config: ArbitratorConfig, dim: int, num_toggles: int) -> None:
        super().__init__()
        self.config, self.dim, self.num_toggles = config, dim, num_toggles
        width = dim + config.asked
        if config.kind == "lstm":
            hidden = config.hidden_dim
            widths = (width, hidden)
            self.layers = nn.ModuleList(nn.LSTM(each, hidden, batch_first=True) for each in widths)
        else:
            self.layers = nn.ModuleList([nn.Linear(width, config.hidden_dim)])
        self.output = nn.Linear(config.hidden_dim, 1 if config.together else num_toggles)
        nn.init.constant_(self.output.bias, 0.0 if config.together else config.bias)
        self.bias_N = None
        if config.together:
            nn.init.zeros_(self.output.weight)
            self.bias_N = nn.Parameter(torch.full((num_toggles,), config.bias))
        slopes = torch.full((num_toggles,), config.slope) if config.asked else None
        self.slope_N = None if slopes is None else nn.Parameter(slopes)

    @property
    def macs_per_frame(self) -> int:
        """Its multiply-accumulates for a frame."""
        return sum(p.numel() for p in self.parameters() if p.ndim > 1)

    def initial_state(self, batch_size: int) -> LstmState:
        """Nothing heard yet; an LSTM of no layers remembers nothing."""
        num_layers = len(self.layers) if self.config.kind == "lstm" else 0
        shape = (batch_size, num_layers, self.config.hidden_dim)
        weight = self.output.weight
        return LstmState(weight.new_zeros(shape), weight.new_zeros(shape))

    def step(self, x_BTD: Tensor, asked_B: Tensor, state: LstmState) -> tuple[Tensor, LstmState]:
        """The logits (B, T, N) of frames, in float32, and the state.

        Args:
            x_BTD: The frames.
            asked_B: The share of the computation that each stream asks for.
            state: What it remembers.
        """
        device = x_BTD.device.type
        wide = torch.autocast(device, enabled=False)
        with wide if torch.is_autocast_enabled(device) else contextlib.nullcontext():
            hidden_BTD = F.layer_norm(x_BTD.float(), (self.dim,))
            if self.config.asked:
                asked_BT1 = asked_B[:, None, None].to(hidden_BTD).expand(-1, x_BTD.shape[1], 1)
                hidden_BTD = torch.cat([hidden_BTD, asked_BT1], dim=2)
            if self.config.kind == "feed-forward":
                said_BTN = self.output(F.relu(self.layers[0](hidden_BTD)))
                return self._turned(said_BTN, asked_B), state
            hiddens, cells = [], []
            for number, lstm in enumerate(self.layers):
                before = state.hidden_BLH[:, number], state.cell_BLH[:, number]
                hidden_BTD, hidden_BH, cell_BH = run_layer(lstm, hidden_BTD, *before)  # pyright: ignore[reportArgumentType]
                hiddens.append(hidden_BH)
                cells.append(cell_BH)
            after = LstmState(torch.stack(hiddens, dim=1), torch.stack(cells, dim=1))
            return self._turned(self.output(hidden_BTD), asked_B), after

    def of_block(
        self, x_1TD: Tensor, asked: float, state: LstmState
    ) -> tuple[list[float], LstmState]:
        """The means of a block's logits, as numbers: what `step` gives, with less around it."""
        if self.config.kind == "lstm":
            logits_1TN, state = self.step(x_1TD, x_1TD.new_tensor([asked]), state)
            return logits_1TN.mean(dim=1)[0].tolist(), state
        hears = self.layers[0]
        assert isinstance(hears, nn.Linear), "feed-forward arbitrators hear through one layer"
        hidden_TD, weight_HD, bias_H = F.layer_norm(x_1TD[0], (self.dim,)), hears.weight, hears.bias
        if self.config.asked:
            bias_H = bias_H + asked * weight_HD[:, -1]
            weight_HD = weight_HD[:, :-1]
        said = self.output(F.relu(F.linear(hidden_TD, weight_HD, bias_H)).mean(dim=0)).tolist()
        slopes = [0.0] * self.num_toggles if self.slope_N is None else self.slope_N.tolist()
        if self.bias_N is None:
            return [a + b * (asked - 0.5) for a, b in zip(said, slopes, strict=True)], state
        slopes = [1.0] * self.num_toggles if self.slope_N is None else slopes
        level = said[0] + asked - 0.5
        return [a * level + b for a, b in zip(slopes, self.bias_N.tolist(), strict=True)], state

    def _turned(self, said_BTN: Tensor, asked_B: Tensor) -> Tensor:
        """Logits, from what is said (B, T, 1 or N) and from what is asked for."""
        more_B11 = asked_B.to(said_BTN)[:, None, None] - 0.5
        if self.bias_N is not None:
            slope_N = 1.0 if self.slope_N is None else self.slope_N
            return slope_N * (said_BTN + more_B11) + self.bias_N
        return said_BTN if self.slope_N is None else said_BTN + self.slope_N * more_B11

    def set_biases(self, biases_N: Tensor) -> None:
        """Let toggles begin with these logits."""
        (self.output.bias if self.bias_N is None else self.bias_N).data.copy_(biases_N)


class StandIn(nn.Module):
    """What is added in place of a module that is off: a narrow way through. It begins at zero.

    Args:
        dim: Width of a frame.
        narrow_dim: Width of the way.
    """

    def __init__(self, dim: int, narrow_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.down = nn.Linear(dim, narrow_dim)
        self.up = nn.Linear(narrow_dim, dim)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    @property
    def macs_per_frame(self) -> int:
        """Its multiply-accumulates for a frame."""
        return self.down.weight.numel() + self.up.weight.numel()

    def forward(self, x: Tensor) -> Tensor:
        """What stands in for the module at frames (…, D)."""
        return self.up(F.relu(self.down(self.norm(x))))


def logistic_noise(like: Tensor) -> Tensor:
    """Differences of two Gumbel variables, from torch's global generator."""
    uniform = torch.rand_like(like).clamp(1e-6, 1 - 1e-6)
    return uniform.log() - (-uniform).log1p()


def gumbel_sigmoid(logits: Tensor, noise: Tensor, sampling: Sampling) -> Tensor:
    """Toggles between 0 and 1, through which gradients flow."""
    contribution = sampling.contribution
    soft = torch.sigmoid(logits)
    if contribution:
        noisy = torch.sigmoid((logits + noise) / sampling.temperature)
        soft = (1 - contribution) * soft + contribution * noisy
    if sampling.is_hard:
        return (soft > 0.5).to(soft) + (soft - soft.detach())
    return soft


def by_block(logits_BTN: Tensor, block: int, frames_B: Tensor | None) -> Tensor:
    """Let each block of frames decide as one: by the mean of its real frames' logits.

    Args:
        logits_BTN: Logits of frames; the first is the first of a block.
        block: Frames of a block; the last one may have fewer.
        frames_B: How many frames of each utterance are real; None: all.
    """
    num_frames = logits_BTN.shape[1]
    block = min(block, max(num_frames, 1))
    real_BT1 = torch.ones_like(logits_BTN[:, :, :1])
    if frames_B is not None:
        places_T = torch.arange(num_frames, device=logits_BTN.device)
        real_BT1 = (places_T < frames_B[:, None])[:, :, None].to(logits_BTN)
    missing = -num_frames % block

    def summed(x_BTN: Tensor) -> Tensor:
        return F.pad(x_BTN, (0, 0, 0, missing)).unflatten(1, (-1, block)).sum(dim=2)

    mean_BKN = summed(logits_BTN * real_BT1) / summed(real_BT1).clamp_min(1)
    return mean_BKN.repeat_interleave(block, dim=1)[:, :num_frames]
