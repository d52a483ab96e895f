# SPDX-License-Identifier: Apache-2.0
"""Weights as a file holds them: float32, float16, or int8 with a scale for each row.

Vectors and statistics always stay as they are, and a model always computes in float32.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from evenear.errors import CheckpointError

__all__ = ["load_weights", "stored", "widened"]

_SCALE = ":scale"  # no parameter's name ends so
_RENAMED = ((re.compile(r"(^|\.)encoder\.wide\.(?=\d)"), r"\1encoder.global_cnn."),)
"""What parameters were called when older files were written, and are called now."""


def stored(weights: Mapping[str, Tensor], dtype: str) -> dict[str, Tensor]:
    """The weights as they go into the file.

    Raises:
        CheckpointError: One does not fit float16.
    """
    weights = {name: t.detach().cpu().contiguous() for name, t in weights.items()}
    if dtype == "float32":
        return {name: t.float() if t.is_floating_point() else t for name, t in weights.items()}
    narrow = {}
    for name, tensor in weights.items():
        if not tensor.is_floating_point() or tensor.ndim < 2:
            narrow[name] = tensor
        elif dtype == "int8":
            rows = tensor.flatten(1).float()
            scale = rows.abs().amax(dim=1).clamp_min(1e-30) / 127
            narrow[name] = (rows / scale[:, None]).round().to(torch.int8).view_as(tensor)
            narrow[name + _SCALE] = scale
        else:
            narrow[name] = _narrow(name, tensor)
    return narrow


def _narrow(name: str, tensor: Tensor) -> Tensor:
    narrow = tensor.half()
    if not narrow.isfinite().all():
        raise CheckpointError(
            f"The weight {name} does not fit float16: it reaches {tensor.abs().max():.3g}.",
            hint="Save it with dtype='float32'.",
        )
    return narrow


def widened(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights as the model computes with them, by the names that it gives them now."""
    wide = {
        _renamed(name): t.float() if t.is_floating_point() else t for name, t in weights.items()
    }
    for name in [name for name in wide if name + _SCALE in wide]:
        rows = wide[name].flatten(1) * wide.pop(name + _SCALE)[:, None]
        wide[name] = rows.view_as(wide[name])
    return wide


def _renamed(name: str) -> str:
    for old, new in _RENAMED:
        name = old.sub(new, name)
    return name


def load_weights(folder: Path, model: nn.Module, content: bytes) -> None:
    """Fill a model from the bytes of its weights file.

    Raises:
        CheckpointError: They are no safetensors, or weights are missing, extra or of another shape.
    """
    try:
        wide = widened(safetensors.torch.load(content))
    except safetensors.SafetensorError as error:
        raise CheckpointError(
            f"{folder / 'weights.safetensors'} is no safetensors file: {error}"
        ) from None
    own = model.state_dict()
    missing, extra = sorted(own.keys() - wide.keys()), sorted(wide.keys() - own.keys())
    reshaped = [name for name in own.keys() & wide.keys() if own[name].shape != wide[name].shape]
    wrong = [f"{name} is missing" for name in missing]
    wrong += [f"{name} is unknown" for name in extra]
    wrong += [f"{name} has another shape" for name in sorted(reshaped)]
    if wrong:
        raise CheckpointError(
            f"The weights in {folder} are of another model: {'; '.join(wrong[:5])}"
            + (f"; and {len(wrong) - 5} more." if len(wrong) > 5 else "."),
            hint="Keep config.json and weights.safetensors of one run together.",
        )
    model.load_state_dict(wide, strict=True)
