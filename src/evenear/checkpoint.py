# SPDX-License-Identifier: Apache-2.0
"""A trained recognizer as one folder: weights, settings, tokenizer and card.

    weights.safetensors    the weights: float32, float16 or int8 with a scale for each row
    config.json            the model and the features it listens to
    tokenizer.model        the sentencepiece model
    card.md                what it was trained on, what it can and cannot do
    language.npz           a language model of its tokens, if it has one
    words.npz              words with their pronunciations and n-grams, if it has some
    manifest.json          size and SHA-256 of every other file

A folder is whole or absent: it is written beside its target and renamed into place, and the old one
is removed last. Reading checks every byte against the manifest and every weight against the model,
so a damaged or mixed-up folder is named as such and never half loaded.

Source: the safetensors format, https://github.com/huggingface/safetensors (it cannot carry code).
"""

import hashlib
import importlib.resources
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import safetensors
import safetensors.torch
import torch

from evenear.config import from_dict, to_dict
from evenear.errors import CheckpointError, ConfigError, TokenizerError, nearest_names
from evenear.features import FeatureConfig
from evenear.language import NgramModel, WordModel
from evenear.models.transducer import Transducer, TransducerConfig
from evenear.search import BeamConfig, LexiconConfig
from evenear.tokenizer import Tokenizer
from evenear.weights import stored, widened

__all__ = ["Bundle", "load_model", "save_model", "shipped_models"]

_FORMAT = 1
_WEIGHTS, _CONFIG, _TOKENIZER = "weights.safetensors", "config.json", "tokenizer.model"
_CARD, _LANGUAGE, _WORDS, _MANIFEST = "card.md", "language.npz", "words.npz", "manifest.json"
_NAMES = {_WEIGHTS, _CONFIG, _TOKENIZER, _CARD, _LANGUAGE, _WORDS, _MANIFEST}


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """Everything that a folder holds, ready to recognize."""

    model: Transducer
    """In evaluation mode, float32."""
    features: FeatureConfig
    tokenizer: Tokenizer
    card: str
    """Markdown; empty if there is none."""
    language_model: NgramModel | None
    search: BeamConfig
    """How to search for tokens, as whoever made the model recommends."""
    words: WordModel | None
    """The words to search for instead, if the model has some."""
    word_search: LexiconConfig
    """How to search for them."""
    name: str
    """The name of the folder."""


def save_model(
    folder: str | Path,
    *,
    model: Transducer,
    features: FeatureConfig,
    tokenizer: Tokenizer,
    card: str = "",
    language_model: NgramModel | None = None,
    search: BeamConfig | None = None,
    words: WordModel | None = None,
    word_search: LexiconConfig | None = None,
    dtype: Literal["float32", "float16", "int8"] = "float32",
) -> None:
    """Write a recognizer to a folder, replacing what is there only when all is written.

    Args:
        folder: Where it goes; its parent is made if need be.
        model: The model; its weights are read, not changed.
        features: The features it was trained on.
        tokenizer: The tokenizer it was trained with.
        card: Markdown that says what the model is.
        language_model: A language model that was trained with this tokenizer.
        search: How to search for tokens with it; None: greedily.
        words: Words to search for, whose phones the model tells apart.
        word_search: How to search for them.
        dtype: Type of matrices in the file; vectors and statistics always stay float32, and a
            loaded model always computes in float32.

    Raises:
        CheckpointError: The parts do not fit each other, or the folder cannot be written; what was
            there before is unharmed.
    """
    _check_fit(model.config, features, tokenizer)
    settings = {
        "format": _FORMAT,
        "transducer": to_dict(model.config),
        "features": to_dict(features),
        "search": to_dict(search or BeamConfig(width=1)),
        "word_search": to_dict(word_search or LexiconConfig()),
    }
    files = {
        _WEIGHTS: safetensors.torch.save(stored(model.state_dict(), dtype)),
        _CONFIG: (json.dumps(settings, indent=2) + "\n").encode(),
        _TOKENIZER: tokenizer.model,
        _CARD: card.encode(),
    }
    if language_model is not None:
        language_model.check_fits(tokenizer)
        files[_LANGUAGE] = language_model.to_bytes()
    if words is not None:
        _check_phones(model.config, words)
        files[_WORDS] = words.to_bytes()
    _write_folder(Path(folder), files)


