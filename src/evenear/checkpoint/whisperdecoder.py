# SPDX-License-Identifier: Apache-2.0
"""Whisper decoders as weights of our rescorer.

Of the vocabulary only the pieces of the words that a search can find are taken, so that a decoder
whose half is its embedding becomes small; how words are cut into pieces is Whisper's tokenizer's.

Legend: D width, V pieces, U places.

Source: Radford et al. 2022, arXiv:2212.04356 (weights under the MIT License).
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from evenear.checkpoint.whisperfiles import WhisperFile, WhisperFormat, read_whisper
from evenear.errors import CheckpointError
from evenear.models.rescorer import Rescorer

__all__ = ["load_decoder", "read_decoder"]

_LAYERS = (
    # ours, Hugging Face's, OpenAI's
    ("attention_norm", "self_attn_layer_norm", "attn_ln"),
    ("attention.query", "self_attn.q_proj", "attn.query"),
    ("attention.key", "self_attn.k_proj", "attn.key"),
    ("attention.value", "self_attn.v_proj", "attn.value"),
    ("attention.out", "self_attn.out_proj", "attn.out"),
    ("cross_norm", "encoder_attn_layer_norm", "cross_attn_ln"),
    ("cross.query", "encoder_attn.q_proj", "cross_attn.query"),
    ("cross.key", "encoder_attn.k_proj", "cross_attn.key"),
    ("cross.value", "encoder_attn.v_proj", "cross_attn.value"),
    ("cross.out", "encoder_attn.out_proj", "cross_attn.out"),
    ("ff_norm", "final_layer_norm", "mlp_ln"),
    ("widen", "fc1", "mlp.0"),
    ("narrow", "fc2", "mlp.2"),
)
_ENDS = (
    ("embedding.weight", "embed_tokens.weight", "token_embedding.weight"),
    ("positions_UD", "embed_positions.weight", "positional_embedding"),
    ("norm.weight", "layer_norm.weight", "ln.weight"),
    ("norm.bias", "layer_norm.bias", "ln.bias"),
)


def read_decoder(path: str | Path) -> dict[str, Tensor]:
    """The weights of a Whisper decoder, float32, by the names of `Rescorer`; all its vocabulary.

    Args:
        path: A file of one of the three formats, or a folder with `model.safetensors` or
            `model.bin`.

    Raises:
        CheckpointError: There is none, it is cut off or of another format or model.
    """
    file = read_whisper(path)
    if file.format is WhisperFormat.CTRANSLATE2:
        return _from_ctranslate2(file)
    return file.renamed("decoder", _ENDS, _LAYERS)


@torch.no_grad()
def load_decoder(rescorer: Rescorer, path: str | Path, pieces_V: Sequence[int]) -> None:
    """Fill a rescorer with the weights of a Whisper decoder; its bridge stays as it is.

    Args:
        rescorer: The rescorer; its heads are 64 wide in Whisper, which no file says.
        path: The model.
        pieces_V: The ids that its pieces have in Whisper's vocabulary.

    Raises:
        CheckpointError: The file cannot be read, or it is of another size.
    """
    weights = read_decoder(path)
    wanted, wide = rescorer.config, weights["layers.0.widen.weight"].shape
    layers = {name.split(".")[1] for name in weights if name.startswith("layers.")}
    given = (len(layers), wide[1], wide[0], len(pieces_V))
    own = (wanted.num_layers, wanted.dim, wanted.ff_dim, wanted.vocabulary_size)
    if own != given:
        raise CheckpointError(
            f"The rescorer has {own[0]} layers of width {own[1]} ({own[2]} inside) and {own[3]} "
            f"pieces; {path} has {given[0]} of width {given[1]} ({given[2]} inside), and "
            f"{given[3]} pieces are wanted of it.",
            hint="Make the config of these sizes, or give another model.",
        )
    every, places = weights["embedding.weight"], weights["positions_UD"]
    if max(pieces_V) >= len(every) or wanted.max_pieces > len(places):
        raise CheckpointError(
            f"{path} has {len(every)} pieces and {len(places)} places; wanted are piece "
            f"{max(pieces_V)} and {wanted.max_pieces} places."
        )
    weights["embedding.weight"] = every[torch.tensor(list(pieces_V))]
    weights["positions_UD"] = places[: wanted.max_pieces]
    bridge = {f"bridge.{name}": t for name, t in rescorer.bridge.state_dict().items()}
    rescorer.load_state_dict({**weights, **bridge})


def _from_ctranslate2(file: WhisperFile) -> dict[str, Tensor]:
    """Weights by our names; theirs join projections in one matrix."""
    weights = {
        "embedding.weight": file.take("decoder/embeddings/weight"),
        "positions_UD": file.take("decoder/position_encodings/encodings"),
        **file.norm("norm", "decoder/layer_norm"),
    }
    for number in range(file.num_layers(r"decoder/layer_(\d+)/")):
        ours, theirs = f"layers.{number}", f"decoder/layer_{number}"
        own, cross = f"{theirs}/self_attention", f"{theirs}/attention"
        weights |= {
            **file.norm(f"{ours}.attention_norm", f"{own}/layer_norm"),
            **file.joined(
                (f"{ours}.attention.{p}" for p in ("query", "key", "value")), f"{own}/linear_0"
            ),
            **file.pair(f"{ours}.attention.out", f"{own}/linear_1"),
            **file.norm(f"{ours}.cross_norm", f"{cross}/layer_norm"),
            **file.pair(f"{ours}.cross.query", f"{cross}/linear_0"),
            **file.joined((f"{ours}.cross.{p}" for p in ("key", "value")), f"{cross}/linear_1"),
            **file.pair(f"{ours}.cross.out", f"{cross}/linear_2"),
            **file.norm(f"{ours}.ff_norm", f"{theirs}/ffn/layer_norm"),
            **file.pair(f"{ours}.widen", f"{theirs}/ffn/linear_0"),
            **file.pair(f"{ours}.narrow", f"{theirs}/ffn/linear_1"),
        }
    return weights
