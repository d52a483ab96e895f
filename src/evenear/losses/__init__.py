# SPDX-License-Identifier: Apache-2.0
"""What training minimizes: the transducer loss and its relatives."""

from evenear.losses.transducer.loss import packed_transducer_loss, transducer_loss
from evenear.losses.transducer.pruned import (
    SimpleLoss,
    prune_ranges,
    pruned_transducer_loss,
    simple_transducer_loss,
    window,
)

__all__ = [
    "SimpleLoss",
    "packed_transducer_loss",
    "prune_ranges",
    "pruned_transducer_loss",
    "simple_transducer_loss",
    "transducer_loss",
    "window",
]
