# SPDX-License-Identifier: Apache-2.0
"""Whisper encoders in three formats, as weights of our Transformer.

    Hugging Face    model.safetensors    model.encoder.layers.0.self_attn.q_proj.weight
    OpenAI          tiny.en.pt           encoder.blocks.0.attn.query.weight
    CTranslate2     model.bin            encoder/layer_0/self_attention/linear_0/weight

Only the encoder is read: the decoder stays behind. Keys have no bias in Whisper. An OpenAI file is
loaded as tensors and nothing else, so it cannot run code. Whisper's positions are the sinusoids
that our encoder makes itself.

Legend: D width, F mel bins.

Source: Radford et al. 2022, arXiv:2212.04356 (weights under the MIT License); the binary layout is
CTranslate2's, version 6 of its format.
"""

import re
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from evenear.encoders.transformer import TransformerEncoder
from evenear.errors import CheckpointError

__all__ = ["load_pretrained", "read_encoder"]

_HINT = (
    "Give a Whisper model as Hugging Face safetensors, an OpenAI .pt file, or a CTranslate2 "
    "model.bin, or the folder that holds one."
)
_FILES = ("model.safetensors", "model.bin")
_TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
_CTRANSLATE2 = 6

_LAYERS = (
    # ours, Hugging Face's, OpenAI's
    ("attention_norm", "self_attn_layer_norm", "attn_ln"),
    ("attention.query", "self_attn.q_proj", "attn.query"),
    ("attention.key", "self_attn.k_proj", "attn.key"),
    ("attention.value", "self_attn.v_proj", "attn.value"),
    ("attention.out", "self_attn.out_proj", "attn.out"),
    ("ff_norm", "final_layer_norm", "mlp_ln"),
    ("widen", "fc1", "mlp.0"),
    ("narrow", "fc2", "mlp.2"),
)
_ENDS = (
    ("conv1", "conv1", "conv1"),
    ("conv2", "conv2", "conv2"),
    ("norm", "layer_norm", "ln_post"),
)


def read_encoder(path: str | Path) -> dict[str, Tensor]:
    """The weights of a Whisper encoder, float32, by the names of `TransformerEncoder`.

    Args:
        path: A file of one of the three formats, or a folder with `model.safetensors` or
            `model.bin`.

    Raises:
        CheckpointError: There is none, it is cut off or of another format or model.
    """
    path = _file(Path(path))
    content = path.read_bytes()
    if content[:4] == struct.pack("<I", _CTRANSLATE2):
        return _from_ctranslate2(path, content)
    if path.suffix == ".safetensors":
        try:
            found = safetensors.torch.load(content)
        except safetensors.SafetensorError as error:
            raise CheckpointError(f"{path} is no safetensors file: {error}", hint=_HINT) from None
        return _renamed(path, found, r"^(?:model\.)?encoder\.", "layers", 1)
    if content[:2] == b"PK":
        return _renamed(path, _from_openai(path), r"^encoder\.", "blocks", 2)
    raise CheckpointError(f"{path} is none of the formats that can be read.", hint=_HINT)


def load_pretrained(encoder: TransformerEncoder, path: str | Path) -> None:
    """Fill an encoder with the weights of a Whisper encoder.

    Raises:
        CheckpointError: The file cannot be read, or it is of another size.
    """
    weights = read_encoder(path)
    wanted, given = encoder.config, _shape(weights)
    own = (wanted.num_layers, wanted.dim, wanted.ff_dim, wanted.feature_dim)
    if own != given:
        raise CheckpointError(
            f"The encoder has {own[0]} layers of width {own[1]} ({own[2]} inside) over {own[3]} "
            f"bins; {path} has {given[0]} of width {given[1]} ({given[2]} inside) over {given[3]}.",
            hint=f"--set model.encoder.num_layers={given[0]} --set model.encoder.dim={given[1]} "
            f"--set model.encoder.ff_dim={given[2]} "
            f"--set model.encoder.num_heads={given[1] // 64}, or give another model.",
        )
    encoder.load_state_dict(weights)


def _file(path: Path) -> Path:
    if path.is_dir():
        found = [path / name for name in _FILES if (path / name).is_file()]
        if not found:
            raise CheckpointError(f"{path} holds neither {' nor '.join(_FILES)}.", hint=_HINT)
        return found[0]
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}.", hint=_HINT)
    return path


def _shape(weights: Mapping[str, Tensor]) -> tuple[int, int, int, int]:
    """Layers, width, inner width and mel bins."""
    layers = {int(name.split(".")[1]) for name in weights if name.startswith("layers.")}
    wide, dim = weights["layers.0.widen.weight"].shape
    return len(layers), dim, wide, weights["conv1.weight"].shape[1]