def load_model(name_or_folder: str | Path) -> Bundle:
    """Read a recognizer from a folder, or a shipped one by its name.

    Raises:
        CheckpointError: There is no such model, a file is missing or damaged, or the weights belong
            to another model.
    """
    folder = _find(name_or_folder)
    files = _read_files(folder)
    transducer, features, search, word_search = _read_settings(folder, files[_CONFIG])
    try:
        tokenizer = Tokenizer(files[_TOKENIZER])
    except TokenizerError as error:
        raise CheckpointError(f"{folder / _TOKENIZER} is no tokenizer: {error}") from None
    _check_fit(transducer, features, tokenizer)
    language_model = None
    if _LANGUAGE in files:
        language_model = NgramModel.from_bytes(files[_LANGUAGE])
        language_model.check_fits(tokenizer)
    words = WordModel.from_bytes(files[_WORDS]) if _WORDS in files else None
    if words is not None:
        _check_phones(transducer, words)
    with torch.random.fork_rng(devices=[]):
        model = Transducer(transducer)
    _load_weights(folder, model, files[_WEIGHTS])
    return Bundle(
        model=model.eval(),
        features=features,
        tokenizer=tokenizer,
        card=files.get(_CARD, b"").decode(),
        language_model=language_model,
        search=search,
        words=words,
        word_search=word_search,
        name=folder.name,
    )


def shipped_models() -> list[str]:
    """Names of the models inside this package."""
    root = importlib.resources.files("evenear") / "shipped"
    if not root.is_dir():
        return []
    return sorted(child.name for child in root.iterdir() if (child / _MANIFEST).is_file())


def _find(name_or_folder: str | Path) -> Path:
    """The folder of a model: as given, just replaced, or shipped."""
    folder = Path(name_or_folder)
    if folder.is_dir():
        return folder
    if _previous(folder).is_dir():  # a save was cut off between two renames
        return _previous(folder)
    shipped = shipped_models()
    if str(name_or_folder) in shipped:
        return Path(str(importlib.resources.files("evenear") / "shipped" / str(name_or_folder)))
    hint = "Give the folder that a training run wrote."
    if shipped:
        hint = nearest_names(str(name_or_folder), shipped)
    raise CheckpointError(
        f"There is no model {str(name_or_folder)!r}: neither a folder nor one of the shipped "
        f"models ({', '.join(shipped) or 'this installation has none'}).",
        hint=hint,
    )


