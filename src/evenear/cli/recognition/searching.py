# SPDX-License-Identifier: Apache-2.0
"""One word for the search on the command line: what it finds, and what it costs.

    greedy   one reading, token by token: the fastest, any spelling, the most errors
    beam     a few readings (`--beam` of them), token by token: some fewer errors, several times
             the work
    words    readings of a dictionary's words (`--beam` hypotheses): for models with a `words.npz`
             by far the fewest errors; a word that is not in it is never found

Without a word for it, the model's own recommendation is taken.
"""

from typing import TYPE_CHECKING

from evenear.cli.console import note
from evenear.errors import ConfigError, nearest_names

if TYPE_CHECKING:
    from evenear.streaming import Recognizer

__all__ = ["SEARCH_HELP", "load_recognizer"]

_SEARCHES = ("greedy", "beam", "words")
SEARCH_HELP = (
    "greedy (fastest), beam (several readings), words (of the model's dictionary: fewest errors); "
    "default: what the model recommends."
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
) -> "Recognizer":
    """Load a model with the search that the command line asks for.

    Args:
        model: A model's folder or name.
        search: A word for the search; None: the model's own, or one for tokens if `beam` is given.
        beam: Width of the search.
        lm_weight: Weight of the language model.
        threads: Threads to compute with.
        compute: The share of the encoder's computation to ask for.

    Raises:
        ConfigError: There is no such search, or the model cannot do it.
        CheckpointError: There is no such model, or it is damaged.
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
    if search is None:
        recognizer = Recognizer.load(
            model, beam=beam, lm_weight=lm_weight, threads=threads, compute=compute
        )
        if beam is not None and recognizer.bundle.words is not None:
            note(
                f"--beam {beam} searches for tokens; {model} recommends a search for words, which "
                f"errs less: --search words, or neither option."
            )
        return recognizer
    bundle = load_model(model)
    if search == "words":
        settings = bundle.word_search if beam is None else changed(bundle.word_search, width=beam)
    elif search == "greedy":
        settings = BeamConfig(width=1)
    else:
        settings = changed(bundle.search, width=beam or max(_BEAM_WIDTH, bundle.search.width))
    if lm_weight is not None:
        settings = changed(settings, lm_weight=lm_weight)
    return Recognizer.load(model, beam=settings, threads=threads, compute=compute)
