# SPDX-License-Identifier: Apache-2.0
"""Models on disk: one folder for any kind of model, weights with their config, card and origin."""

from typing import TYPE_CHECKING

from evenear.lazily import lazily

if TYPE_CHECKING:
    from evenear.checkpoint.bundles import Bundle, load_model, save_model
    from evenear.checkpoint.dials import Dial, put_dial
    from evenear.checkpoint.folders import shipped_models
    from evenear.checkpoint.rescorers import RescorerBundle, put_rescorer

__all__ = [
    "Bundle",
    "Dial",
    "RescorerBundle",
    "load_model",
    "put_dial",
    "put_rescorer",
    "save_model",
    "shipped_models",
]

__getattr__ = lazily(
    __name__,
    {
        "Bundle": "bundles",
        "Dial": "dials",
        "RescorerBundle": "rescorers",
        "load_model": "bundles",
        "put_dial": "dials",
        "put_rescorer": "rescorers",
        "save_model": "bundles",
        "shipped_models": "folders",
    },
)
