# SPDX-License-Identifier: Apache-2.0
"""Whisper models as files of three formats, and their tensors by the names that each has.

    Hugging Face    model.safetensors    model.encoder.layers.0.self_attn.q_proj.weight
    OpenAI          tiny.en.pt           encoder.blocks.0.attn.query.weight
    CTranslate2     model.bin            encoder/layer_0/self_attention/linear_0/weight

An OpenAI file is loaded as tensors and nothing else, so it cannot run code.

Source: the binary layout is CTranslate2's, version 6 of its format.
"""

import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from evenear.errors import CheckpointError

__all__ = ["WHISPER_HINT", "WhisperFile", "WhisperFormat", "read_whisper"]

WHISPER_HINT = (
    "Give a Whisper model as Hugging Face safetensors, an OpenAI .pt file, or a CTranslate2 "
    "model.bin, or the folder that holds one."
)
_FILES = ("model.safetensors", "model.bin")
_TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
_CTRANSLATE2 = 6


class WhisperFormat(Enum):
    """Who wrote a file."""

    HUGGING_FACE = "Hugging Face"
    OPENAI = "OpenAI"
    CTRANSLATE2 = "CTranslate2"


@dataclass(frozen=True)
class WhisperFile:
    """The tensors of a file, by the names that its format gives them."""

    path: Path
    format: WhisperFormat
    found: Mapping[str, Tensor]

    def take(self, name: str) -> Tensor:
        """A tensor, float32.

        Raises:
            CheckpointError: There is none of the name, or its type cannot be read.
        """
        if name not in self.found:
            raise CheckpointError(f"{self.path} has no weight {name}.", hint=WHISPER_HINT)
        tensor, scale = self.found[name], self.found.get(f"{name}_scale")
        if tensor.is_floating_point():
            return tensor.float()
        if tensor.dtype != torch.int8 or scale is None:
            raise CheckpointError(
                f"{self.path} stores {name} as {str(tensor.dtype).removeprefix('torch.')}.",
                hint="Convert the model with --quantization float16.",
            )
        return (tensor.float().flatten(1) / scale.float().reshape(-1, 1)).view(tensor.shape)

    def renamed(
        self,
        side: str,
        ends: Sequence[tuple[str, str, str]],
        rows: Sequence[tuple[str, str, str]],
    ) -> dict[str, Tensor]:
        """Weights of the encoder or the decoder of a file that is not CTranslate2's, by our names.

        Args:
            side: encoder or decoder.
            ends: Tensors outside of its layers: our name, Hugging Face's, OpenAI's.
            rows: Parts of a layer, named so; each has a weight, and a bias unless it is of keys.
        """
        is_first = self.format is WhisperFormat.HUGGING_FACE
        column, layers = (1, "layers") if is_first else (2, "blocks")
        weights = {row[0]: self.take(f"{side}.{row[column]}") for row in ends}
        for number in range(self.num_layers(rf"{side}\.{layers}\.(\d+)\.")):
            for row in rows:
                for part in ("weight",) if row[0].endswith(".key") else ("weight", "bias"):
                    theirs = f"{side}.{layers}.{number}.{row[column]}.{part}"
                    weights[f"layers.{number}.{row[0]}.{part}"] = self.take(theirs)
        return weights

    def pair(self, ours: str, theirs: str) -> dict[str, Tensor]:
        """Weight and bias of a CTranslate2 layer, by our name."""
        return {f"{ours}.{part}": self.take(f"{theirs}/{part}") for part in ("weight", "bias")}

    def norm(self, ours: str, theirs: str) -> dict[str, Tensor]:
        """Scale and shift of a CTranslate2 normalization, by our name."""
        return {
            f"{ours}.weight": self.take(f"{theirs}/gamma"),
            f"{ours}.bias": self.take(f"{theirs}/beta"),
        }

    def joined(self, ours: Iterable[str], theirs: str) -> dict[str, Tensor]:
        """Projections that a CTranslate2 layer holds one under the other; keys have no bias."""
        names = list(ours)
        rows = self.take(f"{theirs}/weight").chunk(len(names))
        biases = self.take(f"{theirs}/bias").chunk(len(names))
        weights = {}
        for name, weight, bias in zip(names, rows, biases, strict=True):
            weights[f"{name}.weight"] = weight.clone()
            if not name.endswith(".key"):
                weights[f"{name}.bias"] = bias.clone()
        return weights

    def num_layers(self, pattern: str) -> int:
        """Layers whose number a pattern finds in names; one where it finds none."""
        found = (re.match(pattern, name) for name in self.found)
        return max((int(match[1]) for match in found if match), default=0) + 1


