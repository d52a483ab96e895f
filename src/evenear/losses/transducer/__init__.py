# SPDX-License-Identifier: Apache-2.0
"""The transducer (RNN-T) loss: its lattice, compiled or in torch, and what is read from it."""

from evenear.losses.transducer.loss import packed_transducer_loss, transducer_loss

__all__ = ["packed_transducer_loss", "transducer_loss"]
