# SPDX-License-Identifier: Apache-2.0
"""All that a run needs to go on as if it had never stopped, in one file, whole or absent."""

import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from evenear.atomic import writing
from evenear.errors import CheckpointError

__all__ = ["Snapshot", "load_snapshot", "save_snapshot"]


@dataclass
class Snapshot:
    """A run between two updates."""

    config_json: str
    speech: str
    """A digest of what the epochs are planned from."""
    update: int
    epoch: int
    next_batch: int
    model: dict[str, Any]
    average: dict[str, Any]
    optimizers: list[dict[str, Any]]
    best_wer: float | None = None
    history: list[dict[str, float]] = field(default_factory=list)


def save_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Write a snapshot beside `path`, then put it in place; the old one survives a failure.

    Raises:
        CheckpointError: The disk is full or cannot be written.
    """
    try:
        with writing(path) as file:
            torch.save(asdict(snapshot), file)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(
            f"The snapshot could not be written to {path}: {error}.",
            hint="The previous one is unharmed: free some space and go on with --resume.",
        ) from error


def load_snapshot(path: Path) -> Snapshot:
    """Read a snapshot.

    Raises:
        CheckpointError: There is none, or it is damaged.
    """
    if not path.is_file():
        raise CheckpointError(
            f"There is no snapshot at {path}.", hint="Start the run without --resume."
        )
    again = "Begin the run anew with another --out, or delete this file first."
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load does not look at the checksums
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"bad checksum of {damaged}")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"The snapshot {path} is damaged: {error}.", hint=again) from error
    try:
        return Snapshot(**content)
    except TypeError as error:
        raise CheckpointError(
            f"The snapshot {path} is of another version of evenear: {error}.", hint=again
        ) from error
