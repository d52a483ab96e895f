# SPDX-License-Identifier: Apache-2.0
"""What columns of other people's tables are called, and what they are called here.

Toolkits agree on what a result is but not on names: NeMo writes text and pred_text, Common Voice
client_id and sentence, kaldi's users spk and utt. A column is recognized by any of the names below,
whatever its case; the first that is there wins. `columns={"hypothesis": "my_column"}` overrides.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

import polars as pl

from evenear.errors import TableError, nearest_names

__all__ = ["ALIASES", "missing_columns", "name_columns", "with_our_names"]

ALIASES: Mapping[str, tuple[str, ...]] = {
    "utterance_id": (
        "utterance_id", "utterance", "utt_id", "utt", "uttid", "segment_id", "id", "key",
        "audio_filepath", "audio_path", "audio", "path", "file", "filename", "wav",
    ),
    "speaker": (
        "speaker", "speaker_id", "speakerid", "spk", "spk_id", "client_id", "talker", "user_id",
        "user", "participant", "participant_id",
    ),
    "reference": (
        "reference", "ref", "reference_text", "ref_text", "ground_truth", "transcript",
        "transcription", "sentence", "text", "target", "truth",
    ),
    "hypothesis": (
        "hypothesis", "hyp", "hypothesis_text", "hyp_text", "prediction", "pred", "pred_text",
        "predicted_text", "predicted", "asr", "asr_output", "recognized", "output",
    ),
    "words": (
        "words", "reference_words", "ref_words", "num_words", "n_words", "word_count",
        "num_reference_words",
    ),
    "errors": ("errors", "word_errors", "num_errors", "n_errors", "error_count"),
    "insertions": ("insertions", "ins", "num_insertions"),
    "deletions": ("deletions", "del", "dels", "num_deletions"),
    "substitutions": ("substitutions", "sub", "subs", "num_substitutions"),
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon", "lng", "long"),
    "zip": ("zip", "zipcode", "zip_code", "zip5", "postal_code", "postcode", "zcta"),
    "embedding": ("embedding", "embeddings", "embedding_path", "speaker_embedding", "xvector"),
}  # fmt: skip


def name_columns(found: Sequence[str], chosen: Mapping[str, str] | None = None) -> dict[str, str]:
    """Match columns with our names: a mapping of theirs to ours.

    Args:
        found: Columns of the table.
        chosen: The user's own choice, ours to theirs.

    Raises:
        TableError: A chosen column is not there, or is chosen for a name we do not use.
    """
    chosen = dict(chosen or {})
    for ours, theirs in chosen.items():
        if ours not in ALIASES:
            raise TableError(
                f"Columns are given as ours=theirs; {ours!r} is not one of ours.",
                hint=nearest_names(ours, ALIASES),
            )
        if theirs not in found:
            raise TableError(
                f"There is no column {theirs!r} to take as {ours}.",
                hint=nearest_names(theirs, found),
            )
    taken = {theirs: ours for ours, theirs in chosen.items()}
    plain: dict[str, str] = {}
    for name in (*(one for one in found if one in ALIASES), *found):
        plain.setdefault(_plain(name), name)
    for ours, aliases in ALIASES.items():
        if ours in chosen:
            continue
        theirs = next((plain[a] for a in aliases if a in plain and plain[a] not in taken), None)
        if theirs is not None:
            taken[theirs] = ours
    return taken


def with_our_names(frame: pl.DataFrame, chosen: Mapping[str, str] | None = None) -> pl.DataFrame:
    """A frame with our names; a column that was chosen takes the place of one with its name.

    Raises:
        TableError: As in `name_columns`.
    """
    taken = name_columns(frame.columns, chosen)
    replaced = set(taken.values()) - set(taken)
    return frame.drop(replaced, strict=False).rename(taken)


def missing_columns(source: str, found: Iterable[str], wanted: Iterable[str]) -> TableError:
    """The error to raise when a table lacks what it needs."""
    found, wanted = list(found), list(wanted)
    listed = ", ".join(repr(name) for name in found) or "none"
    hints = [f"For {name}: {nearest_names(name, found)}" for name in wanted if found]
    hints.append("Name it yourself with columns={'" + wanted[0] + "': '…'}.")
    return TableError(
        f"{source} has no column for {' and '.join(wanted)}. A results table needs reference and "
        f"hypothesis (texts), or errors and words (counts). Its columns: {listed}.",
        hint=" ".join(hints),
    )


def _plain(name: str) -> str:
    return re.sub(r"[\s\-.]+", "_", name.strip().lower())
