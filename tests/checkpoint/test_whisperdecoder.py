# SPDX-License-Identifier: Apache-2.0
"""Tiny Whisper decoders in each format become rescorers, weight for weight, of chosen pieces."""

import pytest
import torch

from evenear.checkpoint.whisperdecoder import load_decoder, read_decoder
from evenear.errors import CheckpointError
from tiny_rescorers import random_frames, tiny_rescorer
from tiny_whispers import (
    DECODER_FORMATS,
    WHOLE_VOCABULARY,
    ctranslate2_decoder,
    decoder_weights,
    hugging_face_decoder,
    openai_decoder,
)

PIECES = [14, 3, 0, 7, 7, 9]
ALL = range(WHOLE_VOCABULARY)
MISSING = {
    "hugging face": "model.decoder.layers.1.encoder_attn.v_proj.bias",
    "openai": "decoder.blocks.1.cross_attn.value.bias",
    "ctranslate2": "decoder/layer_1/attention/linear_1/bias",
}


def chosen(**changes):
    """A rescorer of other weights, for the chosen pieces."""
    return tiny_rescorer(seed=5, vocabulary_size=len(PIECES), **changes)


@pytest.mark.parametrize("name", DECODER_FORMATS)
def test_the_weights_of_each_format_are_read_back(tmp_path, name):
    wanted, found = decoder_weights(), read_decoder(DECODER_FORMATS[name](tmp_path))
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


@pytest.mark.parametrize(("kind", "error"), [("float16", 1e-3), ("int8", 5e-3)])
def test_narrow_weights_of_ctranslate2_are_widened(tmp_path, kind, error):
    found = read_decoder(ctranslate2_decoder(tmp_path, kind=kind))
    for name, tensor in decoder_weights().items():
        assert found[name].dtype == torch.float32
        assert (found[name] - tensor).abs().max() <= error * tensor.abs().max()


@pytest.mark.parametrize("name", DECODER_FORMATS)
def test_a_rescorer_that_was_filled_judges_as_the_decoder_does(tmp_path, name):
    theirs, ours = tiny_rescorer(vocabulary_size=WHOLE_VOCABULARY), tiny_rescorer(seed=5)
    load_decoder(ours, DECODER_FORMATS[name](tmp_path), ALL)
    theirs.bridge.load_state_dict(ours.bridge.state_dict())
    given = torch.tensor([[1, 2, 9, 14]]), random_frames(6)[None], torch.tensor([6])
    with torch.no_grad():
        torch.testing.assert_close(ours(*given), theirs(*given))


@pytest.mark.parametrize("name", DECODER_FORMATS)
def test_only_the_chosen_pieces_and_places_are_taken_and_the_bridge_stays(tmp_path, name):
    ours = chosen(max_pieces=9)
    bridge = {part: tensor.clone() for part, tensor in ours.bridge.state_dict().items()}
    load_decoder(ours, DECODER_FORMATS[name](tmp_path), PIECES)
    whole = decoder_weights()
    for row, piece in enumerate(PIECES):
        assert torch.equal(ours.embedding.weight[row], whole["embedding.weight"][piece])
    assert torch.equal(ours.positions_UD, whole["positions_UD"][:9])
    assert all(torch.equal(t, bridge[part]) for part, t in ours.bridge.state_dict().items())
    other = whole.keys() - {"embedding.weight", "positions_UD"}
    assert all(torch.equal(ours.state_dict()[part], whole[part]) for part in other)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_layers": 3}, r"has 3 layers of width 12 \(20 inside\) and 6 pieces; .* has 2 of"),
        ({"dim": 24}, "has 2 layers of width 24 .* of width 12"),
        ({"ff_dim": 21}, r"\(21 inside\) .* \(20 inside\)"),
    ],
)
def test_a_decoder_of_another_size_is_refused_with_both_sizes(tmp_path, changes, said):
    with pytest.raises(CheckpointError, match=said) as refused:
        load_decoder(chosen(**changes), openai_decoder(tmp_path), PIECES)
    assert "another model" in refused.value.hint


def test_pieces_and_places_that_the_decoder_does_not_have_are_refused(tmp_path):
    path = hugging_face_decoder(tmp_path)
    with pytest.raises(CheckpointError, match="and 5 pieces are wanted of it"):
        load_decoder(chosen(), path, PIECES[1:])
    with pytest.raises(CheckpointError, match="has 15 pieces and 24 places; wanted are piece 15"):
        load_decoder(chosen(), path, [15, *PIECES[1:]])
    with pytest.raises(CheckpointError, match="wanted are piece 14 and 25 places"):
        load_decoder(chosen(max_pieces=25), path, PIECES)


def test_a_refused_decoder_changes_nothing(tmp_path):
    ours = chosen(num_layers=3)
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    with pytest.raises(CheckpointError):
        load_decoder(ours, openai_decoder(tmp_path), PIECES)
    assert all(torch.equal(t, before[name]) for name, t in ours.state_dict().items())


@pytest.mark.parametrize("name", DECODER_FORMATS)
def test_a_weight_that_is_missing_is_named(tmp_path, name):
    path = DECODER_FORMATS[name](tmp_path, without=MISSING[name])
    missing = MISSING[name].removeprefix("model.")
    with pytest.raises(CheckpointError, match=f"{path.name} has no weight {missing}"):
        read_decoder(path)


@pytest.mark.parametrize("name", DECODER_FORMATS)
def test_a_file_that_was_cut_off_is_refused(tmp_path, name):
    path = DECODER_FORMATS[name](tmp_path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CheckpointError, match=path.name):
        read_decoder(path)


def test_what_holds_no_decoder_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="holds a TransformerSpec, not a Whisper"):
        read_decoder(ctranslate2_decoder(tmp_path, spec="TransformerSpec"))
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(CheckpointError, match="none of the formats"):
        read_decoder(tmp_path / "notes.txt")
