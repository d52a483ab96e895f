# SPDX-License-Identifier: Apache-2.0
"""A model folder is whole or absent, and says what is wrong with it."""

import copy
import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from evenear.checkpoint import RescorerBundle, load_model, save_model, shipped_models
from evenear.checkpoint.rescorers import digest_of
from evenear.config import replace
from evenear.errors import CheckpointError
from evenear.features import FeatureConfig
from evenear.language import NgramModel
from evenear.lexicon import Lexicon
from evenear.search import greedy_search
from evenear.streaming.searches import build_search
from evenear.tokenizer import Tokenizer
from laws import (
    ENCODERS,
    FEATURES,
    random_features,
    tiny_tokenizer,
    tiny_transducer,
    tiny_word_bundle,
)
from tiny_rescorers import tiny_rescorer

FILES = ["card.md", "config.json", "manifest.json", "tokenizer.model", "weights.safetensors"]


def saved(folder: Path, *, seed: int = 0, card: str = "# A card", **options) -> Path:
    save_model(
        folder,
        model=tiny_transducer(seed=seed),
        features=FEATURES,
        tokenizer=tiny_tokenizer(),
        card=card,
        **options,
    )
    return folder


@pytest.mark.parametrize(
    ("encoder", "predictor"), [*((name, "lstm") for name in ENCODERS), ("lstm", "stateless")]
)
def test_a_loaded_model_is_the_saved_one(tmp_path, encoder, predictor):
    model = tiny_transducer(encoder, predictor)
    save_model(tmp_path / "m", model=model, features=FEATURES, tokenizer=tiny_tokenizer())
    bundle = load_model(tmp_path / "m")
    assert bundle.model.config == model.config
    assert bundle.features == FEATURES
    assert bundle.tokenizer.model == tiny_tokenizer().model
    weights = model.state_dict()
    assert bundle.model.state_dict().keys() == weights.keys()
    assert all(torch.equal(t, weights[name]) for name, t in bundle.model.state_dict().items())
    num_frames = 40 * model.encoder.stride
    features_BTF = random_features(num_frames)
    encoded = [m.encode(features_BTF, torch.tensor([num_frames])) for m in (model, bundle.model)]
    first, second = (greedy_search(model, e) for e in encoded)
    assert first == second
    assert first[0].tokens


def test_loading_gives_evaluation_mode_float32_and_leaves_the_global_generator_alone(tmp_path):
    folder = saved(tmp_path / "m", dtype="float16")
    before = torch.random.get_rng_state()
    bundle = load_model(folder)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not bundle.model.training
    assert {t.dtype for t in bundle.model.state_dict().values()} == {torch.float32}


def test_float16_halves_matrices_and_keeps_vectors_exact(tmp_path):
    wide, narrow = saved(tmp_path / "wide"), saved(tmp_path / "narrow", dtype="float16")
    sizes = [(f / "weights.safetensors").stat().st_size for f in (wide, narrow)]
    assert sizes[1] < 0.75 * sizes[0]
    own, loaded = tiny_transducer().state_dict(), load_model(narrow).model.state_dict()
    for name, tensor in own.items():
        if tensor.ndim > 1:
            torch.testing.assert_close(loaded[name], tensor, rtol=1e-3, atol=1e-7)
        else:
            assert torch.equal(loaded[name], tensor)


def test_int8_quarters_matrices_and_rounds_each_row_by_its_own_scale(tmp_path):
    wide, narrow = saved(tmp_path / "wide"), saved(tmp_path / "narrow", dtype="int8")
    sizes = [(f / "weights.safetensors").stat().st_size for f in (wide, narrow)]
    assert sizes[1] < 0.7 * sizes[0]  # much of so small a file is names and vectors
    own, loaded = tiny_transducer().state_dict(), load_model(narrow).model.state_dict()
    assert own.keys() == loaded.keys()
    for name, tensor in own.items():
        if tensor.ndim > 1:
            rows, error = tensor.flatten(1), (loaded[name] - tensor).flatten(1)
            half_steps = rows.abs().amax(dim=1) / 254
            assert (error.abs().amax(dim=1) <= half_steps * 1.001).all()
        else:
            assert torch.equal(loaded[name], tensor)


def test_a_language_model_travels_with_the_recognizer(tmp_path):
    language_model = NgramModel.train(["THE CAT SAT ON THE MAT"], tiny_tokenizer())
    folder = saved(tmp_path / "m", language_model=language_model)
    assert load_model(saved(tmp_path / "without")).language_model is None
    loaded = load_model(folder).language_model
    tokens = tiny_tokenizer().encode("THE CAT")
    assert torch.equal(loaded.next_log_probs(tokens), language_model.next_log_probs(tokens))
    content = bytearray((folder / "language.npz").read_bytes())
    content[100] ^= 1
    (folder / "language.npz").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"language\.npz is damaged"):
        load_model(folder)


