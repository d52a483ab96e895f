# SPDX-License-Identifier: Apache-2.0
"""The utterances that are evaluated: all of a manifest, of a split, or some of each speaker."""

from pathlib import Path

from evenear.data.corpora.manifests import Utterance, load_cuts, utterance
from evenear.errors import ManifestError
from evenear.seeding import rng_for

__all__ = ["draw_utterances", "load_utterances"]


def load_utterances(manifest: Path, *, split: str | None = None) -> list[Utterance]:
    """The utterances of a manifest, or those of one split of it.

    Raises:
        ManifestError: There are none, two have the same id, or audio files are missing.
    """
    found = [utterance(cut) for cut in iter(load_cuts(manifest))]
    if split is not None:
        splits = sorted({str(u.attributes.get("split")) for u in found})
        found = [u for u in found if u.attributes.get("split") == split]
        if not found:
            raise ManifestError(
                f"{manifest} has no utterance in split {split!r}.",
                hint=f"It has: {', '.join(splits)}.",
            )
    _check(found, manifest)
    return found


def draw_utterances(utterances: list[Utterance], limit: int, *, seed: int = 0) -> list[Utterance]:
    """Some of the utterances, of as many speakers as can be, in the order of the corpus.

    One of each speaker is drawn before anyone has two, and so on, so that a small part of a corpus
    says as much as it can of how speakers differ. A smaller draw is a part of a larger one.
    """
    rng = rng_for(seed, "draw utterances")
    places: dict[str, list[int]] = {}
    for place in rng.permutation(len(utterances)).tolist():
        places.setdefault(utterances[place].speaker, []).append(place)
    turns = [(turn, own) for each in places.values() for turn, own in enumerate(each)]
    turns.sort(key=lambda pair: pair[0])
    return [utterances[place] for place in sorted(place for _, place in turns[:limit])]


def _check(utterances: list[Utterance], manifest: Path) -> None:
    """Refuse at once what would stop an evaluation hours later, or count double."""
    missing = [u for u in utterances if not u.audio.is_file()]
    if missing:
        first = missing[0]
        raise ManifestError(
            f"{len(missing)} of {len(utterances)} utterances of {manifest} have no audio file; the "
            f"first is {first.utterance_id!r}: {first.audio}.",
            hint=f"evenear data validate {manifest} names them all.",
        )
    ids: set[str] = set()
    for u in utterances:
        if u.utterance_id in ids:
            raise ManifestError(
                f"Each utterance needs an id of its own; {u.utterance_id!r} is in {manifest} more "
                "than once.",
                hint=f"evenear data validate {manifest} names them all.",
            )
        ids.add(u.utterance_id)