def _renamed(
    path: Path, found: Mapping[str, Tensor], prefix: str, layers: str, column: int
) -> dict[str, Tensor]:
    """Weights by our names, from those of a table's column."""
    theirs = {re.sub(prefix, "", n): t for n, t in found.items() if re.match(prefix, n)}
    numbers = [int(m[1]) for n in theirs if (m := re.match(rf"{layers}\.(\d+)\.", n))]

    def take(name: str) -> Tensor:
        if name not in theirs:
            raise CheckpointError(f"{path} has no encoder weight {name}.", hint=_HINT)
        return theirs[name].float()

    return _assembled(max(numbers, default=-1) + 1, take, layers, column)


def _assembled(
    num_layers: int, take: Callable[[str], Tensor], layers: str, column: int
) -> dict[str, Tensor]:
    weights = {}
    for row in _ENDS:
        for part in ("weight", "bias"):
            weights[f"{row[0]}.{part}"] = take(f"{row[column]}.{part}")
    for number in range(max(num_layers, 1)):
        for row in _LAYERS:
            weights[f"layers.{number}.{row[0]}.weight"] = take(
                f"{layers}.{number}.{row[column]}.weight"
            )
            if row[0] != "attention.key":
                weights[f"layers.{number}.{row[0]}.bias"] = take(
                    f"{layers}.{number}.{row[column]}.bias"
                )
    return weights


def _from_openai(path: Path) -> dict[str, Tensor]:
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{path} cannot be read as tensors: {error}", hint=_HINT) from None
    state = found.get("model_state_dict", found) if isinstance(found, dict) else {}
    return {name: t for name, t in state.items() if isinstance(t, Tensor)}


def _from_ctranslate2(path: Path, content: bytes) -> dict[str, Tensor]:
    """Weights by our names; theirs join query, key and value in one matrix."""
    try:
        spec, found = _variables(content)
    except (struct.error, ValueError, KeyError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"{path} is damaged or cut off: {error}.", hint="Copy or download it again."
        ) from None
    if spec != "WhisperSpec":
        raise CheckpointError(f"{path} holds a {spec}, not a Whisper model.", hint=_HINT)

    def take(name: str) -> Tensor:
        if name not in found:
            raise CheckpointError(f"{path} has no weight {name}.", hint=_HINT)
        scale = found.get(f"{name}_scale")
        if found[name].dtype == np.float32 or found[name].dtype == np.float16:
            return torch.from_numpy(found[name].astype(np.float32))
        if found[name].dtype != np.int8 or scale is None:
            raise CheckpointError(
                f"{path} stores {name} as {found[name].dtype}.",
                hint="Convert the model with --quantization float16.",
            )
        rows = found[name].astype(np.float32) / scale.astype(np.float32).reshape(-1, 1)
        return torch.from_numpy(rows.reshape(found[name].shape))

    numbers = [int(m[1]) for n in found if (m := re.match(r"encoder/layer_(\d+)/", n))]
    weights = {
        **_pair("conv1", "encoder/conv1", take),
        **_pair("conv2", "encoder/conv2", take),
        **_norm("norm", "encoder/layer_norm", take),
    }
    for number in range(max(numbers, default=0) + 1):
        ours, theirs = f"layers.{number}", f"encoder/layer_{number}"
        joined = take(f"{theirs}/self_attention/linear_0/weight").chunk(3)
        biases = take(f"{theirs}/self_attention/linear_0/bias").chunk(3)
        for part, weight, bias in zip(("query", "key", "value"), joined, biases, strict=True):
            weights[f"{ours}.attention.{part}.weight"] = weight.clone()
            if part != "key":
                weights[f"{ours}.attention.{part}.bias"] = bias.clone()
        weights |= {
            **_norm(f"{ours}.attention_norm", f"{theirs}/self_attention/layer_norm", take),
            **_pair(f"{ours}.attention.out", f"{theirs}/self_attention/linear_1", take),
            **_norm(f"{ours}.ff_norm", f"{theirs}/ffn/layer_norm", take),
            **_pair(f"{ours}.widen", f"{theirs}/ffn/linear_0", take),
            **_pair(f"{ours}.narrow", f"{theirs}/ffn/linear_1", take),
        }
    return weights


def _pair(ours: str, theirs: str, take: Callable[[str], Tensor]) -> dict[str, Tensor]:
    return {f"{ours}.{part}": take(f"{theirs}/{part}") for part in ("weight", "bias")}


def _norm(ours: str, theirs: str, take: Callable[[str], Tensor]) -> dict[str, Tensor]:
    return {f"{ours}.weight": take(f"{theirs}/gamma"), f"{ours}.bias": take(f"{theirs}/beta")}


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
