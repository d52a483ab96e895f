# SPDX-License-Identifier: Apache-2.0
"""Recipes: functions that return a whole training config."""

from collections.abc import Callable

from evenear.errors import ConfigError, nearest_names
from evenear.recipes import convrnnt, duo, english, english_small, speaker
from evenear.training.runs.moments import MomentsTrainingConfig
from evenear.training.settings import TrainingConfig
from evenear.training.tasks.separator import TwoTalkerConfig
from evenear.training.tasks.speaker import SpeakerTrainingConfig

__all__ = ["RECIPES", "AnyTrainingConfig", "recipe"]

AnyTrainingConfig = TrainingConfig | SpeakerTrainingConfig | MomentsTrainingConfig | TwoTalkerConfig
"""A run of any task."""

RECIPES: dict[str, Callable[[], AnyTrainingConfig]] = {
    "evenear-en": english.recipe,
    "evenear-en-duo": duo.recipe,
    "evenear-en-duo-hearing": duo.hearing,
    "evenear-en-duo-turns": duo.turns,
    "evenear-en-small": english_small.recipe,
    "evenear-en-small-conformer": english_small.conformer,
    "evenear-en-small-continued": english_small.continued,
    "evenear-en-small-lstm": english_small.lstm,
    "evenear-en-small-words": english_small.words,
    "evenear-en-heads": english.heads,
    "evenear-en-tuned": english.tuned,
    "evenear-speaker": speaker.recipe,
    "evenear-speaker-frames": speaker.frames,
    "evenear-speaker-frames-continued": speaker.continued,
    "evenear-speaker-resnet": speaker.resnet,
    "tiny": english_small.tiny,
    "tiny-duo": duo.tiny,
    "tiny-speaker": speaker.tiny,
    **{f"convrnnt-{name}": variant for name, variant in convrnnt.VARIANTS.items()},
    **{f"convrnnt-{name}": remedy for name, remedy in convrnnt.REMEDIES.items()},
}
"""Every recipe by the name that the command line takes."""


def recipe(name: str) -> AnyTrainingConfig:
    """The config of a named recipe.

    Raises:
        ConfigError: There is no such recipe.
    """
    if name not in RECIPES:
        raise ConfigError(f"There is no recipe {name!r}.", hint=nearest_names(name, RECIPES))
    return RECIPES[name]()