def read_whisper(path: str | Path) -> WhisperFile:
    """The tensors of a model.

    Args:
        path: A file of one of the three formats, or a folder with `model.safetensors` or
            `model.bin`.

    Raises:
        CheckpointError: There is none, it is cut off or of another format or model.
    """
    path = _file(Path(path))
    content = path.read_bytes()
    if content[:4] == struct.pack("<I", _CTRANSLATE2):
        return WhisperFile(path, WhisperFormat.CTRANSLATE2, _from_ctranslate2(path, content))
    if path.suffix == ".safetensors":
        try:
            found = safetensors.torch.load(content)
        except safetensors.SafetensorError as error:
            raise CheckpointError(
                f"{path} is no safetensors file: {error}", hint=WHISPER_HINT
            ) from None
        found = {name.removeprefix("model."): tensor for name, tensor in found.items()}
        return WhisperFile(path, WhisperFormat.HUGGING_FACE, found)
    if content[:2] == b"PK":
        return WhisperFile(path, WhisperFormat.OPENAI, _from_openai(path))
    raise CheckpointError(f"{path} is none of the formats that can be read.", hint=WHISPER_HINT)


def _file(path: Path) -> Path:
    if path.is_dir():
        found = [path / name for name in _FILES if (path / name).is_file()]
        if not found:
            raise CheckpointError(
                f"{path} holds neither {' nor '.join(_FILES)}.", hint=WHISPER_HINT
            )
        return found[0]
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}.", hint=WHISPER_HINT)
    return path


def _from_openai(path: Path) -> dict[str, Tensor]:
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be read as tensors: {error}", hint=WHISPER_HINT
        ) from None
    state = found.get("model_state_dict", found) if isinstance(found, dict) else {}
    state = state if isinstance(state, dict) else {}
    return {name: t for name, t in state.items() if isinstance(t, Tensor)}


def _from_ctranslate2(path: Path, content: bytes) -> dict[str, Tensor]:
    try:
        spec, found = _variables(content)
    except (struct.error, ValueError, KeyError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"{path} is damaged or cut off: {error}.", hint="Copy or download it again."
        ) from None
    if spec != "WhisperSpec":
        raise CheckpointError(f"{path} holds a {spec}, not a Whisper model.", hint=WHISPER_HINT)
    return {name: torch.from_numpy(array.copy()) for name, array in found.items()}


def _variables(content: bytes) -> tuple[str, dict[str, np.ndarray]]:
    """The name of the model's kind, and its arrays."""
    place = 0

    def read(layout: str) -> int:
        nonlocal place
        (number,) = struct.unpack_from(f"<{layout}", content, place)
        place += struct.calcsize(f"<{layout}")
        return number

    def text() -> str:
        nonlocal place
        length = read("H")
        if place + length > len(content):
            raise ValueError("a name goes beyond the end of the file")
        raw = content[place : place + length]
        place += length
        return raw.rstrip(b"\0").decode()

    read("I")
    spec = text()
    read("I")
    found = {}
    for _ in range(read("I")):
        name = text()
        sizes = [read("I") for _ in range(read("B"))]
        kind, length = read("B"), read("I")
        if kind not in _TYPES:
            raise ValueError(f"{name} is of an unknown type {kind}")
        array = np.frombuffer(
            content, _TYPES[kind], length // np.dtype(_TYPES[kind]).itemsize, place
        )
        found[name] = array.reshape(sizes)
        place += length
    return spec, found
