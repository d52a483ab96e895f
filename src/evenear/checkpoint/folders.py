# SPDX-License-Identifier: Apache-2.0
"""Folders of models of any kind: whole or absent, every byte checked.

    manifest.json          size and SHA-256 of every other file
    config.json            the kind of model, and all that decides its shape
    …                      what the kind needs besides

A folder is written beside its target and renamed into place, and the old one is removed last.
Reading checks every byte against the manifest, so a damaged or mixed-up folder is named as such and
never half loaded.
"""

import hashlib
import importlib.resources
import json
import os
import secrets
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from evenear.errors import CheckpointError, nearest_names

__all__ = [
    "CONFIG",
    "FORMAT",
    "RECOGNIZER",
    "find_folder",
    "read_folder",
    "read_json",
    "read_kind",
    "shipped_folder",
    "shipped_models",
    "write_folder",
]

FORMAT = 1
"""The version of the layout."""
CONFIG = "config.json"
RECOGNIZER = "recognizer"
"""The kind of a folder that says none: the first there was."""
_MANIFEST = "manifest.json"


def shipped_models(kind: str | None = RECOGNIZER) -> list[str]:
    """Names of the models inside this package, of one kind or (None) of all."""
    root = importlib.resources.files("evenear") / "shipped"
    if not root.is_dir():
        return []
    found = sorted(child.name for child in root.iterdir() if (child / _MANIFEST).is_file())
    return [name for name in found if kind is None or read_kind(shipped_folder(name)) == kind]


def find_folder(name_or_folder: str | Path, *, kind: str = RECOGNIZER) -> Path:
    """The folder of a model: as given, just replaced, or shipped.

    Raises:
        CheckpointError: There is none, or it holds a model of another kind.
    """
    folder = Path(name_or_folder)
    if not folder.is_dir():
        if _previous(folder).is_dir():  # a save was cut off between two renames
            folder = _previous(folder)
        elif str(name_or_folder) in shipped_models(None):
            folder = shipped_folder(str(name_or_folder))
        else:
            shipped = shipped_models(kind)
            hint = "Give the folder that a training run wrote."
            if shipped:
                hint = nearest_names(str(name_or_folder), shipped)
            raise CheckpointError(
                f"There is no model {str(name_or_folder)!r}: neither a folder nor one of the "
                f"shipped models ({', '.join(shipped) or 'this installation has none'}).",
                hint=hint,
            )
    found = read_kind(folder)
    if found != kind:
        raise CheckpointError(
            f"{folder.name} is a {found}, where a {kind} is needed.",
            hint=f"Shipped: {', '.join(shipped_models(kind)) or 'none of this kind'}.",
        )
    return folder


def read_kind(folder: Path) -> str:
    """What kind of model a folder says it holds; `read_folder` says what cannot be read."""
    try:
        said = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return RECOGNIZER
    return str(said.get("kind", RECOGNIZER)) if isinstance(said, dict) else RECOGNIZER


def read_json(path: Path, content: bytes) -> dict[str, Any]:
    """The JSON object that a file holds.

    Raises:
        CheckpointError: It holds something else.
    """
    try:
        value = json.loads(content)
    except ValueError as error:
        raise CheckpointError(f"{path} is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} must hold a JSON object, got {type(value).__name__}.")
    return value


def shipped_folder(name: str) -> Path:
    """Where a shipped model of this name lies, or would."""
    return Path(str(importlib.resources.files("evenear") / "shipped" / name))


def _previous(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.previous")


def read_folder(folder: Path, needed: Collection[str]) -> dict[str, bytes]:
    """Every file of a folder's manifest, checked byte by byte.

    Raises:
        CheckpointError: The folder is no model, one of the `needed` files is missing, or a file is
            damaged.
    """
    again = "Copy the folder again, or train or download the model again."
    manifest_path = folder / _MANIFEST
    if not manifest_path.is_file():
        raise CheckpointError(
            f"{folder} is no model: it has no {_MANIFEST}.",
            hint="Give the folder that a training run wrote.",
        )
    listed = read_json(manifest_path, manifest_path.read_bytes()).get("files")
    if not isinstance(listed, dict) or not set(needed) <= listed.keys():
        raise CheckpointError(f"{manifest_path} does not list the files of a model.", hint=again)
    files = {}
    for name, facts in listed.items():
        path = folder / Path(name).name
        if not path.is_file():
            raise CheckpointError(f"{path} is missing.", hint=again)
        files[name] = path.read_bytes()
        if facts != _facts(files[name]):
            raise CheckpointError(
                f"{path} is damaged: its content does not have the SHA-256 that {_MANIFEST} says.",
                hint=again,
            )
    return files


def _facts(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files to a folder beside `folder`, then put it in place of an older model.

    Raises:
        CheckpointError: It cannot be written, or `folder` holds something else than a model; what
            was there before is unharmed.
    """
    manifest = {"format": FORMAT, "files": {name: _facts(files[name]) for name in sorted(files)}}
    folder = folder.resolve()  # a link stays a link
    _check_replaceable(folder)
    beside = f".{folder.name}.writing-"
    temporary = folder.with_name(beside + secrets.token_hex(4))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for left in folder.parent.iterdir():  # by a save that was killed
            if left.name.startswith(beside):
                shutil.rmtree(left, ignore_errors=True)
        temporary.mkdir()
        for name, content in files.items():
            _write_file(temporary / name, content)
        _write_file(temporary / _MANIFEST, (json.dumps(manifest, indent=2) + "\n").encode())
        _sync_folder(temporary)
        _put_in_place(temporary, folder)
    except OSError as error:
        raise CheckpointError(
            f"The model could not be written to {folder}: {error}.",
            hint="What was there before is unharmed. Free some space, or give another folder.",
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_replaceable(folder: Path) -> None:
    """Refuse to put a model in the place of something else."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise CheckpointError(f"{folder} must be a folder, but it is a file.")
    found = sorted(path.name for path in folder.iterdir())
    if found and _MANIFEST not in found:
        raise CheckpointError(
            f"{folder} holds something else than a model ({', '.join(found[:3])}), which a model "
            "there would replace.",
            hint="Give a new folder, or that of an older model.",
        )


def _put_in_place(temporary: Path, folder: Path) -> None:
    """Rename a finished folder to its name; at each moment one whole folder can be found.

    What somebody else put beside the model's files moves along.
    """
    previous = _previous(folder)
    replaced = _files_of(folder) | _files_of(temporary)
    if folder.exists():
        shutil.rmtree(previous, ignore_errors=True)
        folder.rename(previous)
    try:
        temporary.rename(folder)
    except OSError:
        if previous.exists():
            previous.rename(folder)
        raise
    if previous.exists():
        for path in previous.iterdir():
            if path.name not in replaced:
                path.rename(folder / path.name)
    _sync_folder(folder.parent)
    shutil.rmtree(previous, ignore_errors=True)


def _files_of(folder: Path) -> set[str]:
    """The files of a model, as its manifest lists them, and the manifest."""
    try:
        listed = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return {_MANIFEST}
    return {_MANIFEST, *listed}


def _write_file(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make renames survive a power cut, where the system lets one sync a folder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
