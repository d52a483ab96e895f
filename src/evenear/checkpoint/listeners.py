# SPDX-License-Identifier: Apache-2.0
"""A network that listens to features, as one folder: what all kinds of such folders have in common.

weights.safetensors    the weights: float32, or matrices in float16
config.json            its kind, the network and the features that it listens to
card.md                what it was trained on, what it can and cannot do
provenance.json        settings, speech, seed, device and hours it came from
manifest.json          size and SHA-256 of every other file
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
from torch import nn

from evenear.checkpoint.folders import (
    CONFIG,
    FORMAT,
    find_folder,
    read_folder,
    read_json,
    write_folder,
)
from evenear.checkpoint.weights import load_weights, stored
from evenear.config import to_dict
from evenear.errors import CheckpointError
from evenear.features import FeatureConfig

__all__ = ["ListenerFolder", "write_listener"]

_WEIGHTS, _CARD, _PROVENANCE = "weights.safetensors", "card.md", "provenance.json"


def write_listener(
    folder: str | Path,
    kind: str,
    *,
    model: nn.Module,
    network: Any,
    features: FeatureConfig,
    card: str,
    provenance: Mapping[str, Any] | None,
    dtype: Literal["float32", "float16"],
) -> None:
    """Write a folder, replacing what is there only when all is written.

    Raises:
        CheckpointError: The folder cannot be written.
    """
    settings = {
        "format": FORMAT,
        "kind": kind,
        kind: to_dict(network),
        "features": to_dict(features),
    }
    files = {
        _WEIGHTS: safetensors.torch.save(stored(model.state_dict(), dtype)),
        CONFIG: (json.dumps(settings, indent=2) + "\n").encode(),
        _CARD: card.encode(),
    }
    if provenance:
        files[_PROVENANCE] = (json.dumps(dict(provenance), indent=2) + "\n").encode()
    write_folder(Path(folder), files)


@dataclass(frozen=True)
class ListenerFolder:
    """What is in such a folder, checked but for the network itself."""

    folder: Path
    settings: Mapping[str, Any]
    files: Mapping[str, bytes]

    @classmethod
    def read(cls, name_or_folder: str | Path, kind: str) -> "ListenerFolder":
        """Read a folder of a kind, or a shipped one by its name.

        Raises:
            CheckpointError: There is none, or a file is missing, damaged or of another version.
        """
        folder = find_folder(name_or_folder, kind=kind)
        files = read_folder(folder, (_WEIGHTS, CONFIG))
        settings = read_json(folder / CONFIG, files[CONFIG])
        if settings.get("format") != FORMAT:
            raise CheckpointError(
                f"{folder} has format {settings.get('format')!r}; this version reads {FORMAT}.",
                hint="Install the version of evenear that wrote it.",
            )
        return cls(folder, settings, files)

    def fill(self, model: nn.Module) -> None:
        """Give a model the weights.

        Raises:
            CheckpointError: They belong to another network.
        """
        load_weights(self.folder, model, self.files[_WEIGHTS])

    @property
    def card(self) -> str:
        """The model card; empty if there is none."""
        return self.files.get(_CARD, b"").decode()

    @property
    def version(self) -> str:
        """Digest of weights and settings."""
        digest = hashlib.sha256(self.files[_WEIGHTS] + self.files[CONFIG]).hexdigest()[:16]
        return f"{self.folder.name}-{digest}"

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Where it came from; empty if nobody wrote it down."""
        return read_json(self.folder / _PROVENANCE, self.files.get(_PROVENANCE, b"{}"))
