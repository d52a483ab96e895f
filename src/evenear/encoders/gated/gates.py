# SPDX-License-Identifier: Apache-2.0
"""What is switched of a Transformer with gates, and what a pass through its layers asks it.

Legend: B streams or utterances.
"""

from typing import Any, Literal, Protocol

from pydantic import Field
from torch import Tensor

from evenear.config import config
from evenear.encoders.gated.layer import StandIns
from evenear.encoders.gated.speech import SpeechGateConfig
from evenear.encoders.transformer import TransformerConfig, TransformerLayer
from evenear.nn.gate import Arbitrator, ArbitratorConfig

__all__ = ["GateConfig", "Gated", "GatedSettings"]


@config
class GateConfig:
    """What is switched, by whom, and how finely."""

    arbitrators: ArbitratorConfig = ArbitratorConfig()
    attention: Literal["queries", "keys", "both", "none"] = "both"
    """What of attention is switched; the feed-forward module always is."""
    each_head: bool = False
    """Switch heads apart, as the paper does; one switch for all of them is easier to skip."""
    by_block: bool = True
    """A block of frames decides as one; False: each frame by itself, as in the paper."""
    ff_parts: int = Field(default=1, ge=1)
    """Equal parts of a feed-forward module that are switched; those behind one that is off are off,
    too. The paper has one."""
    adapter_rank: int = Field(default=0, ge=0)
    """Rank of what is added to the layers' matrices for streams that do not ask for all; 0: they
    compute with the same matrices."""
    stand_in_dim: int = Field(default=0, ge=0)
    """Width of what stands in for a module that is off; 0: nothing does, as in the paper."""
    compute: float = Field(default=1.0, ge=0, le=1)
    """The share of the computation that a stream asks for unless it says otherwise."""
    speech: SpeechGateConfig | None = None
    """The network that tells what need not be heard at all; None: everything is."""
    least: float = Field(default=0.2, ge=0, le=1)
    """The least share that is trained for."""


class GatedSettings(Protocol):
    """Settings of a Transformer with gates."""

    @property
    def backbone(self) -> TransformerConfig:
        """Of the Transformer."""
        ...

    @property
    def gates(self) -> GateConfig:
        """Of the gates around it."""
        ...


class Gated(Protocol):
    """A Transformer with gates, as a pass through its layers sees it."""

    starts: list[int]
    """The first layer of each arbitrator's share."""
    skips: bool
    """Whether what is off is left out, or computed and masked."""

    @property
    def config(self) -> GatedSettings:
        """Its settings."""
        ...

    @property
    def toggles_per_layer(self) -> int:
        """Toggles of a layer."""
        ...

    def told(self, asked_B: Tensor) -> Tensor:
        """What arbitrators are told for what is asked."""
        ...

    def told_number(self, asked: float) -> float:
        """The same, of one stream."""
        ...

    def each_arbitrator(self) -> list[Arbitrator]:
        """The arbitrators, from below."""
        ...

    def thrifty_layer(self, number: int) -> TransformerLayer:
        """A layer as it computes for those who ask for less than all."""
        ...

    def stand_ins_of(self, number: int) -> StandIns | None:
        """What stands in for what is off in a layer, if anything does."""
        ...

    def dense_macs(self, seen: float | Tensor) -> tuple[int, Any]:
        """Multiply-accumulates of a frame: of the convolutions, and all, where it sees so many."""
        ...
