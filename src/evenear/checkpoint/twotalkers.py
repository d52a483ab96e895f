# SPDX-License-Identifier: Apache-2.0
"""A trained two-channel model as one folder.

    weights.safetensors    the weights
    config.json            the model, the features it listens to, how to search
    tokenizer.model        the sentencepiece model
    card.md                what it was trained on, what it can and cannot do
    words.npz              words with their pronunciations, if it has some of its own
    provenance.json        how it came to be
    manifest.json          size and SHA-256 of every other file

A model that was made from a recognizer need not hold twice what the two share: the folder can name
the recognizer whose words it uses (`words_of`), and the one that hears its channels, if that was
frozen (`transducer_of`). Then it holds the weights of the separator alone, and that recognizer's
heads, tokenizer and settings of search are used as they are when it is loaded. What the two must
agree on are the features. A recognizer whose encoder was trained further can still be put behind
the separator; since nobody measured the two together, loading says so.

Legend: F feature width.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
import torch
from pydantic import Field
from torch import nn

from evenear.checkpoint.bundles import Bundle, load_model
from evenear.checkpoint.folders import (
    CONFIG,
    FORMAT,
    find_folder,
    read_folder,
    read_json,
    write_folder,
)
from evenear.checkpoint.rescorers import RescorerBundle
from evenear.checkpoint.speakers import SpeakerBundle, load_speaker
from evenear.checkpoint.weights import load_weights, stored
from evenear.config import config, from_dict, replace, to_dict
from evenear.errors import CheckpointError, ConfigError, TokenizerError
from evenear.features import FeatureConfig
from evenear.language import WordModel
from evenear.models.twotalkers import SeparatorTransducer, SeparatorTransducerConfig
from evenear.search import BeamConfig, LexiconConfig
from evenear.tokenizer import Tokenizer

__all__ = [
    "TWO_TALKERS",
    "TwoTalkerBundle",
    "TwoTalkerSettings",
    "load_two_talkers",
    "save_two_talkers",
]

_log = logging.getLogger(__name__)

TWO_TALKERS = "two-talker recognizer"
"""The kind that the folder says it holds."""
_WEIGHTS, _TOKENIZER, _CARD = "weights.safetensors", "tokenizer.model", "card.md"
_WORDS, _PROVENANCE = "words.npz", "provenance.json"
_TRANSDUCER = "transducer."


@config
class TwoTalkerSettings:
    """All of a folder's settings."""

    model: SeparatorTransducerConfig
    features: FeatureConfig = FeatureConfig()
    search: BeamConfig = BeamConfig(width=1)
    """How to search for tokens."""
    word_search: LexiconConfig = LexiconConfig()
    """How to search for words, if there are some."""
    words_of: str | None = None
    """The recognizer whose words are used; None: the folder's own, or none."""
    transducer_of: str | None = None
    """The recognizer that hears each channel as it is; None: the folder's own."""
    encoder_digest: str = ""
    """Digest of that recognizer's encoder, behind which the separator was trained."""
    voices_of: str | None = None
    """The embedding network that tells the talkers' voices apart where one recognizer hears both;
    None: it is not asked for."""
    endpoint_seconds: float = Field(default=0.8, gt=0)
    """A turn ends after so long without a token, if no end of turn was said before."""


@dataclass(frozen=True, kw_only=True)
class TwoTalkerBundle:
    """Everything that a folder holds, ready to recognize."""

    model: SeparatorTransducer
    """In evaluation mode, float32."""
    settings: TwoTalkerSettings
    tokenizer: Tokenizer
    words: WordModel | None
    card: str
    name: str
    provenance: Mapping[str, Any] = field(default_factory=dict)
    rescorer: RescorerBundle | None = None
    """Judges readings of the words of each channel; None: there is none."""
    voices: SpeakerBundle | None = None
    """Tells the talkers' voices apart; None: nobody asks for it."""

    @property
    def channel(self) -> Bundle:
        """The recognizer that hears one channel, as if it were a model of its own."""
        return Bundle(
            model=self.model.transducer,
            features=self.settings.features,
            tokenizer=self.tokenizer,
            card="",
            language_model=None,
            search=self.settings.search,
            words=self.words,
            word_search=self.settings.word_search,
            rescorer=self.rescorer,
            name=self.name,
        )


def save_two_talkers(
    folder: str | Path,
    *,
    model: SeparatorTransducer,
    settings: TwoTalkerSettings,
    tokenizer: Tokenizer,
    card: str = "",
    words: WordModel | None = None,
    provenance: Mapping[str, Any] | None = None,
    dtype: Literal["float32", "float16", "int8"] = "float32",
) -> None:
    """Write a two-channel model to a folder, replacing what is there only when all is written.

    Args:
        folder: Where it goes.
        model: The model; its weights are read, not changed.
        settings: Of the same model.
        tokenizer: The tokenizer it was trained with.
        card: Markdown that says what the model is.
        words: Words of its own to search for.
        provenance: How the model came to be, as JSON values.
        dtype: Type of matrices in the file.

    Raises:
        CheckpointError: The parts do not fit each other, or the folder cannot be written.
    """
    _check_fit(settings, tokenizer)
    weights = model.state_dict()
    if settings.transducer_of is not None:
        named_model = load_model(settings.transducer_of).model
        own = model.transducer.state_dict()
        if any(not torch.equal(t, own[name]) for name, t in named_model.state_dict().items()):
            raise CheckpointError(
                f"The channels are not heard by {settings.transducer_of} as it is.",
                hint="Leave transducer_of out: then the folder holds all weights.",
            )
        settings = replace(settings, encoder_digest=_digest(model.transducer.encoder))
        weights = {n: t for n, t in weights.items() if not n.startswith(_TRANSDUCER)}
    if settings.model != model.config:
        raise CheckpointError("The settings are of another model than the one to be saved.")
    named = {"format": FORMAT, "kind": TWO_TALKERS, **to_dict(settings)}
    files = {
        _WEIGHTS: safetensors.torch.save(stored(weights, dtype)),
        CONFIG: (json.dumps(named, indent=2) + "\n").encode(),
        _CARD: card.encode(),
    }
    if settings.transducer_of is None:
        files[_TOKENIZER] = tokenizer.model
    if provenance:
        files[_PROVENANCE] = (json.dumps(dict(provenance), indent=2) + "\n").encode()
    if words is not None:
        files[_WORDS] = words.to_bytes()
    write_folder(Path(folder), files)