def _previous(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.previous")


def _check_fit(config: TransducerConfig, features: FeatureConfig, tokenizer: Tokenizer) -> None:
    """Refuse parts that cannot work together."""
    pairs = [
        ("vocabulary size", config.vocabulary_size, len(tokenizer)),
        ("id of blank", config.blank_id, tokenizer.blank_id),
        ("feature width", config.encoder.feature_dim, features.dim),
    ]
    for what, of_model, given in pairs:
        if of_model != given:
            raise CheckpointError(
                f"The model's {what} is {of_model}, but its tokenizer and features have {given}.",
                hint="Save a model with the tokenizer and features that it was trained with.",
            )


def _check_phones(config: TransducerConfig, words: WordModel) -> None:
    """Refuse words whose phones the model does not tell apart."""
    if config.phones != len(words.phones):
        raise CheckpointError(
            f"Words of {len(words.phones)} phones need a model that tells as many apart; this one "
            f"knows {config.phones}.",
            hint="Make the words from the pronunciations that the model was trained with.",
        )


def _load_weights(folder: Path, model: Transducer, content: bytes) -> None:
    """Fill the model, refusing weights that are missing, extra or of another shape."""
    try:
        wide = widened(safetensors.torch.load(content))
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{folder / _WEIGHTS} is no safetensors file: {error}") from None
    own = model.state_dict()
    missing, extra = sorted(own.keys() - wide.keys()), sorted(wide.keys() - own.keys())
    reshaped = [name for name in own.keys() & wide.keys() if own[name].shape != wide[name].shape]
    wrong = [f"{name} is missing" for name in missing]
    wrong += [f"{name} is unknown" for name in extra]
    wrong += [f"{name} has another shape" for name in sorted(reshaped)]
    if wrong:
        raise CheckpointError(
            f"The weights in {folder} are of another model: {'; '.join(wrong[:5])}"
            + (f"; and {len(wrong) - 5} more." if len(wrong) > 5 else "."),
            hint="Keep config.json and weights.safetensors of one run together.",
        )
    model.load_state_dict(wide, strict=True)


def _read_settings(
    folder: Path, content: bytes
) -> tuple[TransducerConfig, FeatureConfig, BeamConfig, LexiconConfig]:
    settings: dict[str, Any] = _json(folder / _CONFIG, content)
    if settings.get("format") != _FORMAT:
        raise CheckpointError(
            f"{folder} has format {settings.get('format')!r}; this version reads {_FORMAT}.",
            hint="Install the version of evenear that wrote it.",
        )
    try:
        return (
            from_dict(TransducerConfig, settings.get("transducer", {})),
            from_dict(FeatureConfig, settings.get("features", {})),
            from_dict(BeamConfig, settings.get("search", {})),
            from_dict(LexiconConfig, settings.get("word_search", {})),
        )
    except ConfigError as error:
        raise CheckpointError(
            f"{folder / _CONFIG} is of another version of evenear: {error}"
        ) from None


def _json(path: Path, content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except ValueError as error:
        raise CheckpointError(f"{path} is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} must hold a JSON object, got {type(value).__name__}.")
    return value


def _read_files(folder: Path) -> dict[str, bytes]:
    """Every file of the manifest, checked byte by byte."""
    again = "Copy the folder again, or train or download the model again."
    manifest_path = folder / _MANIFEST
    if not manifest_path.is_file():
        raise CheckpointError(
            f"{folder} is no model: it has no {_MANIFEST}.",
            hint="Give the folder that a training run wrote.",
        )
    listed = _json(manifest_path, manifest_path.read_bytes()).get("files")
    if not isinstance(listed, dict) or not {_WEIGHTS, _CONFIG, _TOKENIZER} <= listed.keys():
        raise CheckpointError(f"{manifest_path} does not list the files of a model.", hint=again)
    files = {}
    for name, facts in listed.items():
        path = folder / Path(name).name
        if not path.is_file():
            raise CheckpointError(f"{path} is missing.", hint=again)
        files[name] = path.read_bytes()
        if facts != _facts(files[name]):
            raise CheckpointError(
                f"{path} is damaged: its content does not have the SHA-256 that {_MANIFEST} says.",
                hint=again,
            )
    return files


def _facts(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files to a folder beside `folder`, then put it in place."""
    manifest = {"format": _FORMAT, "files": {name: _facts(files[name]) for name in sorted(files)}}
    folder = folder.resolve()  # a link stays a link
    _check_replaceable(folder)
    beside = f".{folder.name}.writing-"
    temporary = folder.with_name(beside + secrets.token_hex(4))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for left in folder.parent.iterdir():  # by a save that was killed
            if left.name.startswith(beside):
                shutil.rmtree(left, ignore_errors=True)
        temporary.mkdir()
        for name, content in files.items():
            _write_file(temporary / name, content)
        _write_file(temporary / _MANIFEST, (json.dumps(manifest, indent=2) + "\n").encode())
        _sync_folder(temporary)
        _put_in_place(temporary, folder)
    except OSError as error:
        raise CheckpointError(
            f"The model could not be written to {folder}: {error}.",
            hint="What was there before is unharmed. Free some space, or give another folder.",
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_replaceable(folder: Path) -> None:
    """Refuse to put a model in the place of something else."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise CheckpointError(f"{folder} must be a folder, but it is a file.")
    found = sorted(path.name for path in folder.iterdir())
    if found and _MANIFEST not in found:
        raise CheckpointError(
            f"{folder} holds something else than a model ({', '.join(found[:3])}), which a model "
            "there would replace.",
            hint="Give a new folder, or that of an older model.",
        )


def _put_in_place(temporary: Path, folder: Path) -> None:
    """Rename a finished folder to its name; at each moment one whole folder can be found.

    What somebody else put beside the model's files moves along.
    """
    previous = _previous(folder)
    if folder.exists():
        shutil.rmtree(previous, ignore_errors=True)
        folder.rename(previous)
    try:
        temporary.rename(folder)
    except OSError:
        if previous.exists():
            previous.rename(folder)
        raise
    if previous.exists():
        for path in previous.iterdir():
            if path.name not in _NAMES:
                path.rename(folder / path.name)
    _sync_folder(folder.parent)
    shutil.rmtree(previous, ignore_errors=True)


def _write_file(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make renames survive a power cut, where the system lets one sync a folder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
