# SPDX-License-Identifier: Apache-2.0
"""A streaming Transformer that computes where the speech is hard, as much as each stream asks for.

    encoder = GatedTransformer.around(dense, GateConfig())      # its weights, unchanged
    state = encoder.ask(encoder.initial_state(2), [1.0, 0.4])   # two listeners, two prices
    encoded_BTD, state = encoder.step(features_BTF, state)
    encoder.spent(state)                                        # the share that each has spent

Arbitrators hear the frames below their layers and switch feed-forward modules, queries and keys of
the layers on and off, frame by frame or block by block. What is off is not computed, whoever shares
the batch. A stream that asks for all of it (1.0) gets the Transformer as it is, and no arbitrator
runs. A table, made by measuring, turns what is asked for into what the arbitrators are told, so
that about that much is spent.

What is counted: multiply-accumulates of the convolutions, of all layers and scores that were
computed, and of the arbitrators; over those of the Transformer without arbitrators.

Legend: B streams or utterances, T feature frames or frames (20 ms), S frames that may be attended
to, P frames of the past, F feature width, D width, H heads, L layers, N toggles of an arbitrator,
K measured points, G points of the table.

Source: Xie et al. 2022, Compute Cost Amortized Transformer, arXiv:2207.02393.
Departs from the paper: blocks may decide as one, a stream may say how much it wants, and
normalization stands before a module as in Whisper (inside the residual branch all the same, so that
a module that is off changes nothing but its bias).
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from evenear.config import config
from evenear.encoders.base import Encoded, Encoder
from evenear.encoders.gated.block import BlockRun
from evenear.encoders.gated.gates import GateConfig
from evenear.encoders.gated.layer import StandIns, Toggles
from evenear.encoders.gated.run import GatedRun, Rule
from evenear.encoders.gated.speech import SpeechGate
from evenear.encoders.gated.state import (
    GatedEncoded,
    GatedState,
    all_encoded,
    joined,
    rows_of,
)
from evenear.encoders.gated.thrift import adapted_layer, as_plain, begin_as
from evenear.encoders.transformer import (
    TransformerConfig,
    TransformerEncoder,
    TransformerLayer,
    TransformerState,
)
from evenear.errors import ConfigError
from evenear.nn.gate import Arbitrator, Sampling

__all__ = ["GatedConfig", "GatedTransformer"]

_GRID = 9
"""Points of the table from what is asked for to what arbitrators are told."""


@config
class GatedConfig:
    """A Transformer with gates."""

    kind: Literal["gated-transformer"] = "gated-transformer"
    backbone: TransformerConfig = TransformerConfig()
    gates: GateConfig = GateConfig()

    @property
    def feature_dim(self) -> int:
        """Width of a feature frame."""
        return self.backbone.feature_dim

    def build(self) -> "GatedTransformer":
        """The encoder, with fresh weights."""
        return GatedTransformer(self)


class GatedTransformer(Encoder):
    """A Transformer encoder whose layers are run in part."""

    def __init__(self, config: GatedConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = TransformerEncoder(config.backbone)
        self.feature_dim, self.dim = self.backbone.feature_dim, self.backbone.dim
        self.stride = self.backbone.stride
        gates, layers = config.gates, config.backbone.num_layers
        count = gates.arbitrators.count
        if count > layers:
            raise ConfigError(f"{count} arbitrators need as many layers, got {layers}.")
        self.starts = [index * layers // count for index in range(count)]
        """The first layer of each arbitrator's share."""
        ends = [*self.starts[1:], layers]
        if config.backbone.ff_dim % gates.ff_parts:
            raise ConfigError(
                f"{gates.ff_parts} equal parts need a feed-forward width that is a multiple of it, "
                f"got {config.backbone.ff_dim}."
            )
        self.thrifty = nn.ModuleList(
            adapted_layer(self._dense_layer(number), config.backbone, gates.adapter_rank)
            for number in range(layers if gates.adapter_rank else 0)
        )
        self.arbitrators = nn.ModuleList(
            Arbitrator(
                gates.arbitrators, config.backbone.dim, (end - start) * self.toggles_per_layer
            )
            for start, end in zip(self.starts, ends, strict=True)
        )
        width, narrow = config.backbone.dim, gates.stand_in_dim
        self.stand_ins = nn.ModuleList(
            StandIns(width, narrow) for _ in range(layers if narrow else 0)
        )
        self.asked_G: Tensor
        self.told_G: Tensor
        self.register_buffer("asked_G", torch.linspace(0, 1, _GRID))
        table_G = torch.linspace(0, 1, _GRID) if gates.arbitrators.asked else torch.zeros(_GRID)
        self.register_buffer("told_G", table_G)
        self.speech = None
        if gates.speech is not None:
            sizes = {"feature_dim": self.feature_dim, "stride": self.stride, "dim": self.dim}
            self.speech = SpeechGate(gates.speech, **sizes)
        self.settled: list[TransformerLayer] = []
        """Layers for those who ask for less, as plain ones, once nothing is learned any more."""
        self.skips = True
        """Whether what is off is left out, or computed and masked."""
        self.sampling = Sampling()
        """How toggles are drawn in training."""

    @classmethod
    def around(cls, dense: TransformerEncoder, gates: GateConfig) -> "GatedTransformer":
        """Put gates around a Transformer; its weights are copied."""
        encoder = cls(GatedConfig(backbone=dense.config, gates=gates))
        encoder.backbone.load_state_dict(dense.state_dict())
        encoder.begin()
        return encoder

    def begin(self) -> None:
        """Let the layers of those who ask for less begin as those of the Transformer."""
        for number in range(len(self.thrifty)):
            begin_as(self._dense_layer(number), self.thrifty_layer(number))

    def thrifty_layer(self, number: int) -> TransformerLayer:
        """A layer as it computes for those who ask for less than all."""
        if not len(self.thrifty):
            return self._dense_layer(number)
        if self.settled and not self.training:
            return self.settled[number]
        return self.thrifty[number]  # pyright: ignore[reportReturnType]

    def settle(self) -> None:
        """Add what was learned to the matrices once and for all: layers then run as dense ones do.

        What is learned later is not heard in evaluation until it is called again.
        """
        thrifty = [self.thrifty[number] for number in range(len(self.thrifty))]
        self.settled = [as_plain(each, self.config.backbone) for each in thrifty]  # pyright: ignore[reportArgumentType]

    def _dense_layer(self, number: int) -> TransformerLayer:
        return self.backbone.layers[number]  # pyright: ignore[reportReturnType]

    @property
    def toggles_per_layer(self) -> int:
        """Toggles of a layer."""
        gates = self.config.gates
        each = self.config.backbone.num_heads if gates.each_head else 1
        return (
            gates.ff_parts + each * {"none": 0, "queries": 1, "keys": 1, "both": 2}[gates.attention]
        )

    @property
    def block_frames(self) -> int:
        """Feature frames of a block."""
        return self.backbone.block_frames

    @property
    def lookahead_frames(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Feature frames beyond its own that an encoder frame depends on."""
        return self.backbone.lookahead_frames

    def set_block(self, block_frames: int) -> None:
        """Encode in blocks of another length from now on, as the Transformer does."""
        self.backbone.set_block(block_frames)

    def initial_state(self, batch_size: int) -> GatedState:
        """The state of streams that have heard nothing."""
        settings = self.config.backbone
        device = self.backbone.norm.weight.device
        heads = settings.num_heads if self.config.gates.each_head else 1
        past = (batch_size, settings.num_layers, settings.left_frames, heads)
        return GatedState(
            self.backbone.initial_state(batch_size),
            tuple(each.initial_state(batch_size) for each in self.each_arbitrator()),
            torch.ones(past, dtype=torch.bool, device=device),
            torch.full((batch_size,), self.config.gates.compute, device=device),
            torch.zeros(batch_size, dtype=torch.float64, device=device),
            torch.zeros(batch_size, dtype=torch.float64, device=device),
        )

    def ask(self, state: GatedState, compute: float | Sequence[float]) -> GatedState:
        """The state of streams that ask for this share of the computation from now on.

        Raises:
            ConfigError: A share is not between 0 and 1.
        """
        asked_B = torch.as_tensor(compute, dtype=torch.float32, device=state.asked_B.device)
        if not ((asked_B >= 0) & (asked_B <= 1)).all():
            raise ConfigError(
                f"The share of the computation must be between 0 and 1, got {compute}.",
                hint="1 computes all; 0.4 about two fifths of it.",
            )
        return state._replace(asked_B=asked_B.expand_as(state.asked_B).clone())

    def spent(self, state: GatedState) -> Tensor:
        """The share (B,) of the dense Transformer's multiply-accumulates that streams have spent.

        What they ask for, where nothing is heard yet.
        """
        share_B = state.spent_B / state.dense_B.clamp_min(1)
        return torch.where(state.dense_B > 0, share_B, state.asked_B.double())

    def step(self, features_BTF: Tensor, state: GatedState) -> tuple[Tensor, GatedState]:
        """Encode the blocks that a chunk of any length completes."""
        rows = self._apart(state.asked_B)
        if rows is not None:
            return joined([self.step(features_BTF[r], rows_of(state, r)) for r in rows], rows)
        if min(state.asked_B.tolist(), default=0) >= 1 and bool(state.present_BLPH.all()):
            return self._dense_step(features_BTF, state)
        waiting = self._waiting(state) + features_BTF.shape[1]
        run = self._run(state, waiting // self.block_frames)
        encoded_BTD, backbone = self.backbone.step(features_BTF, state.backbone, run)
        return encoded_BTD, _after(run, state, backbone)

    def hear(self, features_BTF: Tensor, state: GatedState) -> tuple[Tensor, GatedState]:
        """Encode whatever frames of one stream as one block, where nothing waits in its state."""
        run = self._run(state, 1)
        encoded_BTD, backbone = self.backbone.hear(features_BTF, state.backbone, run=run)
        return encoded_BTD, _after(run, state, backbone)

    def watched(
        self, features_BTF: Tensor, state: GatedState
    ) -> tuple[GatedState, tuple[Toggles, ...]]:
        """What a chunk of whole blocks of one stream makes of its state, and what was on for it."""
        run = GatedRun(self, state.asked_B, state.present_BLPH, state.memories)
        _, backbone = self.backbone.step(features_BTF, state.backbone, run)
        return _after(run, state, backbone), tuple(run.toggles)

    def watched_window(self, features_BTF: Tensor, state: GatedState) -> tuple[Toggles, ...]:
        """What is on where frames of one stream are heard as one block."""
        run = GatedRun(self, state.asked_B, state.present_BLPH, state.memories)
        self.backbone.hear(features_BTF, state.backbone, run=run)
        return tuple(run.toggles)

    def flush(self, state: GatedState) -> Tensor:
        """The frames of the last, incomplete block, if one waits."""
        return self.finish(state)[0]

    def finish(self, state: GatedState) -> tuple[Tensor, GatedState]:
        """The same, and a state that knows what it cost; the stream is over."""
        rows = self._apart(state.asked_B)
        if rows is not None:
            return joined([self.finish(rows_of(state, r)) for r in rows], rows)
        run = self._run(state, 1)
        encoded_BTD = self.backbone.flush(state.backbone, run)
        return encoded_BTD, _after(run, state, state.backbone)

    def encode(self, features_BTF: Tensor, valid_BT: Tensor) -> Tensor:
        """Encode padded utterances; in training each asks for a share drawn at random."""
        gates = self.config.gates
        asked_B = torch.full((len(features_BTF),), gates.compute, device=features_BTF.device)
        if self.training:
            asked_B = gates.least + (1 - gates.least) * torch.rand_like(asked_B)
        lengths_B = valid_BT.sum(dim=1)
        return self.encode_asked(features_BTF, lengths_B, asked_B).encoded.encoded_BTD

    def encode_asked(
        self, features_BTF: Tensor, lengths_B: Tensor, asked_B: Tensor, rule: Rule | None = None
    ) -> GatedEncoded:
        """Encode padded whole utterances, each with the share of the computation it asks for.

        In training, toggles are soft and drawn as `sampling` says; otherwise they are decided, by
        the arbitrators or by a rule given in their place.
        """
        rows = self._apart(asked_B)
        if rows is not None:
            parts = [
                self.encode_asked(features_BTF[r], lengths_B[r], asked_B[r], rule) for r in rows
            ]
            return all_encoded(parts, rows)
        sampling = self.sampling if self.training else None
        state = self.initial_state(len(features_BTF))
        run = GatedRun(self, asked_B, state.present_BLPH, state.memories, sampling, rule)
        places_T = torch.arange(features_BTF.shape[1], device=features_BTF.device)
        encoded_BTD = self.backbone.encode(features_BTF, places_T < lengths_B[:, None], run)
        encoded = Encoded(encoded_BTD, self.output_lengths(lengths_B))
        spent_BT, dense_BT = run.costs()
        return GatedEncoded(encoded, spent_BT, dense_BT, tuple(run.toggles))

    def output_lengths(self, lengths_B: Tensor) -> Tensor:
        """Encoder frames of utterances of these many feature frames."""
        return self.backbone.output_lengths(lengths_B)

    def told(self, asked_B: Tensor) -> Tensor:
        """What arbitrators are told for what is asked: a line between the points of the table."""
        place_B = (asked_B.clamp(0, 1) * (_GRID - 1)).to(self.told_G)
        low_B = place_B.floor().long().clamp_max(_GRID - 2)
        return torch.lerp(self.told_G[low_B], self.told_G[low_B + 1], place_B - low_B)

    def told_number(self, asked: float) -> float:
        """The same, of one stream."""
        table = self.told_G.tolist()
        place = min(max(asked, 0.0), 1.0) * (_GRID - 1)
        low = min(int(place), _GRID - 2)
        return table[low] + (table[low + 1] - table[low]) * (place - low)

    def calibrate(self, told: Sequence[float], spent: Sequence[float]) -> None:
        """Make the table from pairs: what arbitrators were told, and the share then spent."""
        told_K = torch.tensor(told, dtype=torch.float64)
        spent_K = torch.tensor(spent, dtype=torch.float64).cummax(dim=0).values
        place_G = torch.searchsorted(spent_K, self.asked_G.cpu().double()).clamp(1, len(told) - 1)
        low_G, high_G = spent_K[place_G - 1], spent_K[place_G]
        part_G = (self.asked_G.cpu().double() - low_G) / (high_G - low_G).clamp_min(1e-9)
        table_G = torch.lerp(told_K[place_G - 1], told_K[place_G], part_G.clamp(0, 1))
        self.told_G.copy_(table_G)

    def dense_macs(self, seen: float | Tensor) -> tuple[int, Any]:
        """Multiply-accumulates of a frame: of the convolutions, and all, where it sees so many."""
        settings, width = self.config.backbone, self.config.backbone.dim
        stem = 6 * settings.feature_dim * width + 3 * width * width
        layer = 4 * width * width + 2 * width * settings.ff_dim + 2 * width * seen
        return stem, stem + settings.num_layers * layer

    def _dense_step(self, features_BTF: Tensor, state: GatedState) -> tuple[Tensor, GatedState]:
        """The Transformer itself, for streams that ask for all and always did."""
        heard = state.backbone.heard_B.tolist()
        encoded_BTD, backbone = self.backbone.step(features_BTF, state.backbone)
        new = encoded_BTD.shape[1] * self.config.backbone.reduction
        new_B = state.dense_B.new_tensor([self.dense_total(new, each) for each in heard])
        spent_B, dense_B = state.spent_B + new_B, state.dense_B + new_B
        return encoded_BTD, state._replace(backbone=backbone, spent_B=spent_B, dense_B=dense_B)

    def dense_total(self, num_frames: int, heard: int = 0) -> float:
        """Multiply-accumulates of so many frames behind those heard, whole blocks of them."""
        block, left = self.block_frames // 2, self.config.backbone.left_frames
        seen = [min(each, left) + block for each in range(heard, heard + num_frames, block)]
        return sum(block * self.dense_macs(each)[1] for each in seen)

    def _run(self, state: GatedState, num_blocks: int) -> "GatedRun | BlockRun":
        """How to pass through the layers, for so many blocks."""
        gates = self.config.gates
        is_plain = gates.by_block and not gates.each_head and self.skips
        is_one = is_plain and num_blocks == 1 and len(state.asked_B) == 1 and state.asked_B[0] < 1
        kind = BlockRun if is_one else GatedRun
        return kind(self, state.asked_B, state.present_BLPH, state.memories)

    def _waiting(self, state: GatedState) -> int:
        """Feature frames that wait for the rest of their block; of all streams as many."""
        return sum(state.backbone.waiting.count_B[:1].tolist())

    def _apart(self, asked_B: Tensor) -> list[Tensor] | None:
        """Rows that ask for all, and rows that do not, where they compute with other matrices."""
        asked = asked_B.tolist()
        if not len(self.thrifty) or min(asked, default=1) >= 1 or max(asked) < 1:
            return None
        all_B = asked_B >= 1
        return [all_B.nonzero()[:, 0], (~all_B).nonzero()[:, 0]]

    def stand_ins_of(self, number: int) -> StandIns | None:
        """What stands in for what is off in a layer, if anything does."""
        return self.stand_ins[number] if len(self.stand_ins) else None  # pyright: ignore[reportReturnType]

    def each_arbitrator(self) -> list[Arbitrator]:
        """Its arbitrators, from below."""
        return list(self.arbitrators)  # pyright: ignore[reportReturnType]


def _after(run: GatedRun | BlockRun, state: GatedState, backbone: TransformerState) -> GatedState:
    """The state behind what was heard."""
    if run.call is None:
        return state._replace(backbone=backbone)
    spent, dense = run.totals()
    return GatedState(
        backbone,
        tuple(run.memories),
        run.present(state.present_BLPH.shape[2]),
        state.asked_B,
        state.spent_B + spent,
        state.dense_B + dense,
    )
