# SPDX-License-Identifier: Apache-2.0
"""What training minimizes: the transducer loss and its relatives."""

from evenear.losses.pruned import (
    SimpleLoss,
    prune_ranges,
    pruned_transducer_loss,
    simple_transducer_loss,
    window,
)
from evenear.losses.transducer import packed_transducer_loss, transducer_loss

__all__ = [
    "SimpleLoss",
    "packed_transducer_loss",
    "prune_ranges",
    "pruned_transducer_loss",
    "simple_transducer_loss",
    "transducer_loss",
    "window",
]
