# SPDX-License-Identifier: Apache-2.0
"""One word for the search on the command line: what it finds, and what it costs.

    greedy   one reading, token by token: the fastest, any spelling, the most errors
    beam     a few readings (`--beam` of them), token by token: some fewer errors, several times
             the work
    words    readings of a dictionary's words (`--beam` hypotheses): for models with a `words.npz`
             by far the fewest errors; a word that is not in it is never found

Without a word for it, the model's own recommendation is taken.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from evenear.cli.console import note
from evenear.errors import ConfigError, nearest_names

if TYPE_CHECKING:
    from evenear.checkpoint import Bundle
    from evenear.streaming import Recognizer

__all__ = ["NAMES_HELP", "SEARCH_HELP", "load_recognizer", "with_names"]

_SEARCHES = ("greedy", "beam", "words")
SEARCH_HELP = (
    "greedy (fastest), beam (several readings), words (of the model's dictionary: fewest errors); "
    "default: what the model recommends."
)
NAMES_HELP = (
    "More words to find, such as names: a file of lines as in CMUdict, ZADIE  Z EY D IY. "
    "What they take comes of the unknown word's probability."
)
_BEAM_WIDTH = 8


def load_recognizer(
    model: str,
    *,
    search: str | None = None,
    beam: int | None = None,
    lm_weight: float | None = None,
    threads: int | None = None,
    compute: float = 1.0,
    names: Path | None = None,
) -> "Recognizer":
    """Load a model with the search that the command line asks for.

    Args:
        model: A model's folder or name.
        search: A word for the search; None: the model's own, or one for tokens if `beam` is given.
        beam: Width of the search.
        lm_weight: Weight of the language model.
        threads: Threads to compute with.
        compute: The share of the encoder's computation to ask for.
        names: A dictionary of more words.

    Raises:
        ConfigError: There is no such search, the model cannot do it, or names are not for it.
        CheckpointError: There is no such model, or it is damaged.
        ManifestError: The dictionary cannot be read, or has no word that the model can add.
    """
    from evenear.checkpoint import load_model
    from evenear.search import BeamConfig
    from evenear.streaming import Recognizer
    from evenear.streaming.searches import changed

    if search is not None and search not in _SEARCHES:
        raise ConfigError(f"There is no search {search!r}.", hint=nearest_names(search, _SEARCHES))
    if search == "greedy" and beam not in (None, 1):
        raise ConfigError(
            f"A greedy search keeps one reading, got --beam {beam}.", hint="--search beam"
        )
    if names is not None and (
        search in ("greedy", "beam") or (search is None and beam is not None)
    ):
        raise ConfigError(
            "More words are found by a search for words; the one asked for spells what it hears.",
            hint="Leave --names out, or say --search words.",
        )
    bundle = load_model(model)
    if names is not None:
        bundle = with_names(bundle, names)
    if search is None:
        if beam is not None and bundle.words is not None:
            note(
                f"--beam {beam} searches for tokens; {model} recommends a search for words, which "
                f"errs less: --search words, or neither option."
            )
        return Recognizer.load(
            bundle, beam=beam, lm_weight=lm_weight, threads=threads, compute=compute
        )
    if search == "words":
        settings = bundle.word_search if beam is None else changed(bundle.word_search, width=beam)
    elif search == "greedy":
        settings = BeamConfig(width=1)
    else:
        settings = changed(bundle.search, width=beam or max(_BEAM_WIDTH, bundle.search.width))
    if lm_weight is not None:
        settings = changed(settings, lm_weight=lm_weight)
    return Recognizer.load(bundle, beam=settings, threads=threads, compute=compute)


def with_names(bundle: "Bundle", path: Path) -> "Bundle":
    """A model that finds the words of a dictionary, too, all of them as likely.

    Raises:
        ConfigError: The model searches for no words.
        ManifestError: The dictionary cannot be read, has no word that is new, or other phones.
    """
    from evenear.lexicon import Lexicon

    if bundle.words is None:
        raise ConfigError(
            f"More words are for models that search for words; {bundle.name} spells what it hears.",
            hint="Leave --names out, or take evenear-en.",
        )
    lexicon = Lexicon.read(path)
    return bundle.with_words(
        bundle.words.with_words(dict.fromkeys(lexicon.pronunciations, 1.0), lexicon)
    )
