# SPDX-License-Identifier: Apache-2.0
"""Whisper encoders as weights of our Transformer.

Only the encoder is read: `checkpoint.whisperdecoder` reads the rest. Keys have no bias in Whisper.
Its positions are the sinusoids that our encoder makes itself.

Legend: D width, F mel bins.

Source: Radford et al. 2022, arXiv:2212.04356 (weights under the MIT License).
"""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from evenear.checkpoint.whisperfiles import WhisperFile, WhisperFormat, read_whisper
from evenear.encoders.transformer import TransformerEncoder
from evenear.errors import CheckpointError

__all__ = ["load_pretrained", "read_encoder"]

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
    ("conv1.weight", "conv1.weight", "conv1.weight"),
    ("conv1.bias", "conv1.bias", "conv1.bias"),
    ("conv2.weight", "conv2.weight", "conv2.weight"),
    ("conv2.bias", "conv2.bias", "conv2.bias"),
    ("norm.weight", "layer_norm.weight", "ln_post.weight"),
    ("norm.bias", "layer_norm.bias", "ln_post.bias"),
)


def read_encoder(path: str | Path) -> dict[str, Tensor]:
    """The weights of a Whisper encoder, float32, by the names of `TransformerEncoder`.

    Args:
        path: A file of one of the three formats, or a folder with `model.safetensors` or
            `model.bin`.

    Raises:
        CheckpointError: There is none, it is cut off or of another format or model.
    """
    file = read_whisper(path)
    if file.format is WhisperFormat.CTRANSLATE2:
        return _from_ctranslate2(file)
    return file.renamed("encoder", _ENDS, _LAYERS)


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


def _shape(weights: Mapping[str, Tensor]) -> tuple[int, int, int, int]:
    """Layers, width, inner width and mel bins."""
    layers = {int(name.split(".")[1]) for name in weights if name.startswith("layers.")}
    wide, dim = weights["layers.0.widen.weight"].shape
    return len(layers), dim, wide, weights["conv1.weight"].shape[1]


def _from_ctranslate2(file: WhisperFile) -> dict[str, Tensor]:
    """Weights by our names; theirs join query, key and value in one matrix."""
    weights = {
        **file.pair("conv1", "encoder/conv1"),
        **file.pair("conv2", "encoder/conv2"),
        **file.norm("norm", "encoder/layer_norm"),
    }
    for number in range(file.num_layers(r"encoder/layer_(\d+)/")):
        ours, theirs = f"layers.{number}", f"encoder/layer_{number}"
        own = f"{theirs}/self_attention"
        weights |= {
            **file.norm(f"{ours}.attention_norm", f"{own}/layer_norm"),
            **file.joined(
                (f"{ours}.attention.{p}" for p in ("query", "key", "value")), f"{own}/linear_0"
            ),
            **file.pair(f"{ours}.attention.out", f"{own}/linear_1"),
            **file.norm(f"{ours}.ff_norm", f"{theirs}/ffn/layer_norm"),
            **file.pair(f"{ours}.widen", f"{theirs}/ffn/linear_0"),
            **file.pair(f"{ours}.narrow", f"{theirs}/ffn/linear_1"),
        }
    return weights