def test_a_language_model_of_another_tokenizer_is_refused(tmp_path):
    other = Tokenizer.train(["A CAT AND A HAT", "THE HAT OF THE CAT"], 16)
    language_model = NgramModel.train(["A CAT"], other)
    with pytest.raises(CheckpointError, match="another tokenizer"):
        saved(tmp_path / "m", language_model=language_model)


def test_a_weight_too_large_for_float16_is_refused(tmp_path):
    model = copy.deepcopy(tiny_transducer())
    with torch.no_grad():
        model.joiner.output.weight[0, 0] = 1e5
    with pytest.raises(CheckpointError, match=r"joiner\.output\.weight does not fit float16"):
        save_model(
            tmp_path / "m",
            model=model,
            features=FEATURES,
            tokenizer=tiny_tokenizer(),
            dtype="float16",
        )
    assert list(tmp_path.iterdir()) == []


def test_saving_twice_writes_the_same_bytes(tmp_path):
    first, second = saved(tmp_path / "a"), saved(tmp_path / "b")
    assert sorted(p.name for p in first.iterdir()) == FILES
    assert all((first / n).read_bytes() == (second / n).read_bytes() for n in FILES)


def test_an_existing_model_is_replaced_and_nothing_is_left_beside_it(tmp_path):
    saved(tmp_path / "m", seed=0, card="old")
    saved(tmp_path / "m", seed=1, card="new")
    bundle = load_model(tmp_path / "m")
    assert bundle.card == "new"
    assert torch.equal(
        bundle.model.joiner.output.weight, tiny_transducer(seed=1).joiner.output.weight
    )
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_is_no_model_is_never_replaced_by_one(tmp_path, what):
    """A run's folder, given by mistake for the model in it."""
    place = tmp_path / "run"
    kept = place / "snapshot.pt" if what == "folder" else place
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("weeks of work")
    with pytest.raises(CheckpointError, match=r"holds something else|must be a folder, but"):
        saved(place)
    assert kept.read_text() == "weeks of work"
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_notes_beside_a_models_files_stay(tmp_path):
    folder = saved(tmp_path / "m", card="old")
    (folder / "notes.txt").write_text("mine")
    saved(folder, card="new")
    assert (folder / "notes.txt").read_text() == "mine"
    assert load_model(folder).card == "new"


def test_a_link_to_a_model_stays_a_link(tmp_path):
    real = saved(tmp_path / "disk" / "m", card="old")
    link = tmp_path / "m"
    link.symlink_to(real)
    for card in ("new", "newer"):
        saved(link, card=card)
        assert load_model(real).card == card
    assert link.is_symlink()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["disk", "m"]


