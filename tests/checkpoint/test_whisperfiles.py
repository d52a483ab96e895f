# SPDX-License-Identifier: Apache-2.0
"""Whisper files give tensors by the names of their format; what is no such file is refused."""

import struct
from pathlib import Path

import pytest
import safetensors.torch
import torch

from evenear.checkpoint.whisperfiles import WHISPER_HINT, WhisperFile, WhisperFormat, read_whisper
from evenear.errors import CheckpointError
from tiny_whispers import DECODER_FORMATS, write_ctranslate2

MATRIX = torch.tensor([[1.0, -2.0, 0.5], [100.0, 50.0, -25.0], [0.0, 0.001, -0.002]])
VECTOR = torch.tensor([0.1, -3.0, 7.0])
LAYER = "decoder/layer_0/ffn/linear_0"


def linear(folder, kind: str = "float32") -> WhisperFile:
    arrays = {f"{LAYER}/weight": MATRIX, f"{LAYER}/bias": VECTOR}
    return read_whisper(write_ctranslate2(folder / "model.bin", arrays, kind=kind))


@pytest.mark.parametrize(
    ("name", "written", "weight"),
    [
        ("hugging face", WhisperFormat.HUGGING_FACE, "decoder.layers.1.fc1.weight"),
        ("openai", WhisperFormat.OPENAI, "decoder.blocks.1.mlp.0.weight"),
        ("ctranslate2", WhisperFormat.CTRANSLATE2, "decoder/layer_1/ffn/linear_0/weight"),
    ],
)
def test_a_file_says_who_wrote_it_and_gives_tensors_by_their_names(tmp_path, name, written, weight):
    file = read_whisper(DECODER_FORMATS[name](tmp_path))
    assert file.format is written
    assert file.take(weight).shape == (20, 12)


@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_narrow_numbers_are_widened(tmp_path, kind):
    found = linear(tmp_path, kind).take(f"{LAYER}/weight")
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, MATRIX if kind == "float32" else MATRIX.half().float())


def test_each_row_of_bytes_has_its_own_scale(tmp_path):
    file = linear(tmp_path, "int8")
    found = file.take(f"{LAYER}/weight")
    error = (found - MATRIX).abs() / MATRIX.abs().amax(dim=1, keepdim=True)
    assert error.max() <= 0.5 / 127 + 1e-6
    assert torch.equal(file.take(f"{LAYER}/bias"), VECTOR)


def test_integers_without_a_scale_are_refused(tmp_path):
    for dtype, said in ((torch.int8, "int8"), (torch.int16, "int16")):
        file = WhisperFile(tmp_path, WhisperFormat.OPENAI, {"w": torch.ones(2, 2, dtype=dtype)})
        with pytest.raises(CheckpointError, match=f"stores w as {said}") as refused:
            file.take("w")
        assert "--quantization float16" in refused.value.hint


def test_a_weight_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"model\.bin has no weight decoder/gone") as refused:
        linear(tmp_path).take("decoder/gone")
    assert refused.value.hint == WHISPER_HINT


def test_weight_and_bias_and_norms_get_our_names(tmp_path):
    found = linear(tmp_path).pair("layers.0.widen", LAYER)
    assert torch.equal(found["layers.0.widen.weight"], MATRIX)
    assert torch.equal(found["layers.0.widen.bias"], VECTOR)
    arrays = {"norm/gamma": VECTOR, "norm/beta": -VECTOR}
    file = read_whisper(write_ctranslate2(tmp_path / "model.bin", arrays))
    found = file.norm("ours", "norm")
    assert torch.equal(found["ours.weight"], VECTOR)
    assert torch.equal(found["ours.bias"], -VECTOR)


def test_joined_projections_are_parted_and_keys_lose_their_bias(tmp_path):
    found = linear(tmp_path).joined(("own.query", "own.key", "own.value"), LAYER)
    assert set(found) == {"own.query.weight", "own.query.bias", "own.key.weight"} | {
        "own.value.weight",
        "own.value.bias",
    }
    for row, name in enumerate(("query", "key", "value")):
        assert torch.equal(found[f"own.{name}.weight"], MATRIX[row : row + 1])
    assert torch.equal(found["own.value.bias"], VECTOR[2:])


def test_layers_are_counted_by_their_highest_number():
    names = [f"decoder.layers.{n}.fc1.weight" for n in (0, 1, 11)] + ["encoder.layers.30.x"]
    file = WhisperFile(Path("model"), WhisperFormat.HUGGING_FACE, dict.fromkeys(names))
    assert file.num_layers(r"decoder\.layers\.(\d+)\.") == 12
    assert file.num_layers(r"nothing\.(\d+)\.") == 1


@pytest.mark.parametrize("name", DECODER_FORMATS)
@pytest.mark.parametrize("part", [0.3, 0.9, 0.999])
def test_a_file_that_was_cut_off_is_refused(tmp_path, name, part):
    path = DECODER_FORMATS[name](tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(CheckpointError, match=path.name):
        read_whisper(path)


def test_a_name_beyond_the_end_of_the_file_is_no_name(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(struct.pack("<IH", 6, 5000) + b"WhisperSpec\0")
    with pytest.raises(CheckpointError, match="damaged or cut off: a name goes beyond"):
        read_whisper(path)


def test_numbers_of_an_unknown_kind_are_refused(tmp_path):
    path = write_ctranslate2(tmp_path / "model.bin", {"w": VECTOR})
    raw = VECTOR.numpy().tobytes()
    kind = struct.pack("<BI", 0, len(raw))
    path.write_bytes(path.read_bytes().replace(kind + raw, struct.pack("<BI", 9, len(raw)) + raw))
    with pytest.raises(CheckpointError, match="w is of an unknown type 9"):
        read_whisper(path)


def test_another_model_of_the_same_format_is_refused(tmp_path):
    path = write_ctranslate2(tmp_path / "model.bin", {"w": VECTOR}, spec="TransformerSpec")
    with pytest.raises(CheckpointError, match="holds a TransformerSpec, not a Whisper"):
        read_whisper(path)


def test_files_of_other_formats_are_refused(tmp_path):
    path = tmp_path / "tiny.pt"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(CheckpointError, match="none of the formats"):
        read_whisper(path)
    named = tmp_path / "model.safetensors"
    named.write_bytes(b"nothing of the kind")
    with pytest.raises(CheckpointError, match="is no safetensors file"):
        read_whisper(named)
    with pytest.raises(CheckpointError, match="There is no file"):
        read_whisper(tmp_path / "gone.pt")


def test_a_folder_gives_what_it_holds(tmp_path):
    with pytest.raises(CheckpointError, match=r"neither model\.safetensors nor model\.bin"):
        read_whisper(tmp_path)
    linear(tmp_path)
    assert read_whisper(tmp_path).format is WhisperFormat.CTRANSLATE2
    safetensors.torch.save_file({"model.w": VECTOR}, tmp_path / "model.safetensors")
    assert torch.equal(read_whisper(tmp_path).take("w"), VECTOR)


def test_an_openai_file_may_be_the_weights_alone_but_runs_no_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("run",))

    torch.save({"w": VECTOR, "note": "hello"}, tmp_path / "plain.pt")
    assert set(read_whisper(tmp_path / "plain.pt").found) == {"w"}
    torch.save({"model_state_dict": {"w": Evil()}}, tmp_path / "evil.pt")
    with pytest.raises(CheckpointError, match="cannot be read as tensors"):
        read_whisper(tmp_path / "evil.pt")
