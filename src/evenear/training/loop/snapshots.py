# SPDX-License-Identifier: Apache-2.0
"""All that a run needs to go on as if it had never stopped, in one file, whole or absent."""

import contextlib
import json
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from evenear.atomic import writing
from evenear.config import from_json, to_json
from evenear.errors import CheckpointError, ConfigError

__all__ = ["Snapshot", "changed_settings", "expect_settings", "load_snapshot", "save_snapshot"]


@dataclass
class Snapshot:
    """A run between two updates."""

    config_json: str
    identity: str
    """A digest of what the epochs are planned from."""
    update: int
    epoch: int
    next_batch: int
    model: dict[str, Any]
    average: dict[str, Any]
    optimizers: list[dict[str, Any]]
    task: dict[str, Any] = field(default_factory=dict)
    """What the task adds: an adversary, centroids, a Fisher matrix."""
    best_score: float | None = None
    history: list[dict[str, float]] = field(default_factory=list)
    heard_seconds: float = 0.0
    threads: int = 1
    """Threads that were computed with; the last bits of a sum depend on them."""


def changed_settings(before: str, after: str) -> dict[str, tuple[str, str]]:
    """Settings that differ between two configs as JSON: their values before and after, by path."""
    one, two = _flat(json.loads(before)), _flat(json.loads(after))
    return {
        name: (one.get(name, "absent"), two.get(name, "absent"))
        for name in sorted(one.keys() | two.keys())
        if one.get(name) != two.get(name)
    }


def expect_settings(
    snapshot: Snapshot, config_json: str, folder: Path, kind: type[Any] | None = None
) -> None:
    """Refuse to go on with other settings. A run that came to its end may get more updates.

    Args:
        snapshot: The run to go on with.
        config_json: The settings to go on with.
        folder: Where the snapshot is, for the message.
        kind: The config's class; settings that it got since the snapshot was written have their
            defaults there, which change nothing.

    Raises:
        CheckpointError: Some differ; the message names each, with both values.
    """
    before = snapshot.config_json
    if kind is not None:
        with contextlib.suppress(ConfigError):
            before = to_json(from_json(kind, before))
    changed = changed_settings(before, config_json)
    if set(changed) == {"num_updates"}:
        was, now = map(int, changed["num_updates"])
        if snapshot.update >= was and now > was:
            return
    if changed:
        each = (f"{name} was {was} and is {now}" for name, (was, now) in changed.items())
        raise CheckpointError(
            f"The snapshot in {folder} is of a run with other settings: {'; '.join(each)}.",
            hint="Resume with the recipe, --set and --seed that it was started with. Only a run "
            "that came to its end may be given a larger num_updates.",
        )


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


def _flat(value: Any, path: str = "") -> dict[str, str]:
    """The leaves of a JSON value, by their path."""
    if not isinstance(value, dict) or not value:
        return {path: json.dumps(value)}
    return {
        name: leaf
        for key, part in value.items()
        for name, leaf in _flat(part, f"{path}.{key}" if path else key).items()
    }