def test_what_a_killed_save_left_is_cleared_away(tmp_path):
    (tmp_path / ".m.writing-0123").mkdir()
    saved(tmp_path / "m")
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_the_current_folder_takes_a_model(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    saved(Path("."))
    assert load_model(tmp_path / "here").name == "here"


@pytest.mark.parametrize("name", [n for n in FILES if n != "manifest.json"])
def test_a_flipped_bit_is_found_and_its_file_is_named(tmp_path, name):
    folder = saved(tmp_path / "m")
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{name} is damaged"):
        load_model(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(tmp_path, name):
    folder = saved(tmp_path / "m")
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        load_model(folder)


def test_a_cut_off_file_is_named(tmp_path):
    folder = saved(tmp_path / "m")
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"weights\.safetensors is damaged"):
        load_model(folder)


def forge(folder: Path, **contents: bytes) -> None:
    """Change files and make the manifest agree, as a careless tool would."""
    import hashlib

    manifest = json.loads((folder / "manifest.json").read_bytes())
    for stem, content in contents.items():
        name = next(n for n in FILES if n.startswith(stem))
        (folder / name).write_bytes(content)
        facts = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        manifest["files"][name] = facts
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_weights_of_another_model_are_refused_by_name(tmp_path):
    folder = saved(tmp_path / "m")
    other = tmp_path / "other"
    save_model(
        other,
        model=tiny_transducer("lstm", "stateless"),
        features=FEATURES,
        tokenizer=tiny_tokenizer(),
    )
    forge(folder, weights=(other / "weights.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match=r"predictor\.\S+ is missing; .* and \d+ more"):
        load_model(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not json", "is no JSON"),
        (b"[]", "must hold a JSON object"),
        (b'{"format": 99}', "has format 99"),
        (b'{"format": 1, "transducer": {"encoder": 3}, "features": {}}', "another version"),
    ],
)
def test_settings_that_cannot_be_read_are_explained(tmp_path, content, message):
    folder = saved(tmp_path / "m")
    forge(folder, config=content)
    with pytest.raises(CheckpointError, match=message):
        load_model(folder)


def test_a_tokenizer_that_is_none_is_a_checkpoint_error(tmp_path):
    folder = saved(tmp_path / "m")
    forge(folder, tokenizer=b"no model")
    with pytest.raises(CheckpointError, match="is no tokenizer"):
        load_model(folder)


def test_parts_that_do_not_fit_are_refused_before_anything_is_written(tmp_path):
    parts = {"model": tiny_transducer(), "tokenizer": tiny_tokenizer()}
    with pytest.raises(CheckpointError, match=r"feature width is 24, .* 192"):
        save_model(tmp_path / "m", features=FeatureConfig(), **parts)
    parts["model"] = tiny_transducer(vocabulary_size=41)
    with pytest.raises(CheckpointError, match=r"vocabulary size is 41, .* 40"):
        save_model(tmp_path / "m", features=FEATURES, **parts)
    parts["model"] = tiny_transducer(blank_id=7)
    with pytest.raises(CheckpointError, match="id of blank is 7"):
        save_model(tmp_path / "m", features=FEATURES, **parts)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_name_lists_what_is_shipped(tmp_path):
    with pytest.raises(CheckpointError) as caught:
        load_model("evenear-en-smal")
    shipped = shipped_models()
    assert all(name in str(caught.value) for name in shipped)
    assert shipped or "this installation has none" in str(caught.value)
    with pytest.raises(CheckpointError, match=r"has no manifest\.json"):
        load_model(tmp_path)


def test_a_full_disk_leaves_the_old_model_whole(tmp_path):
    """A file size limit stands in for the full disk: the write fails half way, for real."""
    folder = saved(tmp_path / "m", card="old")
    code = f"""
import resource, sys
sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
from pathlib import Path
from checkpoint.test_bundles import saved
from evenear.errors import CheckpointError
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    saved(Path({str(folder)!r}), seed=1, card="new")
except CheckpointError as error:
    assert "could not be written" in error.message, error
    assert "unharmed" in error.hint, error
else:
    raise SystemExit("the write should have failed")
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert load_model(folder).card == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_a_rename_that_fails_leaves_the_old_model_whole(tmp_path, monkeypatch):
    folder, rename = saved(tmp_path / "m", card="old"), Path.rename

    def failing(self: Path, target: Path) -> Path:
        if ".writing-" in self.name:
            raise OSError("the disk is gone")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(CheckpointError, match="could not be written"):
        saved(folder, card="new")
    assert load_model(folder).card == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_a_save_that_was_killed_between_its_renames_loses_nothing(tmp_path):
    saved(tmp_path / "m", card="old")
    (tmp_path / "m").rename(tmp_path / ".m.previous")  # where the kill leaves it
    assert load_model(tmp_path / "m").card == "old"
    saved(tmp_path / "m", card="new")
    assert load_model(tmp_path / "m").card == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_words_of_ones_own_are_searched_for_beside_the_models():
    bundle = tiny_word_bundle()
    assert bundle.words is not None
    names = Lexicon(bundle.words.phones, {"TAM": ((2, 1, 4),)})
    words = bundle.words.with_words({"TAM": 1.0}, names)
    found = bundle.with_words(words)
    assert found.words is words
    assert found.rescorer is None
    search = build_search(found, found.word_search, None)
    assert search.best(search.initial_state()).tokens == ()
    other = dataclasses.replace(words, phones=(*words.phones, "NG"))
    with pytest.raises(CheckpointError, match="5 phones need a model"):
        bundle.with_words(other)
    spelled = RescorerBundle(
        model=tiny_rescorer(frame_dim=bundle.model.config.joiner_dim),
        spellings=((), *(((3,),) * 6)),
        words_digest=digest_of(bundle.words),
        texts=(*"<>^", " tam", *map(str, range(11))),
    )
    judged = dataclasses.replace(bundle, rescorer=spelled).with_words(words)
    assert judged.rescorer is not None
    assert judged.rescorer.spellings[-1] == (3,)
    assert build_search(judged, replace(judged.word_search, rescorer_weight=1.0), None).rescoring
