# SPDX-License-Identifier: Apache-2.0
"""Which search a recognizer uses: for the model's words, for tokens with a beam, or greedily."""

from typing import TypeVar

from evenear.checkpoint import Bundle
from evenear.config import from_dict, to_dict
from evenear.errors import ConfigError, TokenizerError
from evenear.language import NgramModel
from evenear.search import (
    BeamConfig,
    BeamSearch,
    GreedySearch,
    LexiconConfig,
    LexiconSearch,
    PronunciationTree,
    Rescoring,
    Search,
)

__all__ = ["build_search", "changed", "recommended"]

C = TypeVar("C", bound=BeamConfig | LexiconConfig)


def recommended(bundle: Bundle, language_model: NgramModel | None) -> BeamConfig | LexiconConfig:
    """What whoever made the model recommends; a language model of tokens asks for tokens."""
    if bundle.words is not None and language_model is None:
        return bundle.word_search
    return bundle.search


def build_search(
    bundle: Bundle, settings: BeamConfig | LexiconConfig, language_model: NgramModel | None
) -> Search:
    """The search that these settings ask for.

    Raises:
        ConfigError: They need a language model or words that the model does not have.
        CheckpointError: The language model was trained with another tokenizer.
    """
    if isinstance(settings, LexiconConfig):
        return _search_for_words(bundle, settings)
    language_model = language_model or bundle.language_model
    if settings.lm_weight and language_model is None:
        raise ConfigError(
            f"A language model weight of {settings.lm_weight} needs a language model; "
            f"{bundle.name} has none.",
            hint="Train one with `NgramModel.train`, or set the weight to 0.",
        )
    if settings.lm_weight and language_model is not None:
        language_model.check_fits(bundle.tokenizer)
    plain = not (settings.lm_weight or settings.internal_lm_weight or settings.insertion_bonus)
    if settings.width == 1 and plain:
        return GreedySearch(bundle.model, max_symbols_per_frame=settings.max_symbols_per_frame)
    return BeamSearch(bundle.model, settings, language_model)


def _search_for_words(bundle: Bundle, settings: LexiconConfig) -> LexiconSearch:
    """A search for the model's words; those that its tokenizer cannot spell are left out."""
    words = bundle.words
    if words is None:
        raise ConfigError(
            f"A search for words needs a model that has some; {bundle.name} has none.",
            hint="Save the model with `words`, or give a `BeamConfig`.",
        )
    spellings: list[list[int]] = [[]]
    for word in words.words:
        try:
            spellings.append(bundle.tokenizer.encode(word))
        except TokenizerError:
            spellings.append([])
    spoken = [
        (number, phones)
        for number, each in enumerate(words.pronunciations, start=1)
        for phones in each
        if spellings[number]
    ]
    tree = PronunciationTree(spoken, words.likelihoods())
    rescoring = None
    if bundle.rescorer is not None and bundle.rescorer.writes(words):  # not for words of others
        rescoring = Rescoring(bundle.rescorer.model, bundle.rescorer.spellings)
    return LexiconSearch(bundle.model, tree, words, spellings, settings, rescoring)


def changed(settings: C, **changes: float) -> C:
    """Changed settings; a value out of range is a `ConfigError`."""
    return from_dict(type(settings), {**to_dict(settings), **changes})
