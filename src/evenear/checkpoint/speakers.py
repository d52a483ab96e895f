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

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
import torch

from evenear.checkpoint.folders import (
    CONFIG,
    FORMAT,
    find_folder,
    read_folder,
    read_json,
    write_folder,
)
from evenear.checkpoint.weights import load_weights, stored
from evenear.config import from_dict, to_dict
from evenear.errors import CheckpointError, ConfigError
from evenear.features import FeatureConfig
from evenear.models.moments import MomentsConfig, MomentsModel
from evenear.models.speaker import SpeakerConfig, SpeakerModel

__all__ = ["SPEAKER", "SpeakerBundle", "VoiceModel", "load_speaker", "save_speaker"]

VoiceModel = SpeakerModel | MomentsModel
"""Either turns frames into a unit vector, whole or chunk by chunk."""

SPEAKER = "speaker"
"""The kind that such a folder says it holds."""
_WEIGHTS, _CARD, _PROVENANCE = "weights.safetensors", "card.md", "provenance.json"


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
    settings = {
        "format": FORMAT,
        "kind": SPEAKER,
        "speaker": to_dict(model.config),
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


def load_speaker(name_or_folder: str | Path) -> SpeakerBundle:
    """Read an embedding network from a folder, or a shipped one by its name.

    Raises:
        CheckpointError: There is none, a file is missing or damaged, or the weights belong to
            another network.
    """
    folder = find_folder(name_or_folder, kind=SPEAKER)
    files = read_folder(folder, (_WEIGHTS, CONFIG))
    settings = read_json(folder / CONFIG, files[CONFIG])
    if settings.get("format") != FORMAT:
        raise CheckpointError(
            f"{folder} has format {settings.get('format')!r}; this version reads {FORMAT}.",
            hint="Install the version of evenear that wrote it.",
        )
    try:
        network = _network(settings.get("speaker", {}))
        features = from_dict(FeatureConfig, settings.get("features", {}))
    except ConfigError as error:
        raise CheckpointError(
            f"{folder / CONFIG} is of another version of evenear: {error}"
        ) from None
    _check_fit(network, features)
    with torch.random.fork_rng(devices=[]):
        model: VoiceModel
        if isinstance(network, MomentsConfig):
            model = MomentsModel(network)
        else:
            model = SpeakerModel(network)
    load_weights(folder, model, files[_WEIGHTS])
    digest = hashlib.sha256(files[_WEIGHTS] + files[CONFIG]).hexdigest()[:16]
    return SpeakerBundle(
        model=model.eval(),
        features=features,
        card=files.get(_CARD, b"").decode(),
        name=folder.name,
        version=f"{folder.name}-{digest}",
        provenance=read_json(folder / _PROVENANCE, files.get(_PROVENANCE, b"{}")),
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
