# SPDX-License-Identifier: Apache-2.0
"""Tiny Whisper encoders in each format are read back weight for weight, and broken ones refused."""

from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from evenear.checkpoint.pretrained import load_pretrained, read_encoder
from evenear.config import replace
from evenear.encoders.transformer import TransformerConfig, TransformerEncoder
from evenear.errors import CheckpointError
from tiny_whispers import write_ctranslate2

SETTINGS = TransformerConfig(feature_dim=6, dim=8, num_heads=2, num_layers=2, ff_dim=10)
HUGGING_FACE = {
    "attention_norm": "self_attn_layer_norm",
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.out": "self_attn.out_proj",
    "ff_norm": "final_layer_norm",
    "widen": "fc1",
    "narrow": "fc2",
    "norm": "layer_norm",
}
OPENAI = {
    "attention_norm": "attn_ln",
    "attention.query": "attn.query",
    "attention.key": "attn.key",
    "attention.value": "attn.value",
    "attention.out": "attn.out",
    "ff_norm": "mlp_ln",
    "widen": "mlp.0",
    "narrow": "mlp.2",
    "norm": "ln_post",
}


def encoder(**changes) -> TransformerEncoder:
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(1)
        return TransformerEncoder(replace(SETTINGS, **changes))


def renamed(names: dict[str, str], layers: str, prefix: str) -> dict[str, Tensor]:
    """The weights of `encoder()` as another library calls them."""
    found = {f"{prefix}positions": torch.zeros(3), "decoder.token_embedding.weight": torch.ones(2)}
    for name, tensor in encoder().state_dict().items():
        place, _, part = name.rpartition(".")
        head = ""
        if place.startswith("layers."):
            _, number, place = place.split(".", 2)
            head = f"{layers}.{number}."
        found[f"{prefix}{head}{names.get(place, place)}.{part}"] = tensor.clone()
    return found


def hugging_face(folder: Path) -> Path:
    path = folder / "model.safetensors"
    safetensors.torch.save_file(renamed(HUGGING_FACE, "layers", "model.encoder."), path)
    return path


def openai(folder: Path) -> Path:
    weights = renamed(OPENAI, "blocks", "encoder.")
    torch.save({"dims": {"n_mels": 6}, "model_state_dict": weights}, folder / "tiny.pt")
    return folder / "tiny.pt"


def ctranslate2(folder: Path, *, spec: str = "WhisperSpec", kind: str = "float32") -> Path:
    w = encoder().state_dict()
    arrays: dict[str, Tensor] = {"decoder/scale": torch.ones(1)}
    for name in ("conv1", "conv2"):
        arrays |= {f"encoder/{name}/{part}": w[f"{name}.{part}"] for part in ("weight", "bias")}
    arrays |= {"encoder/layer_norm/gamma": w["norm.weight"]}
    arrays |= {"encoder/layer_norm/beta": w["norm.bias"]}
    for n in range(SETTINGS.num_layers):
        ours, theirs = f"layers.{n}", f"encoder/layer_{n}"
        qkv = [w[f"{ours}.attention.{part}.weight"] for part in ("query", "key", "value")]
        biases = [w[f"{ours}.attention.query.bias"], torch.zeros(SETTINGS.dim)]
        biases.append(w[f"{ours}.attention.value.bias"])
        arrays[f"{theirs}/self_attention/linear_0/weight"] = torch.cat(qkv)
        arrays[f"{theirs}/self_attention/linear_0/bias"] = torch.cat(biases)
        for name, place in (
            ("attention.out", "self_attention/linear_1"),
            ("widen", "ffn/linear_0"),
            ("narrow", "ffn/linear_1"),
        ):
            for part in ("weight", "bias"):
                arrays[f"{theirs}/{place}/{part}"] = w[f"{ours}.{name}.{part}"]
        for name, place in (("attention_norm", "self_attention"), ("ff_norm", "ffn")):
            arrays[f"{theirs}/{place}/layer_norm/gamma"] = w[f"{ours}.{name}.weight"]
            arrays[f"{theirs}/{place}/layer_norm/beta"] = w[f"{ours}.{name}.bias"]
    return write_ctranslate2(folder / "model.bin", arrays, spec=spec, kind=kind)


FORMATS = {"hugging face": hugging_face, "openai": openai, "ctranslate2": ctranslate2}


@pytest.mark.parametrize("name", FORMATS)
def test_the_weights_of_each_format_are_read_back(tmp_path, name):
    path = FORMATS[name](tmp_path)
    wanted, found = encoder().state_dict(), read_encoder(path)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)
    other = TransformerEncoder(SETTINGS)
    load_pretrained(other, path)
    assert all(torch.equal(t, wanted[key]) for key, t in other.state_dict().items())


@pytest.mark.parametrize(("kind", "error"), [("float16", 1e-3), ("int8", 1e-2)])
def test_narrow_weights_of_ctranslate2_are_widened(tmp_path, kind, error):
    found = read_encoder(ctranslate2(tmp_path, kind=kind))
    for name, tensor in encoder().state_dict().items():
        assert (found[name] - tensor).abs().max() < error * max(1.0, float(tensor.abs().max()))


@pytest.mark.parametrize("name", ["hugging face", "ctranslate2"])
def test_a_folder_is_as_good_as_its_file(tmp_path, name):
    FORMATS[name](tmp_path)
    assert read_encoder(tmp_path).keys() == encoder().state_dict().keys()


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_was_cut_off_is_refused(tmp_path, name):
    path = FORMATS[name](tmp_path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CheckpointError, match=path.name):
        read_encoder(path)


def test_an_encoder_of_another_size_says_which_settings_fit(tmp_path):
    with pytest.raises(CheckpointError, match="has 2 of width 8") as refused:
        load_pretrained(encoder(num_layers=3), openai(tmp_path))
    assert "--set model.encoder.num_layers=2" in refused.value.hint


def test_a_model_that_is_no_whisper_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="holds a TransformerSpec, not a Whisper"):
        read_encoder(ctranslate2(tmp_path, spec="TransformerSpec"))


def test_safetensors_without_an_encoder_name_what_is_missing(tmp_path):
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file({"model.decoder.weight": torch.ones(2)}, path)
    with pytest.raises(CheckpointError, match=r"has no weight encoder\.conv1\.weight"):
        read_encoder(path)


def test_what_is_none_of_the_formats_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    for path, said in (
        (tmp_path / "notes.txt", "none of the formats"),
        (tmp_path, "holds neither"),
    ):
        with pytest.raises(CheckpointError, match=said):
            read_encoder(path)
    with pytest.raises(CheckpointError, match="There is no file"):
        read_encoder(tmp_path / "gone.pt")


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("run",))

    torch.save({"model_state_dict": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(CheckpointError, match="cannot be read as tensors"):
        read_encoder(tmp_path / "evil.pt")
