# SPDX-License-Identifier: Apache-2.0
"""What training minimizes: the transducer loss and its relatives."""

from evenear.losses.transducer import packed_transducer_loss, transducer_loss

__all__ = ["packed_transducer_loss", "transducer_loss"]
