# SPDX-License-Identifier: Apache-2.0
"""A decoder beside a model is found again with its words, and refused beside another model.

Dimensions: T frames, F width of a frame, P pieces that are added, D width.
"""

import dataclasses
import json
import zlib

import pytest
import safetensors.torch
import torch

from evenear.checkpoint import RescorerBundle, load_model, put_rescorer, save_model
from evenear.checkpoint.folders import read_folder, write_folder
from evenear.checkpoint.rescorers import digest_of
from evenear.config import replace
from evenear.errors import CheckpointError
from evenear.lexicon import Lexicon
from evenear.search import LexiconSearch
from evenear.search.rescoring import Rescoring
from evenear.seeding import torch_rng_for
from evenear.streaming.searches import build_search
from laws import tiny_word_bundle
from tiny_rescorers import random_frames, tiny_rescorer

WIDTH = 11
FRAMES_TF = random_frames(8, width=WIDTH)
READINGS = [(1, 2), (3,), (), (1, 5, 6)]
SPELLINGS = ((), (3,), (4, 5), (), (6, 7, 8), (9,), (14,))
TEXTS = (
    "<end>",
    "<start>",
    "<go>",
    " a",
    " at",
    " c",
    "a",
    "t",
    "at",
    " h",
    "b",
    "l",
    "i",
    "s",
    "il",
)
NEW_SAID = {"HAT": ((4, 1, 2),), "TIL": ((2, 1),), "HILL": ((4, 1),), "BAT": ((3, 1),)}


def rescorer(spellings=SPELLINGS, **changes) -> RescorerBundle:
    model = tiny_rescorer(**{"frame_dim": WIDTH, **changes})
    digest = digest_of(tiny_word_bundle().words)
    return RescorerBundle(
        model=model, spellings=spellings, words_digest=digest, provenance={"updates": 3}
    )


def enlarged_words(*names: str):
    """The words of the tiny model, and these."""
    words = tiny_word_bundle().words
    lexicon = Lexicon(words.phones, {name: NEW_SAID[name] for name in names})
    return words.with_words(dict.fromkeys(names, 1.0), lexicon)


def saved(folder, **parts):
    """A recognizer of six words, and what else is given."""
    bundle = tiny_word_bundle()
    given = {"features": bundle.features, "tokenizer": bundle.tokenizer, "words": bundle.words}
    save_model(folder, model=bundle.model, **{**given, **parts})
    return folder


def judged(found: RescorerBundle) -> list[float]:
    return Rescoring(found.model, found.spellings).log_probs(FRAMES_TF, READINGS, (4,))


@pytest.fixture
def folder(tmp_path):
    return saved(tmp_path / "model", rescorer=rescorer())


def test_a_decoder_is_found_again_beside_its_model(folder):
    found = load_model(folder).rescorer
    assert found is not None
    expected = rescorer()
    assert found.spellings == expected.spellings
    assert found.model.config == expected.model.config
    assert found.provenance == {"updates": 3}
    assert not found.model.training
    assert judged(found) == pytest.approx(judged(expected), abs=0.2)
    given = torch.tensor([[1, 2, 5, 9]]), FRAMES_TF[None], torch.tensor([8])
    with torch.no_grad():
        logits, wanted = found.model(*given), expected.model(*given)
    assert (logits - wanted).abs().max() < 0.05 * wanted.std()


def test_weights_are_as_near_as_bytes_can_be(folder):
    found, expected = load_model(folder).rescorer.model.state_dict(), rescorer().model.state_dict()
    for name, weight in expected.items():
        assert found[name].dtype == torch.float32
        if weight.ndim < 2:
            assert torch.equal(found[name], weight)
            continue
        step = weight.abs().amax(dim=1, keepdim=True) / 127
        assert ((found[name] - weight).abs() <= 0.501 * step).all()
    assert (folder / "rescorer.safetensors").stat().st_size < 4 * sum(
        weight.numel() for weight in expected.values()
    )


def test_loading_a_decoder_changes_no_global_generator(folder):
    before = torch.random.get_rng_state()
    load_model(folder)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_decoder_is_put_beside_a_model_that_stays_as_it_is(tmp_path):
    folder = saved(tmp_path / "model")
    assert load_model(folder).rescorer is None
    before = {name: (folder / name).read_bytes() for name in ("weights.safetensors", "words.npz")}
    put_rescorer(folder, rescorer())
    assert judged(load_model(folder).rescorer) == pytest.approx(judged(rescorer()), abs=0.2)
    assert all((folder / name).read_bytes() == content for name, content in before.items())