def load_two_talkers(name_or_folder: str | Path) -> TwoTalkerBundle:
    """Read a two-channel model from a folder, or a shipped one by its name.

    Raises:
        CheckpointError: There is no such model, a file is missing or damaged, the weights belong
            to another model, or the recognizer whose words it uses is not there.
    """
    folder = find_folder(name_or_folder, kind=TWO_TALKERS)
    files = read_folder(folder, (_WEIGHTS, CONFIG))
    values = read_json(folder / CONFIG, files[CONFIG])
    form = values.pop("format", None)
    values.pop("kind", None)
    if form != FORMAT:
        raise CheckpointError(
            f"{folder} has format {form!r}; this version reads {FORMAT}.",
            hint="Install the version of evenear that wrote it.",
        )
    try:
        settings = from_dict(TwoTalkerSettings, values)
        named = load_model(settings.transducer_of) if settings.transducer_of else None
        tokenizer = named.tokenizer if named else Tokenizer(_own_tokenizer(folder, files))
    except (ConfigError, TokenizerError) as error:
        raise CheckpointError(f"{folder} is of another version of evenear: {error}") from None
    if named is not None:
        settings = _behind(folder.name, settings, named)
    _check_fit(settings, tokenizer)
    words = WordModel.from_bytes(files[_WORDS]) if _WORDS in files else None
    if words is None and settings.words_of is not None:
        same = named is not None and settings.words_of == settings.transducer_of
        words = named.words if named and same else load_model(settings.words_of).words
    phones = settings.model.transducer.phones
    if words is not None and len(words.phones) != phones:
        raise CheckpointError(
            f"Words of {len(words.phones)} phones need a model that tells as many apart; this one "
            f"knows {phones}."
        )
    with torch.random.fork_rng(devices=[]):
        model = SeparatorTransducer(settings.model)
    if named is None:
        load_weights(folder, model, files[_WEIGHTS])
    else:
        model.transducer.load_state_dict(named.model.state_dict())
        load_weights(folder, _WithoutTransducer(model), files[_WEIGHTS])
    return TwoTalkerBundle(
        model=model.eval(),
        settings=settings,
        tokenizer=tokenizer,
        words=words,
        card=files.get(_CARD, b"").decode(),
        name=folder.name,
        provenance=read_json(folder / _PROVENANCE, files.get(_PROVENANCE, b"{}")),
        rescorer=named.rescorer if named is not None and words is named.words else None,
        voices=load_speaker(settings.voices_of) if settings.voices_of else None,
    )


def _own_tokenizer(folder: Path, files: Mapping[str, bytes]) -> bytes:
    if _TOKENIZER not in files:
        raise CheckpointError(f"{folder} is no model: {_TOKENIZER} is missing.")
    return files[_TOKENIZER]


def _behind(name: str, settings: TwoTalkerSettings, named: Bundle) -> TwoTalkerSettings:
    """The settings, with what the recognizer behind the separator brings."""
    if settings.features != named.features:
        raise CheckpointError(
            f"{name} separates other features than {named.name} listens to.",
            hint="Install the version of evenear that it came with, or train it again.",
        )
    if _digest(named.model.encoder) != settings.encoder_digest:
        _log.warning(
            "%s was trained before another encoder than that of this %s: it will work, but its "
            "numbers are of the other.",
            name,
            named.name,
        )
    return replace(
        settings,
        model=replace(settings.model, transducer=named.model.config),
        search=named.search,
        word_search=named.word_search,
    )


class _WithoutTransducer(nn.Module):
    """The weights of a model that are its own."""

    def __init__(self, model: SeparatorTransducer) -> None:
        super().__init__()
        self.separator = model.separator
        self.register_buffer("mean_F", model.mean_F)
        self.register_buffer("scale_F", model.scale_F)


def _digest(module: nn.Module) -> str:
    """A digest of all weights, as they are in memory."""
    found = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:32]


def _check_fit(settings: TwoTalkerSettings, tokenizer: Tokenizer) -> None:
    separator, transducer = settings.model.separator, settings.model.transducer
    pairs = [
        ("vocabulary size", transducer.vocabulary_size, len(tokenizer)),
        ("id of blank", transducer.blank_id, tokenizer.blank_id),
        ("feature width", separator.feature_dim, settings.features.dim * separator.joined),
    ]
    for what, of_model, given in pairs:
        if of_model != given:
            raise CheckpointError(
                f"The model's {what} is {of_model}, but its tokenizer and features have {given}.",
                hint="Save a model with the tokenizer and features that it was trained with.",
            )
