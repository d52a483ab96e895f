# SPDX-License-Identifier: Apache-2.0
"""A model folder's card, read and replaced while the rest of the folder stays as it is."""

from pathlib import Path

from evenear.checkpoint.folders import CONFIG, read_folder, write_folder

__all__ = ["CARD", "read_card", "replace_card"]

CARD = "card.md"


def read_card(folder: Path) -> str:
    """The card of a model of any kind; empty if it has none.

    Raises:
        CheckpointError: The folder is no model, or it is damaged.
    """
    return read_folder(folder, (CONFIG,)).get(CARD, b"").decode()


def replace_card(folder: Path, card: str) -> None:
    """Write another card, and its digest into the manifest; every other file stays byte for byte.

    Raises:
        CheckpointError: The folder is no model, is damaged or cannot be written; then it is
            unharmed.
    """
    files = read_folder(folder, (CONFIG,))
    write_folder(folder, {**files, CARD: card.encode()})
