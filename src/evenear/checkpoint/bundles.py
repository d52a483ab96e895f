# SPDX-License-Identifier: Apache-2.0
"""A trained recognizer as one folder: weights, settings, tokenizer and card.

    weights.safetensors    the weights: float32, float16 or int8 with a scale for each row
    config.json            the model and the features it listens to
    tokenizer.model        the sentencepiece model
    card.md                what it was trained on, what it can and cannot do
    language.npz           a language model of its tokens, if it has one
    words.npz              words with their pronunciations and n-grams, if it has some; config.json
                           may name a shipped model that has the same instead (`words_of`)
    dial.safetensors       gates for those who ask for a share of the computation, if it has a dial
    dial.json              their settings
    rescorer.safetensors   an attention decoder that judges readings of words, if it has one
    rescorer.json          its settings
    provenance.json        settings, speech, starting weights, device and hours it came from
    manifest.json          size and SHA-256 of every other file

`folders` keeps the folder whole; here every weight is checked against the model.

Source: the safetensors format, https://github.com/huggingface/safetensors (it cannot carry code).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
import torch

from evenear.checkpoint.dials import Dial
from evenear.checkpoint.folders import (
    CONFIG,
    FORMAT,
    RECOGNIZER,
    find_folder,
    read_folder,
    read_json,
    shipped_folder,
    shipped_models,
    write_folder,
)
from evenear.checkpoint.rescorers import RescorerBundle
from evenear.checkpoint.weights import load_weights, stored
from evenear.config import from_dict, to_dict
from evenear.errors import CheckpointError, ConfigError, TokenizerError
from evenear.features import FeatureConfig
from evenear.language import NgramModel, WordModel
from evenear.models.transducer import Transducer, TransducerConfig
from evenear.search import BeamConfig, LexiconConfig
from evenear.tokenizer import Tokenizer

__all__ = ["Bundle", "load_model", "save_model"]

_WEIGHTS, _TOKENIZER = "weights.safetensors", "tokenizer.model"
_CARD, _LANGUAGE, _WORDS = "card.md", "language.npz", "words.npz"
_PROVENANCE = "provenance.json"


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
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """How it came to be: settings, speech, starting weights, device, hours; empty if unknown."""
    dial: Dial | None = None
    """Gates for the model's encoder, which has none as it stands here; None: there is no dial."""
    rescorer: RescorerBundle | None = None
    """An attention decoder that judges readings of words; None: there is none."""

    def with_gates(self) -> "Bundle":
        """The same, with the dial's gates around the model's encoder, if there is a dial.

        Raises:
            CheckpointError: The dial belongs to another encoder.
        """
        return self if self.dial is None else replace(self, model=self.dial.around(self.model))

    def with_words(self, words: WordModel) -> "Bundle":
        """The same, searching for its words and others, which a decoder writes too.

            bundle = load_model("evenear-en")
            lexicon = Lexicon.read(Path("names.dict"))  # lines such as ZADIE  Z EY D IY
            names = dict.fromkeys(lexicon.pronunciations, 1.0)
            words = bundle.words.with_words(names, lexicon, share=0.1)
            recognizer = Recognizer(bundle.with_words(words))

        Args:
            words: Its own words with others behind them, made by `WordModel.with_words`.

        Raises:
            CheckpointError: They have other phones, they do not begin with the words that its
                decoder writes, or the decoder cannot write one.
        """
        _check_phones(self.model.config, words)
        rescorer = None if self.rescorer is None else self.rescorer.with_words(words)
        return replace(self, words=words, rescorer=rescorer)


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
    provenance: Mapping[str, Any] | None = None,
    dial: Dial | None = None,
    rescorer: RescorerBundle | None = None,
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
        provenance: How the model came to be, as JSON values.
        dial: Gates for its encoder, stored beside it.
        rescorer: An attention decoder that judges readings of these words, stored beside it.
        dtype: Type of matrices in the file; vectors and statistics always stay float32, and a
            loaded model always computes in float32.

    Raises:
        CheckpointError: The parts do not fit each other, or the folder cannot be written; what was
            there before is unharmed.
    """
    _check_fit(model.config, features, tokenizer)
    settings = {
        "format": FORMAT,
        "kind": RECOGNIZER,
        "transducer": to_dict(model.config),
        "features": to_dict(features),
        "search": to_dict(search or BeamConfig(width=1)),
        "word_search": to_dict(word_search or LexiconConfig()),
    }
    files = {
        _WEIGHTS: safetensors.torch.save(stored(model.state_dict(), dtype)),
        CONFIG: (json.dumps(settings, indent=2) + "\n").encode(),
        _TOKENIZER: tokenizer.model,
        _CARD: card.encode(),
    }
    if provenance:
        files[_PROVENANCE] = (json.dumps(dict(provenance), indent=2) + "\n").encode()
    if language_model is not None:
        language_model.check_fits(tokenizer)
        files[_LANGUAGE] = language_model.to_bytes()
    if words is not None:
        _check_phones(model.config, words)
        files[_WORDS] = words.to_bytes()
    if dial is not None:
        dial.around(model)  # or the two do not belong together
        files |= dial.files()
    if rescorer is not None:
        rescorer.check_fits(model.config.joiner_dim, words)
        files |= rescorer.files()
    write_folder(Path(folder), files)


def load_model(name_or_folder: str | Path) -> Bundle:
    """Read a recognizer from a folder, or a shipped one by its name.

    Raises:
        CheckpointError: There is no such model, a file is missing or damaged, or the weights belong
            to another model.
    """
    folder = find_folder(name_or_folder)
    files = read_folder(folder, (_WEIGHTS, CONFIG, _TOKENIZER))
    transducer, features, search, word_search = _read_settings(folder, files[CONFIG])
    try:
        tokenizer = Tokenizer(files[_TOKENIZER])
    except TokenizerError as error:
        raise CheckpointError(f"{folder / _TOKENIZER} is no tokenizer: {error}") from None
    _check_fit(transducer, features, tokenizer)
    language_model = None
    if _LANGUAGE in files:
        language_model = NgramModel.from_bytes(files[_LANGUAGE])
        language_model.check_fits(tokenizer)
    words = _words(folder, files)
    if words is not None:
        _check_phones(transducer, words)
    rescorer = RescorerBundle.among(folder, files)
    if rescorer is not None:
        rescorer.check_fits(transducer.joiner_dim, words)
    with torch.random.fork_rng(devices=[]):
        model = Transducer(transducer)
    load_weights(folder, model, files[_WEIGHTS])
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
        provenance=read_json(folder / _PROVENANCE, files.get(_PROVENANCE, b"{}")),
        dial=Dial.among(folder, files),
        rescorer=rescorer,
    )


def _words(folder: Path, files: Mapping[str, bytes]) -> WordModel | None:
    """The words in a folder, or those of the shipped model that it names."""
    if _WORDS in files:
        return WordModel.from_bytes(files[_WORDS])
    named = read_json(folder / CONFIG, files[CONFIG]).get("words_of")
    if named is None:
        return None
    if named not in shipped_models(RECOGNIZER):
        raise CheckpointError(
            f"{folder} finds the words of {named!r}, and no such model is shipped.",
            hint=f"Put its {_WORDS} into the folder, or install the version it came with.",
        )
    return WordModel.from_bytes(read_folder(shipped_folder(named), (_WORDS,))[_WORDS])


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


def _read_settings(
    folder: Path, content: bytes
) -> tuple[TransducerConfig, FeatureConfig, BeamConfig, LexiconConfig]:
    settings: dict[str, Any] = read_json(folder / CONFIG, content)
    if settings.get("format") != FORMAT:
        raise CheckpointError(
            f"{folder} has format {settings.get('format')!r}; this version reads {FORMAT}.",
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
            f"{folder / CONFIG} is of another version of evenear: {error}"
        ) from None