def test_a_later_decoder_takes_the_place_of_the_first_and_a_copy_leaves_it(folder, tmp_path):
    before = (folder / "manifest.json").read_bytes()
    later = rescorer(seed=4)
    put_rescorer(folder, later, tmp_path / "copy")
    assert (folder / "manifest.json").read_bytes() == before
    assert judged(load_model(tmp_path / "copy").rescorer) == pytest.approx(judged(later), abs=0.2)
    put_rescorer(folder, later)
    assert judged(load_model(folder).rescorer) == judged(load_model(tmp_path / "copy").rescorer)
    assert judged(later) != pytest.approx(judged(rescorer()), abs=0.2)


def test_no_decoder_is_put_beside_what_is_no_model(tmp_path):
    with pytest.raises(CheckpointError):
        put_rescorer(tmp_path / "gone", rescorer())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"frame_dim": 7}, "reads frames 7 wide.* are 11 wide"),
        ({"spellings": SPELLINGS[:-1]}, "writes 5 words; the model has 6"),
    ],
)
def test_a_decoder_of_another_model_is_refused(tmp_path, changes, said):
    with pytest.raises(CheckpointError, match=said) as refused:
        saved(tmp_path / "model", rescorer=rescorer(**changes))
    assert "rescorer.*" in refused.value.hint
    folder = saved(tmp_path / "model")
    put_rescorer(folder, rescorer(**changes))
    with pytest.raises(CheckpointError, match=said):
        load_model(folder)


def test_a_model_without_words_has_nothing_to_judge(tmp_path):
    with pytest.raises(CheckpointError, match=r"writes 6 words; the model has 0"):
        saved(tmp_path / "model", rescorer=rescorer(), words=None)


def broken(folder, out, **changes):
    """The same folder with some files changed; None leaves one out."""
    files = {**read_folder(folder, ()), **{k.replace("_", "."): v for k, v in changes.items()}}
    write_folder(out, {name: content for name, content in files.items() if content is not None})
    return out


def test_for_other_words_a_search_does_without_the_decoder(folder):
    bundle = load_model(folder)
    words = bundle.words
    assert words is not None
    settings = replace(bundle.word_search, rescorer_weight=1.0)
    search = build_search(bundle, settings, None)
    assert isinstance(search, LexiconSearch)
    assert search.rescoring is not None
    turned = dataclasses.replace(words, words=tuple(reversed(words.words)))
    search = build_search(dataclasses.replace(bundle, words=turned), settings, None)
    assert isinstance(search, LexiconSearch)
    assert search.rescoring is None


def test_new_words_get_the_fewest_pieces_that_write_them_or_those_given():
    words = enlarged_words("HAT", "HILL")
    made = dataclasses.replace(rescorer(), texts=TEXTS).with_words(words)
    assert made.spellings == (*SPELLINGS, (9, 8), (9, 14, 11))
    made.check_fits(WIDTH, words)
    given = dataclasses.replace(rescorer(), texts=TEXTS).with_words(words, {"HAT": [9, 6, 7]})
    assert given.spellings[-2:] == ((9, 6, 7), (9, 14, 11))


def test_words_that_no_piece_writes_or_that_are_not_behind_its_own_are_refused():
    known = dataclasses.replace(rescorer(), texts=TEXTS)
    for one, name in ((known, "TIL"), (known, "BAT"), (rescorer(), "HAT")):
        with pytest.raises(CheckpointError, match=f"no pieces that write {name}"):
            one.with_words(enlarged_words(name))
    words = enlarged_words("HAT")
    turned = dataclasses.replace(words, words=tuple(reversed(words.words)))
    with pytest.raises(CheckpointError, match="writes 6 words; the first of the 7"):
        known.with_words(turned)


def test_more_pieces_change_nothing_of_what_the_others_are(tmp_path):
    rows_PD = torch.randn(2, 12, generator=torch_rng_for(0, "rows"))
    known = dataclasses.replace(rescorer(), texts=TEXTS)
    made = known.with_pieces([" b", "hi"], rows_PD)
    assert made.texts == (*TEXTS, " b", "hi")
    assert made.model.config.vocabulary_size == 17
    given = torch.tensor([[1, 2, 5, 9]]), FRAMES_TF[None], torch.tensor([8])
    with torch.no_grad():
        assert torch.allclose(made.model(*given)[..., :15], known.model(*given), atol=1e-5)
    words = enlarged_words("HAT", "BAT")
    made = made.with_words(words)
    assert made.spellings[-2:] == ((15, 8), (9, 8))
    found = load_model(saved(tmp_path / "model", words=words, rescorer=made)).rescorer
    assert (found.spellings, found.texts) == (made.spellings, made.texts)
    with pytest.raises(CheckpointError, match=r"rows of shape \(2, 12\)"):
        known.with_pieces([" b"], rows_PD)
    with pytest.raises(CheckpointError, match="knows the texts of 0"):
        rescorer().with_pieces([" b", "hi"], rows_PD)


