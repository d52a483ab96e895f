# SPDX-License-Identifier: Apache-2.0
"""An embedding network of voices as one folder.

    weights.safetensors    the weights: float32, or matrices in float16
    config.json            kind "speaker", the network and the features that it listens to
    card.md                what it was trained on, what it can and cannot do
    provenance.json        settings, speech, seed, device and hours it came from
    manifest.json          size and SHA-256 of every other file

The version of a model is a digest of its weights and settings: templates of one version are not to
be compared with embeddings of another.
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
from evenear.models.moments import MomentsConfig, MomentsModel
from evenear.models.speaker import SpeakerConfig, SpeakerModel

__all__ = ["SPEAKER", "SpeakerBundle", "VoiceModel", "load_speaker", "save_speaker"]

VoiceModel = SpeakerModel | MomentsModel
"""Either turns frames into a unit vector, whole or chunk by chunk."""

SPEAKER = "speaker"
"""The kind that such a folder says it holds."""


@dataclass(frozen=True, kw_only=True)
class SpeakerBundle:
    """Everything that a folder holds, ready to listen."""

    model: VoiceModel
    """In evaluation mode, float32."""
    features: FeatureConfig
    card: str
    name: str
    """The name of the folder."""
    version: str
    """Digest of weights and settings."""
    provenance: Mapping[str, Any] = field(default_factory=dict)


def save_speaker(
    folder: str | Path,
    *,
    model: VoiceModel,
    features: FeatureConfig,
    card: str = "",
    provenance: Mapping[str, Any] | None = None,
    dtype: Literal["float32", "float16"] = "float32",
) -> None:
    """Write an embedding network to a folder, replacing what is there only when all is written.

    Raises:
        CheckpointError: The features do not fit the network, or the folder cannot be written.
    """
    _check_fit(model.config, features)
    write_listener(
        folder,
        SPEAKER,
        model=model,
        network=model.config,
        features=features,
        card=card,
        provenance=provenance,
        dtype=dtype,
    )


def load_speaker(name_or_folder: str | Path) -> SpeakerBundle:
    """Read an embedding network from a folder, or a shipped one by its name.

    Raises:
        CheckpointError: There is none, a file is missing or damaged, or the weights belong to
            another network.
    """
    there = ListenerFolder.read(name_or_folder, SPEAKER)
    try:
        network = _network(there.settings.get("speaker", {}))
        features = from_dict(FeatureConfig, there.settings.get("features", {}))
    except ConfigError as error:
        raise CheckpointError(
            f"{there.folder / CONFIG} is of another version of evenear: {error}"
        ) from None
    _check_fit(network, features)
    with torch.random.fork_rng(devices=[]):
        model: VoiceModel
        if isinstance(network, MomentsConfig):
            model = MomentsModel(network)
        else:
            model = SpeakerModel(network)
    there.fill(model)
    return SpeakerBundle(
        model=model.eval(),
        features=features,
        card=there.card,
        name=there.folder.name,
        version=there.version,
        provenance=there.provenance,
    )


def _network(values: dict[str, Any]) -> SpeakerConfig | MomentsConfig:
    """The config of a network; one that names no kind is of the first there was."""
    is_moments = values.get("kind") == "moments"
    return from_dict(MomentsConfig, values) if is_moments else from_dict(SpeakerConfig, values)


def _check_fit(network: SpeakerConfig | MomentsConfig, features: FeatureConfig) -> None:
    wanted = (network.encoder.feature_dim, network.encoder.stack)
    if wanted != (features.dim, features.stack):
        raise CheckpointError(
            f"The network listens to features {wanted[0]} wide, {wanted[1]} frames stacked; these "
            f"are {features.dim} wide, {features.stack} stacked.",
            hint="Keep a network with the features that it was trained on.",
        )
