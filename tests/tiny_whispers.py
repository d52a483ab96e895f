# SPDX-License-Identifier: Apache-2.0
"""Tiny Whisper decoders as files of three formats, and any tensors as a CTranslate2 file."""

import struct
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from tiny_rescorers import tiny_rescorer

__all__ = [
    "DECODER_FORMATS",
    "WHOLE_VOCABULARY",
    "ctranslate2_decoder",
    "decoder_weights",
    "hugging_face_decoder",
    "openai_decoder",
    "write_ctranslate2",
]

WHOLE_VOCABULARY = 15
HUGGING_FACE = {
    "attention_norm": "self_attn_layer_norm",
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.out": "self_attn.out_proj",
    "cross_norm": "encoder_attn_layer_norm",
    "cross.query": "encoder_attn.q_proj",
    "cross.key": "encoder_attn.k_proj",
    "cross.value": "encoder_attn.v_proj",
    "cross.out": "encoder_attn.out_proj",
    "ff_norm": "final_layer_norm",
    "widen": "fc1",
    "narrow": "fc2",
    "norm": "layer_norm",
    "embedding": "embed_tokens",
    "positions_UD": "embed_positions.weight",
}
OPENAI = {
    "attention_norm": "attn_ln",
    "attention.query": "attn.query",
    "attention.key": "attn.key",
    "attention.value": "attn.value",
    "attention.out": "attn.out",
    "cross_norm": "cross_attn_ln",
    "cross.query": "cross_attn.query",
    "cross.key": "cross_attn.key",
    "cross.value": "cross_attn.value",
    "cross.out": "cross_attn.out",
    "ff_norm": "mlp_ln",
    "widen": "mlp.0",
    "narrow": "mlp.2",
    "norm": "ln",
    "embedding": "token_embedding",
    "positions_UD": "positional_embedding",
}


def decoder_weights() -> dict[str, Tensor]:
    """What a decoder's file holds, by the names of `Rescorer`: all but its bridge."""
    weights = tiny_rescorer(vocabulary_size=WHOLE_VOCABULARY).state_dict()
    return {name: t.clone() for name, t in weights.items() if not name.startswith("bridge.")}


def _renamed(names: Mapping[str, str], layers: str, prefix: str) -> dict[str, Tensor]:
    """The weights as another library calls them."""
    found = {}
    for name, tensor in decoder_weights().items():
        if name in names:
            found[f"{prefix}{names[name]}"] = tensor
            continue
        place, _, part = name.rpartition(".")
        head = ""
        if place.startswith("layers."):
            _, number, place = place.split(".", 2)
            head = f"{layers}.{number}."
        found[f"{prefix}{head}{names[place]}.{part}"] = tensor
    return found


def hugging_face_decoder(folder: Path, *, without: str = "") -> Path:
    """`model.safetensors`, perhaps without a weight, beside a bit of an encoder."""
    weights = _renamed(HUGGING_FACE, "layers", "model.decoder.")
    weights["model.encoder.conv1.bias"] = torch.ones(3)
    weights.pop(without, None)
    safetensors.torch.save_file(weights, folder / "model.safetensors")
    return folder / "model.safetensors"


def openai_decoder(folder: Path, *, without: str = "") -> Path:
    """`tiny.pt`, perhaps without a weight."""
    weights = _renamed(OPENAI, "blocks", "decoder.")
    weights["encoder.conv1.bias"] = torch.ones(3)
    weights.pop(without, None)
    torch.save({"dims": {"n_mels": 6}, "model_state_dict": weights}, folder / "tiny.pt")
    return folder / "tiny.pt"


def ctranslate2_decoder(
    folder: Path, *, without: str = "", spec: str = "WhisperSpec", kind: str = "float32"
) -> Path:
    """`model.bin`, perhaps without a weight."""
    w = decoder_weights()
    arrays = {
        "decoder/embeddings/weight": w["embedding.weight"],
        "decoder/position_encodings/encodings": w["positions_UD"],
        "decoder/layer_norm/gamma": w["norm.weight"],
        "decoder/layer_norm/beta": w["norm.bias"],
        "encoder/conv1/bias": torch.ones(3),
    }
    for n in range(2):
        ours, theirs = f"layers.{n}", f"decoder/layer_{n}"
        for names, place in (
            (("attention.query", "attention.key", "attention.value"), "self_attention/linear_0"),
            (("attention.out",), "self_attention/linear_1"),
            (("cross.query",), "attention/linear_0"),
            (("cross.key", "cross.value"), "attention/linear_1"),
            (("cross.out",), "attention/linear_2"),
            (("widen",), "ffn/linear_0"),
            (("narrow",), "ffn/linear_1"),
        ):
            matrices = [w[f"{ours}.{name}.weight"] for name in names]
            biases = [
                w.get(f"{ours}.{k}.bias", torch.zeros(len(m)))
                for k, m in zip(names, matrices, strict=True)
            ]
            arrays[f"{theirs}/{place}/weight"] = torch.cat(matrices)
            arrays[f"{theirs}/{place}/bias"] = torch.cat(biases)
        for name, place in (
            ("attention_norm", "self_attention"),
            ("cross_norm", "attention"),
            ("ff_norm", "ffn"),
        ):
            arrays[f"{theirs}/{place}/layer_norm/gamma"] = w[f"{ours}.{name}.weight"]
            arrays[f"{theirs}/{place}/layer_norm/beta"] = w[f"{ours}.{name}.bias"]
    arrays.pop(without, None)
    return write_ctranslate2(folder / "model.bin", arrays, spec=spec, kind=kind)


DECODER_FORMATS = {
    "hugging face": hugging_face_decoder,
    "openai": openai_decoder,
    "ctranslate2": ctranslate2_decoder,
}


def write_ctranslate2(
    path: Path, arrays: Mapping[str, Tensor], *, spec: str = "WhisperSpec", kind: str = "float32"
) -> Path:
    """Tensors in CTranslate2's format, version 6; int8 only for matrices, with a scale a row."""
    code, dtype = {"float32": (0, torch.float32), "float16": (4, torch.float16)}.get(
        kind, (1, torch.int8)
    )
    content = struct.pack("<I", 6) + _text(spec) + struct.pack("<II", 3, 2 * len(arrays))
    for name, tensor in arrays.items():
        stored, scale = tensor, torch.ones(1)
        if kind == "int8" and tensor.ndim == 2:
            scale = 127.0 / tensor.abs().amax(dim=1)
            stored = (tensor * scale[:, None]).round()
        own, raw_type = (code, dtype) if kind != "int8" or tensor.ndim == 2 else (0, torch.float32)
        for label, array, number, as_type in (
            (name, stored, own, raw_type),
            (f"{name}_scale", scale, 0, torch.float32),
        ):
            raw = array.to(as_type).contiguous().numpy().tobytes()
            content += _text(label) + struct.pack("<B", array.ndim)
            content += struct.pack(f"<{array.ndim}I", *array.shape)
            content += struct.pack("<BI", number, len(raw)) + raw
    path.write_bytes(content + struct.pack("<I", 0))
    return path


def _text(text: str) -> bytes:
    raw = text.encode() + b"\0"
    return struct.pack("<H", len(raw)) + raw