def test_a_decoder_that_is_stored_once_more_keeps_its_bytes(folder):
    again = load_model(folder).rescorer.files()
    first = safetensors.torch.load((folder / "rescorer.safetensors").read_bytes())
    second = safetensors.torch.load(again["rescorer.safetensors"])
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]) or tensor.is_floating_point()


def test_pieces_take_two_bytes_and_those_of_older_files_four(folder, tmp_path):
    weights = safetensors.torch.load((folder / "rescorer.safetensors").read_bytes())
    assert weights["spellings.pieces"].dtype == torch.int16
    assert weights["spellings.lengths"].dtype == torch.uint8
    weights["spellings.pieces"] = weights["spellings.pieces"].int()
    weights["spellings.lengths"] = weights["spellings.lengths"].short()
    older = broken(folder, tmp_path / "older", rescorer_safetensors=safetensors.torch.save(weights))
    assert load_model(older).rescorer.spellings == SPELLINGS


def test_texts_of_other_pieces_are_refused(folder, tmp_path):
    weights = safetensors.torch.load((folder / "rescorer.safetensors").read_bytes())
    for content, said in ((zlib.compress(b"a\nb"), "texts of other"), (b"none", "cannot be read")):
        weights["spellings.texts"] = torch.tensor(list(content), dtype=torch.uint8)
        changed = safetensors.torch.save(weights)
        with pytest.raises(CheckpointError, match=said):
            load_model(broken(folder, tmp_path / "broken", rescorer_safetensors=changed))


@pytest.mark.parametrize("gone", ["rescorer_json", "rescorer_safetensors"])
def test_one_file_without_the_other_is_refused(folder, tmp_path, gone):
    with pytest.raises(CheckpointError, match="a part of a decoder only: rescorer"):
        load_model(broken(folder, tmp_path / "broken", **{gone: None}))


def test_a_folder_from_which_both_files_are_gone_is_the_model_alone(folder, tmp_path):
    gone = {"rescorer_json": None, "rescorer_safetensors": None}
    found = load_model(broken(folder, tmp_path / "alone", **gone))
    assert found.rescorer is None
    assert found.words is not None


def test_settings_that_fit_no_decoder_are_refused(folder, tmp_path):
    settings = json.loads((folder / "rescorer.json").read_text())
    for change in ({"num_layers": 0}, {"unknown": 1}, {"start": []}):
        other = {**settings, "rescorer": {**settings["rescorer"], **change}}
        changed = broken(folder, tmp_path / "broken", rescorer_json=json.dumps(other).encode())
        with pytest.raises(CheckpointError, match="a decoder that cannot be read"):
            load_model(changed)


def test_weights_of_another_size_are_refused(folder, tmp_path):
    other = rescorer(num_layers=1).files()["rescorer.safetensors"]
    changed = broken(folder, tmp_path / "broken", rescorer_safetensors=other)
    with pytest.raises(CheckpointError, match=r"of another model: layers\.1\..* is missing"):
        load_model(changed)


def test_files_that_are_no_weights_are_refused(folder, tmp_path):
    for content in (b"nothing of the kind", safetensors.torch.save({"decoder.x": torch.ones(1)})):
        changed = broken(folder, tmp_path / "broken", rescorer_safetensors=content)
        with pytest.raises(CheckpointError, match="a decoder that cannot be read"):
            load_model(changed)


@pytest.mark.parametrize(
    ("name", "values"),
    [("spellings.pieces", [3, 4, 5, 6, 7, 8, 9, 15]), ("spellings.lengths", [0, 1, 2, 0, 3, 1, 9])],
)
def test_spellings_of_pieces_that_are_not_there_are_refused(folder, tmp_path, name, values):
    weights = safetensors.torch.load((folder / "rescorer.safetensors").read_bytes())
    weights[name] = torch.tensor(values, dtype=weights[name].dtype)
    content = safetensors.torch.save(weights)
    changed = broken(folder, tmp_path / "broken", rescorer_safetensors=content)
    with pytest.raises(CheckpointError, match="with pieces it does not have"):
        load_model(changed)


def test_a_damaged_file_is_named(folder):
    path = folder / "rescorer.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"rescorer\.safetensors"):
        load_model(folder)
