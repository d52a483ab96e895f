# SPDX-License-Identifier: Apache-2.0
"""A detector of voice and of ends of turns as one folder.

weights.safetensors    the weights, matrices in float16
config.json            kind "voice", the network, its features and from where on it is voice
card.md                what it was trained on, what it can and cannot do
provenance.json        settings, speech, seed, device and hours it came from
manifest.json          size and SHA-256 of every other file
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from evenear.checkpoint.folders import CONFIG
from evenear.checkpoint.listeners import ListenerFolder, write_listener
from evenear.config import from_dict
from evenear.errors import CheckpointError, ConfigError
from evenear.features import FeatureConfig
from evenear.models.voice import VoiceConfig, VoiceModel

__all__ = ["VOICE", "VoiceBundle", "load_voice", "save_voice"]

VOICE = "voice"
"""The kind that such a folder says it holds."""


@dataclass(frozen=True, kw_only=True)
class VoiceBundle:
    """Everything that a folder holds, ready to listen."""

    model: VoiceModel
    """In evaluation mode, float32."""
    features: FeatureConfig
    card: str = ""
    name: str = "voice"
    """The name of the folder."""
    version: str = ""
    """Digest of weights and settings."""
    provenance: Mapping[str, Any] = field(default_factory=dict)


def save_voice(
    folder: str | Path,
    *,
    model: VoiceModel,
    features: FeatureConfig,
    card: str = "",
    provenance: Mapping[str, Any] | None = None,
    dtype: Literal["float32", "float16"] = "float16",
) -> None:
    """Write a detector to a folder, replacing what is there only when all is written.

    Raises:
        CheckpointError: The features do not fit the network, or the folder cannot be written.
    """
    _check_fit(model.config, features)
    write_listener(
        folder,
        VOICE,
        model=model,
        network=model.config,
        features=features,
        card=card,
        provenance=provenance,
        dtype=dtype,
    )


def load_voice(name_or_folder: str | Path) -> VoiceBundle:
    """Read a detector from a folder, or a shipped one by its name.

    Raises:
        CheckpointError: There is none, a file is missing or damaged, or the weights belong to
            another network.
    """
    there = ListenerFolder.read(name_or_folder, VOICE)
    try:
        network = from_dict(VoiceConfig, there.settings.get("voice", {}))
        features = from_dict(FeatureConfig, there.settings.get("features", {}))
    except ConfigError as error:
        raise CheckpointError(
            f"{there.folder / CONFIG} is of another version of evenear: {error}"
        ) from None
    _check_fit(network, features)
    with torch.random.fork_rng(devices=[]):
        model = VoiceModel(network)
    there.fill(model)
    return VoiceBundle(
        model=model.eval(),
        features=features,
        card=there.card,
        name=there.folder.name,
        version=there.version,
        provenance=there.provenance,
    )


def _check_fit(network: VoiceConfig, features: FeatureConfig) -> None:
    if network.num_mel_bins != features.dim:
        raise CheckpointError(
            f"The network listens to frames {network.num_mel_bins} wide; these are "
            f"{features.dim} wide.",
            hint="Keep a network with the features that it was trained on.",
        )
