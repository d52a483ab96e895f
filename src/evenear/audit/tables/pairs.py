# SPDX-License-Identifier: Apache-2.0
"""References in one file, hypotheses in another: joined into one table.

Two tables (or kaldi text files) are joined by utterance id; if no id is in both, by the file name
in the id without folder and suffix, so that clip.mp3 meets clip.wav. Segments of several speakers
(SegLST) become one row for each speaker of each session. Where the hypothesis has its own speaker
labels, they are assigned so that a session has as few errors as possible, as in cpWER.

Source: SegLST is the format of MeetEval, https://github.com/fgnt/meeteval; cpWER is from S.
Watanabe et al., "CHiME-6 challenge", 2020, https://arxiv.org/abs/2004.09249.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
from scipy.optimize import linear_sum_assignment

from evenear.audit.tables.alignment import count_word_errors
from evenear.audit.tables.cleaning import Notes
from evenear.audit.tables.columns import missing_columns, with_our_names
from evenear.audit.tables.formats import read_frames
from evenear.errors import TableError

__all__ = ["paired_frame"]

_LOCAL_LABEL = re.compile(r"(spk|speaker)?[_ -]?\d{1,2}|[a-z]", re.IGNORECASE)


def paired_frame(
    path: Path, reference: Path, columns: Mapping[str, str], normalizer: str, notes: Notes
) -> pl.DataFrame:
    """One row per utterance with reference and hypothesis, and the reference's other columns.

    Raises:
        TableError: A file lacks ids or texts, or the files have no utterance in common.
    """
    hypothesis = pl.concat(read_frames(path, notes), how="diagonal_relaxed")
    references = pl.concat(read_frames(reference, notes), how="diagonal_relaxed")
    if _is_segments(hypothesis) and _is_segments(references):
        return _segments(references, hypothesis, normalizer, notes)
    left = _side(references, reference.name, "reference", columns)
    right = _side(hypothesis, path.name, "hypothesis", columns)
    return _joined(left, right, notes, (reference.name, path.name))


def _side(frame: pl.DataFrame, source: str, text: str, columns: Mapping[str, str]) -> pl.DataFrame:
    """A table with utterance_id and `text`, whichever of its texts that is."""
    other = "hypothesis" if text == "reference" else "reference"
    chosen = {ours: theirs for ours, theirs in columns.items() if theirs in frame.columns}
    named = with_our_names(frame, chosen)
    if text not in named.columns and other in named.columns:
        named = named.rename({other: text})
    missing = [name for name in ("utterance_id", text) if name not in named.columns]
    if missing:
        raise missing_columns(source, frame.columns, missing)
    named = named.drop(other, strict=False)
    return named.with_columns(pl.col("utterance_id").cast(pl.String).str.strip_chars())


def _joined(
    left: pl.DataFrame, right: pl.DataFrame, notes: Notes, names: tuple[str, str]
) -> pl.DataFrame:
    key = "utterance_id"
    if left.join(right, on=key, how="semi").height == 0:
        stem = pl.col(key).str.replace(r"^.*[/\\]", "").str.replace(r"\.[A-Za-z0-9]{1,5}$", "")
        left, right = left.with_columns(stem), right.with_columns(stem)
    right = right.unique(maintain_order=True)
    again = right.filter(pl.col(key).is_duplicated())[key]
    if len(again):
        raise TableError(
            f"{names[1]} has several hypotheses for one utterance, such as {again[0]!r}.",
            hint="Keep one hypothesis for each utterance.",
        )
    joined = left.join(
        right.drop([name for name in right.columns if name in left.columns and name != key]),
        on=key,
        how="left",
        maintain_order="left",
    )
    matched = left.join(right, on=key, how="semi").height
    if matched == 0:
        raise TableError(
            f"{names[0]} and {names[1]} have no utterance in common: {left[key][0]!r} against "
            f"{right[key][0]!r}.",
            hint="Utterance ids must be written alike in both.",
        )
    notes("{} hypotheses have no reference and were left out.", right.height - matched)
    return joined


def _is_segments(frame: pl.DataFrame) -> bool:
    return {"session_id", "words"} <= set(frame.columns) and frame["words"].dtype == pl.String


def _segments(
    references: pl.DataFrame, hypotheses: pl.DataFrame, normalizer: str, notes: Notes
) -> pl.DataFrame:
    """Rows of (session, speaker), hypotheses assigned to reference speakers."""
    left = _talkers(references).rename({"words": "reference"})
    right = _talkers(hypotheses).select("session_id", "speaker", "words")
    own = right.join(left, on=["session_id", "speaker"], how="anti").height == 0
    if own:
        pairs = right.rename({"words": "hypothesis"})
    else:
        notes("Hypothesis speakers were assigned to reference speakers for the fewest errors.")
        pairs = _assigned(left, right, normalizer)
    is_local = _has_local_labels(left)
    if is_local:
        notes("Speaker labels are numbers: each is taken as another person in each session.")
    rows = left.join(
        pairs, on=["session_id", "speaker"], how="full", coalesce=True, maintain_order="left"
    )
    nobody = rows["reference"].null_count()
    notes("{} hypothesis speakers match nobody: their words count as inserted.", nobody)
    ids = pl.concat_str("session_id", "speaker", separator="/").alias("utterance_id")
    texts = pl.col("reference", "hypothesis").fill_null("")
    rows = rows.with_columns(ids, texts)
    return rows.with_columns(pl.col("utterance_id").alias("speaker")) if is_local else rows


def _has_local_labels(left: pl.DataFrame) -> bool:
    """Whether labels are such as spk1, which name nobody beyond their session."""
    labels = left["speaker"].unique()
    sessions = left["session_id"].n_unique()
    return sessions > 1 and all(_LOCAL_LABEL.fullmatch(label) for label in labels)


def _talkers(segments: pl.DataFrame) -> pl.DataFrame:
    if "speaker" not in segments.columns:
        segments = segments.with_columns(pl.lit("speaker").alias("speaker"))
    if "start_time" in segments.columns:
        start = pl.col("start_time").cast(pl.Float64, strict=False)
        segments = segments.with_columns(start).sort("start_time", maintain_order=True)
    fixed = ("session_id", "speaker", "words", "start_time", "end_time")
    others = [name for name in segments.columns if name not in fixed]
    return (
        segments.with_columns(pl.col("session_id", "speaker").cast(pl.String))
        .group_by("session_id", "speaker", maintain_order=True)
        .agg(pl.col("words").fill_null("").str.join(" "), pl.col(others).first())
        .sort("session_id", "speaker")
    )


def _assigned(left: pl.DataFrame, right: pl.DataFrame, normalizer: str) -> pl.DataFrame:
    """Hypotheses under the names of the reference speakers that they fit best."""
    rows = []
    hypotheses = dict(right.group_by("session_id", maintain_order=True).__iter__())
    references = dict(left.group_by("session_id", maintain_order=True).__iter__())
    for (session,), heard in hypotheses.items():
        said = references.get((session,), left.clear())
        texts_r = [*said["reference"], *[""] * heard.height]
        texts_h = [*heard["words"], *[""] * said.height]
        size = len(texts_r)
        counts = count_word_errors(
            pl.Series(np.repeat(np.array(texts_r, dtype=object), size), dtype=pl.String),
            pl.Series(texts_h * size, dtype=pl.String),
            normalizer=normalizer,
        )
        chosen_r, chosen_h = linear_sum_assignment(counts.errors.reshape(size, size))
        for r, h in zip(chosen_r, chosen_h, strict=True):
            if h < heard.height:
                name = said["speaker"][int(r)] if r < said.height else None
                rows.append((session, name or f"nobody ({heard['speaker'][int(h)]})", texts_h[h]))
    schema = {"session_id": pl.String, "speaker": pl.String, "hypothesis": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")
