# SPDX-License-Identifier: Apache-2.0
"""What a repair is: a cohort, a method, how strongly, for how long. One value, saved with results.

Each method has one dial, of which several settings are tried; the rule of `choosing` picks one on
speakers that neither were adapted to nor test.
"""

from typing import Literal, NamedTuple

from pydantic import Field

from evenear.config import config
from evenear.data.batching.augmentation import FrameAugmentation
from evenear.training.mitigation.cohort import CohortRule
from evenear.training.settings import ObjectiveConfig

__all__ = ["METHODS", "Dial", "MethodName", "MitigationConfig"]

MethodName = Literal[
    "ewc",
    "l2sp",
    "fine-tune",
    "fine-tune-all",
    "replay",
    "freeze-encoder",
    "freeze-predictor",
    "adapters",
    "average",
    "oversample",
    "cohort-embedding",
    "oversample-embedding",
    "group-dro",
    "ctc-dro",
]


class Dial(NamedTuple):
    """What is tried of a method."""

    name: str
    """What the setting is called."""
    settings: tuple[float, ...]
    about: str
    """The method in words."""


METHODS: dict[MethodName, Dial] = {
    "ewc": Dial(
        "strength",
        (1.0, 10.0, 100.0, 1000.0),
        "elastic weight consolidation: adapt to the cohort, and pay for moving what others need",
    ),
    "l2sp": Dial(
        "strength",
        (1.0, 10.0, 100.0, 1000.0),
        "adapt to the cohort, and pay for moving any weight alike (L2-SP)",
    ),
    "fine-tune": Dial("rate", (0.1, 0.3, 1.0), "adapt to the cohort, and nothing else"),
    "fine-tune-all": Dial(
        "rate", (0.1, 0.3, 1.0), "adapt to everyone: a control for having trained more"
    ),
    "replay": Dial("share", (0.25, 0.5, 0.75), "adapt to the cohort, mixed with speech of others"),
    "freeze-encoder": Dial(
        "rate", (0.3, 1.0, 3.0), "adapt predictor and joiner to the cohort: what is said"
    ),
    "freeze-predictor": Dial(
        "rate", (0.1, 0.3, 1.0), "adapt encoder and joiner to the cohort: how it sounds"
    ),
    "adapters": Dial(
        "rate", (1.0, 3.0, 10.0), "adapt low-rank additions to the matrices, then add them (LoRA)"
    ),
    "average": Dial(
        "weight", (0.25, 0.5, 0.75), "fine-tune, then average the weights of before and after"
    ),
    "oversample": Dial("ratio", (2.0, 4.0, 8.0), "train on everyone, the cohort so often"),
    "cohort-embedding": Dial(
        "rate", (0.1, 0.3, 1.0), "train on everyone, and tell the encoder who is in the cohort"
    ),
    "oversample-embedding": Dial("ratio", (2.0, 4.0, 8.0), "both of these"),
    "group-dro": Dial("step", (0.003, 0.01, 0.03), "train on everyone, the worse side weighs more"),
    "ctc-dro": Dial("step", (0.003, 0.01, 0.03), "the same, with losses compared second by second"),
}
"""Every method, its dial and the settings that are tried unless others are asked for."""


@config
class MitigationConfig:
    """A repair."""

    cohort: CohortRule
    method: MethodName
    settings: tuple[float, ...]
    """Settings of the method's dial to try."""
    seed: int = 0
    updates: int = Field(default=200, ge=1)
    rate: float = Field(default=2e-4, gt=0)
    """The highest learning rate; where the dial is a rate, it multiplies this."""
    batch_seconds: float = Field(default=30.0, gt=0)
    """Speech in a batch."""
    tuning_share: float = Field(default=0.2, gt=0, lt=1)
    test_share: float = Field(default=0.4, gt=0, lt=1)
    copies: int = Field(default=2, ge=1)
    """Times that adaptation speech is stored: once as it is, else varied."""
    fisher_utterances: int = Field(default=400, ge=1)
    """Adaptation utterances of everyone that the Fisher information is estimated on, at most."""
    rank: int = Field(default=8, ge=1)
    """Rank of adapters."""
    unknown_chance: float = Field(default=0.15, ge=0, lt=1)
    """Chance that a cohort embedding is not told who speaks, so that it need not be later."""
    keep_share: float = Field(default=0.5, ge=0, le=1)
    """Share of machine-transcribed utterances that are kept, the surest first."""
    overall_margin: float = Field(default=0.005, ge=0)
    """By how much, relatively, everyone's errors on tuning speakers may grow at most."""
    layers: int | None = Field(default=None, ge=0)
    """Encoder layers that adapt, from the last on, over what the lower ones heard once; 0: heads
    alone; None: all, which hear the speech anew in each update."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of encoder and joiner while adapting."""
    objective: ObjectiveConfig = ObjectiveConfig()
    augmentation: FrameAugmentation | None = FrameAugmentation()

    @property
    def needs_fisher(self) -> bool:
        """Whether the method asks what others need."""
        return self.method == "ewc"
