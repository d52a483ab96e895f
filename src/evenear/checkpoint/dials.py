# SPDX-License-Identifier: Apache-2.0
"""The dial of a recognizer, stored beside it: its gates, and not its encoder once more.

    dial.safetensors    weights of arbitrators, of what stands in, and of what is added to layers
    dial.json           their settings, how they came to be, and which encoder they belong to

A model's folder with these two files is the same model without them: they are read by whoever asks
for a share of the computation. Gates belong to an encoder and to no head, so heads may be trained
anew. Which encoder it is, is told by its answer to a fixed sound: weights that were stored again,
rounded otherwise in their last bit, are the same encoder; weights that have moved are not.

Legend: T feature frames, F feature width.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from evenear.checkpoint.folders import CONFIG, find_folder, read_folder, read_json, write_folder
from evenear.checkpoint.weights import stored, widened
from evenear.config import from_dict, to_dict
from evenear.encoders.gated import GateConfig, GatedTransformer
from evenear.encoders.transformer import TransformerEncoder
from evenear.errors import CheckpointError, ConfigError
from evenear.models.gating import with_gates
from evenear.models.transducer import Transducer

__all__ = ["Dial", "put_dial"]

_WEIGHTS, _SETTINGS = "dial.safetensors", "dial.json"
_TOLERANCE = 0.01
"""Of an answer, relative to its size: rounding changes it by a thousandth of that."""


@dataclass(frozen=True, kw_only=True)
class Dial:
    """Gates without the encoder that they are around."""

    gates: GateConfig
    weights: Mapping[str, Tensor]
    answer: tuple[float, ...]
    """What the encoder they belong to says to a fixed sound."""
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Transducer, provenance: Mapping[str, Any]) -> "Dial":
        """The dial of a recognizer that has one."""
        encoder = model.encoder
        assert isinstance(encoder, GatedTransformer), "only gates have a dial"
        weights = {
            name: weight
            for name, weight in encoder.state_dict().items()
            if not name.startswith("backbone.")
        }
        return cls(
            gates=encoder.config.gates,
            weights=weights,
            answer=_answer(encoder.backbone),
            provenance=provenance,
        )

    def around(self, model: Transducer) -> Transducer:
        """A copy of a recognizer with this dial.

        Raises:
            CheckpointError: The dial belongs to another encoder.
        """
        if not isinstance(model.encoder, TransformerEncoder):
            raise CheckpointError(f"A dial fits a Transformer, got {type(model.encoder).__name__}.")
        found, expected = (torch.tensor(each) for each in (_answer(model.encoder), self.answer))
        apart = (found - expected).norm() / expected.norm() if found.shape == expected.shape else 9
        if not apart < _TOLERANCE:
            raise CheckpointError(
                "The dial of this model belongs to another encoder: the same sound is heard "
                "differently.",
                hint="Learn gates for the encoder as it is now, or leave the dial out.",
            )
        gated = self.onto(model)
        assert isinstance(gated.encoder, GatedTransformer), "it was just given gates"
        gated.encoder.settle()
        return gated

    def onto(self, model: Transducer) -> Transducer:
        """A copy of a recognizer with this dial, whatever its encoder: where learning may begin.

        Raises:
            CheckpointError: The weights are of other gates.
        """
        with torch.random.fork_rng(devices=[]):
            gated = with_gates(model, self.gates)
        own = {f"encoder.{name}" for name in self.weights}
        given = {f"encoder.{name}": weight for name, weight in self.weights.items()}
        needed = {n for n in gated.state_dict() if not n.startswith("encoder.backbone.")}
        needed = {name for name in needed if name.startswith("encoder.")}
        if own != needed:
            wrong = ", ".join(sorted(own ^ needed)[:5])
            raise CheckpointError(f"The dial does not have the weights of its gates: {wrong}.")
        gated.load_state_dict(given, strict=False)
        return gated.eval()

    def files(self) -> dict[str, bytes]:
        """What a model's folder holds of it."""
        settings = {
            "gates": to_dict(self.gates),
            "answer": list(self.answer),
            "provenance": dict(self.provenance),
        }
        return {
            _WEIGHTS: safetensors.torch.save(stored(self.weights, "float16")),
            _SETTINGS: (json.dumps(settings, indent=2) + "\n").encode(),
        }

    @classmethod
    def among(cls, folder: Path, files: Mapping[str, bytes]) -> "Dial | None":
        """The dial among the files of a folder, if there is one.

        Raises:
            CheckpointError: Its files are damaged, or one is missing.
        """
        there = {_WEIGHTS, _SETTINGS} & files.keys()
        if not there:
            return None
        if len(there) < 2:
            raise CheckpointError(f"{folder} has a part of a dial only: {there.pop()}.")
        settings = read_json(folder / _SETTINGS, files[_SETTINGS])
        try:
            return cls(
                gates=from_dict(GateConfig, settings.get("gates", {})),
                weights=widened(safetensors.torch.load(files[_WEIGHTS])),
                answer=tuple(map(float, settings.get("answer", ()))),
                provenance=settings.get("provenance", {}),
            )
        except (ConfigError, safetensors.SafetensorError, TypeError, ValueError) as error:
            raise CheckpointError(f"{folder} has a dial that cannot be read: {error}") from None


def put_dial(model: str | Path, dial: Dial, out: Path | None = None) -> None:
    """Put a dial into a model's folder, in place of an older one; all else stays as it is.

    Args:
        model: A model's folder or name.
        dial: The dial.
        out: Write a copy of the model with it to this folder instead.

    Raises:
        CheckpointError: There is no such model, or it cannot be written.
    """
    folder = find_folder(model)
    files = read_folder(folder, (CONFIG,))
    write_folder(out or folder, {**files, **dial.files()})


@torch.no_grad()
def _answer(encoder: TransformerEncoder) -> tuple[float, ...]:
    """What an encoder says to a second of a fixed sound, in part."""
    places_TF = torch.arange(96.0)[:, None] * torch.linspace(0.1, 1.0, encoder.feature_dim)
    was = encoder.training, encoder.block_frames
    encoder.eval().set_block(encoder.config.block_frames)
    said = encoder(places_TF.sin()[None], torch.tensor([96])).encoded_BTD[0, -1]
    encoder.train(was[0]).set_block(was[1])
    return tuple(round(float(value), 6) for value in said[:64])
