# SPDX-License-Identifier: Apache-2.0
"""The plain mean of the weights of several models, which often hears better than each of them.

The models must be relatives: stages or checkpoints of one training. Unrelated models of one shape
have a mean that hears nothing.

Source: Wortsman et al. 2022, "Model soups", arXiv:2203.05482 (the uniform soup).
"""

import copy
from collections.abc import Sequence

import torch

from evenear.checkpoint import Bundle
from evenear.errors import CheckpointError, ConfigError
from evenear.models.transducer import Transducer

__all__ = ["average_models"]


def average_models(bundles: Sequence[Bundle]) -> Transducer:
    """A model whose weights, and statistics, are the mean of those of these models.

    Raises:
        ConfigError: There are fewer than two.
        CheckpointError: They differ in shape, features or tokenizer.
    """
    if len(bundles) < 2:
        raise ConfigError(
            f"An average needs two models or more, got {len(bundles)}.",
            hint="Name the folders of stages or checkpoints of one training.",
        )
    first = bundles[0]
    for other in bundles[1:]:
        for what, one, two in (
            ("shape", first.model.config.structure, other.model.config.structure),
            ("features", first.features, other.features),
            ("word pieces", first.tokenizer.model, other.tokenizer.model),
        ):
            if one != two:
                raise CheckpointError(
                    f"The models {first.name} and {other.name} differ in their {what}.",
                    hint="Only stages or checkpoints of one training can be averaged.",
                )
    mean = copy.deepcopy(first.model)
    states = [bundle.model.state_dict() for bundle in bundles]
    mean.load_state_dict(
        {
            name: torch.stack([state[name].double() for state in states]).mean(dim=0).to(t.dtype)
            for name, t in states[0].items()
        }
    )
    return mean
