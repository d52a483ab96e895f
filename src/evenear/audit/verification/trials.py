# SPDX-License-Identifier: Apache-2.0
"""Trials of a speaker verifier: scores, labels, and who is on either side.

One row per trial: `score`, `enrol`, `test`, `target`, and, if the ids of enrol and test are not
speakers themselves, `enrol_speaker` and `test_speaker` (or ids such as speaker/recording, whose
first part is the speaker: that is checked against the labels). Attributes of speakers come from a
table of their own, or from columns `enrol_gender` and `test_gender`; a plain `gender` belongs to
the enrolled speaker, and what varies from trial to trial is no attribute of anybody.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from evenear.audit.tables.cleaning import Notes, clean_attributes, key_text
from evenear.audit.tables.cohorts import (
    CROSS,
    MAX_NUMBERS,
    Assignment,
    Cohorts,
    even_cuts,
    range_names,
    ranges,
)
from evenear.audit.tables.columns import name_columns
from evenear.audit.tables.formats import file_format, plain_name, read_frames
from evenear.errors import TableError, nearest_names

__all__ = ["Trials", "read_trials", "trials_of"]

_ALIASES: Mapping[str, tuple[str, ...]] = {
    "score": ("score", "scores", "cosine", "similarity", "llr"),
    "enrol": ("enrol", "enroll", "enrolment", "enrollment", "reference", "ref", "model"),
    "test": ("test", "probe", "trial", "com", "comparison"),
    "target": ("target", "is_target", "label", "same", "same_speaker"),
    "enrol_speaker": ("enrol_speaker", "enroll_speaker", "ref_speaker", "model_speaker"),
    "test_speaker": ("test_speaker", "probe_speaker", "com_speaker"),
}
_TRUE = ("1", "1.0", "true", "yes", "target", "tgt", "same", "genuine")
_FALSE = ("0", "0.0", "-1", "-1.0", "false", "no", "nontarget", "non-target", "non_target")
_FALSE += ("imp", "impostor", "imposter", "different")
_MISLABELED = 0.001
"""Of so few trials the label may contradict the speakers: they are left out and told."""

_SEPARATORS = ("", "/", "-", "_")
_MAX_KINDS = 30
"""Text with more kinds divides speakers only if that is asked for."""


@dataclass(frozen=True)
class Trials:
    """Trials of one verifier.

    `frame` has the columns score (float), target (boolean), enrol, test, enrol_speaker and
    test_speaker (strings); `speakers` has speaker and an attribute in every other column, one row
    each.
    """

    frame: pl.DataFrame
    speakers: pl.DataFrame
    warnings: tuple[str, ...] = ()
    name: str = field(default="scores")

    @property
    def attributes(self) -> tuple[str, ...]:
        """What is known of speakers."""
        return tuple(name for name in self.speakers.columns if name != "speaker")

    def cohorts_by(self, *attributes: str) -> Cohorts:
        """Cohorts of speakers by attributes; by all that have a few kinds if none is named.

        `gender×nationality` (or `gender*nationality`) is an intersection. Numbers with more than a
        dozen values are cut into four ranges.

        Raises:
            TableError: There is no such attribute.
        """
        found = []
        for name in attributes or self._dividing():
            parts = [part.strip() for part in name.replace("*", CROSS).split(CROSS)]
            values = [self._values(part) for part in parts]
            value = pl.concat_str(values, separator=CROSS, ignore_nulls=False).alias("value")
            found.append(Assignment(CROSS.join(parts), self.speakers.select("speaker", value)))
        return Cohorts(tuple(found))

    def _values(self, name: str) -> pl.Expr:
        """An attribute of speakers as text."""
        if name not in self.attributes:
            raise TableError(
                f"There is no attribute {name!r} of speakers.",
                hint=nearest_names(name, self.attributes) if self.attributes else None,
            )
        if self._is_scale(name):
            cuts = even_cuts(self.speakers[name])
            return ranges(pl.col(name), cuts, range_names(cuts))
        return pl.col(name).cast(pl.String)

    def _dividing(self) -> list[str]:
        """Attributes that divide speakers into a few kinds, rather than name each of them."""
        kinds = {name: self.speakers[name].drop_nulls().n_unique() for name in self.attributes}
        return [name for name, n in kinds.items() if 2 <= n <= _MAX_KINDS or self._is_scale(name)]

    def _is_scale(self, name: str) -> bool:
        column = self.speakers[name]
        return column.dtype.is_numeric() and column.n_unique() > MAX_NUMBERS


def read_trials(
    path: str | Path,
    *,
    speakers: str | Path | pl.DataFrame | None = None,
    columns: Mapping[str, str] | None = None,
    name: str | None = None,
) -> Trials:
    """Read trials from CSV, TSV, Parquet or JSONL.

    Args:
        path: The table of scores.
        speakers: Attributes of speakers, with a column `speaker`.
        columns: Your names of columns, ours to yours.
        name: What to call the verifier in a report.

    Raises:
        TableError: The file cannot be read, or lacks what it needs.
    """
    notes = Notes()
    attributes = _read(speakers, notes) if isinstance(speakers, (str, Path)) else speakers
    found = trials_of(_read(path, notes), speakers=attributes, columns=columns)
    said = (*notes.sentences(), *found.warnings)
    return Trials(found.frame, found.speakers, said, name or plain_name(Path(path)))


def trials_of(
    frame: pl.DataFrame,
    *,
    speakers: pl.DataFrame | None = None,
    columns: Mapping[str, str] | None = None,
) -> Trials:
    """Trials from a frame; see `read_trials`.

    Raises:
        TableError: The frame lacks what it needs.
    """
    notes = Notes()
    frame = _usable(_renamed(frame, dict(columns or {})), notes)
    if frame["target"].all() or not frame["target"].any():
        raise TableError(
            f"Trials need targets and non-targets; {frame['target'].sum()} of {frame.height} "
            "usable trials are targets.",
            hint="; ".join(notes.sentences())
            or "The column target is 1 where both sides are one speaker and 0 otherwise.",
        )
    frame = _with_speakers(frame, notes)
    known = _attributes(frame, notes)
    if speakers is not None:
        known = _joined(known, speakers, notes)
    kept = frame.select("score", "target", "enrol", "test", "enrol_speaker", "test_speaker")
    return Trials(kept, known, notes.sentences())


def _read(path: str | Path, notes: Notes) -> pl.DataFrame:
    path = Path(path)
    if file_format(path) == "kaldi":
        raise TableError(
            f"Trials and their speakers are read from CSV, TSV, JSONL or Parquet, not from "
            f"{path.name!r}.",
            hint="Save scores as CSV with columns score,enrol,test,target.",
        )
    return pl.concat(read_frames(path, notes), how="diagonal_relaxed")


def _usable(frame: pl.DataFrame, notes: Notes) -> pl.DataFrame:
    """Trials with a finite score, a label that says yes or no, and somebody on both sides."""
    missing = [name for name in ("score", "target", "enrol", "test") if name not in frame.columns]
    if missing:
        listed = ", ".join(repr(name) for name in frame.columns[:20])
        raise TableError(
            f"Trials need columns score, enrol, test and target; there is no {missing[0]!r} among "
            f"{listed}.",
            hint=f"{nearest_names(missing[0], frame.columns)} "
            f"Name it yourself with columns={{'{missing[0]}': '…'}}.",
        )
    labels = frame["target"].cast(pl.String).str.to_lowercase().str.strip_chars()
    scores = frame["score"].cast(pl.Float64, strict=False)
    is_target = labels.is_in(_TRUE)
    has_score = scores.is_finite().fill_null(False)
    has_label = (is_target | labels.is_in(_FALSE)).fill_null(False)
    notes("{} trials have no score that is a number; they are left out.", int((~has_score).sum()))
    notes(
        "{} trials have a label that is neither 1 nor 0; they are left out.",
        int((has_score & ~has_label).sum()),
    )
    sides = [name for name in _ALIASES if name.startswith(("enrol", "test"))]
    texts = [key_text(name).alias(name) for name in sides if name in frame]
    frame = frame.with_columns(scores.alias("score"), is_target.alias("target"), *texts)
    frame = frame.filter(has_score & has_label)
    somebody = pl.all_horizontal(text.is_not_null() & (text != "") for text in texts)
    kept = frame.filter(somebody)
    notes("{} trials lack an enrolment or a test; they are left out.", frame.height - kept.height)
    return kept


def _renamed(frame: pl.DataFrame, columns: dict[str, str]) -> pl.DataFrame:
    plain = {
        name.strip().lower().replace("-", "_").replace(" ", "_"): name for name in frame.columns
    }
    taken = {}
    for ours, aliases in _ALIASES.items():
        theirs = columns.pop(ours, None) or next((plain[a] for a in aliases if a in plain), None)
        if theirs is not None and theirs not in frame.columns:
            raise TableError(
                f"There is no column {theirs!r} to take as {ours}.",
                hint=nearest_names(theirs, frame.columns),
            )
        if theirs is not None:
            taken[theirs] = ours
    if columns:
        name = next(iter(columns))
        raise TableError(
            f"Columns are given as ours=theirs; {name!r} is not one of ours.",
            hint=nearest_names(name, _ALIASES),
        )
    return frame.drop(set(taken.values()) - set(taken), strict=False).rename(taken)


def _with_speakers(frame: pl.DataFrame, notes: Notes) -> pl.DataFrame:
    """The speaker of either side: given, or the part of its id that agrees with the labels.

    A few trials whose label contradicts their speakers are left out, and one of them is named.
    """
    if {"enrol_speaker", "test_speaker"} <= set(frame.columns):
        agrees = _agrees(frame)
        if int(agrees.sum()) < (1.0 - _MISLABELED) * len(agrees):
            raise TableError(
                "The speakers of a trial must agree with its label: the same in target trials, "
                f"different in non-target trials. {int((~agrees).sum()):,} of {frame.height:,} "
                "trials do not.",
                hint="Check enrol_speaker, test_speaker and target.",
            )
        return _agreeing(frame, agrees, notes)
    guesses = [_guessed(frame, separator) for separator in _SEPARATORS]
    best = max(guesses, key=lambda guess: int(_agrees(guess).sum()))
    agrees = _agrees(best)
    if int(agrees.sum()) < (1.0 - _MISLABELED) * len(agrees):
        raise TableError(
            "Trials need the speaker of either side, and the ids of enrol and test do not tell: "
            f"{frame['enrol'][0]!r} and {frame['test'][0]!r}.",
            hint="Add columns enrol_speaker and test_speaker.",
        )
    return _agreeing(best, agrees, notes)


def _guessed(frame: pl.DataFrame, separator: str) -> pl.DataFrame:
    """Speakers as what stands before a separator in ids; the ids if there is no separator."""
    sides = []
    for side in ("enrol", "test"):
        part = pl.col(side)
        part = part.str.split(separator).list.first() if separator else part
        sides.append(part.alias(f"{side}_speaker"))
    return frame.with_columns(sides)


def _agrees(frame: pl.DataFrame) -> pl.Series:
    """Which trials have a label that fits their speakers."""
    return (frame["enrol_speaker"] == frame["test_speaker"]) == frame["target"]


def _agreeing(frame: pl.DataFrame, agrees: pl.Series, notes: Notes) -> pl.DataFrame:
    if agrees.all():
        return frame
    first = frame.filter(~agrees).row(0, named=True)
    notes(
        f"{{}} trials have a label that contradicts their speakers, such as {first['enrol']!r} "
        f"against {first['test']!r}, and were left out.",
        int((~agrees).sum()),
    )
    return frame.filter(agrees)


def _attributes(frame: pl.DataFrame, notes: Notes) -> pl.DataFrame:
    """What columns of the trials say of each speaker."""
    known = pl.concat([_side(frame, "enrol"), _side(frame, "test")], how="diagonal").unique()
    names = [name for name in known.columns if name != "speaker"]
    known = clean_attributes(known, names, notes)
    distinct = known.group_by("speaker").agg(pl.col(name).drop_nulls().unique() for name in names)
    for name in names:
        several = distinct.filter(pl.col(name).list.len() > 1)["speaker"].sort()
        if not len(several):
            continue
        if f"enrol_{name}" in frame.columns or f"test_{name}" in frame.columns:
            raise TableError(
                f"Each speaker may have one {name}; {several[0]!r} has several.",
                hint=f"Check enrol_{name} and test_{name}, or give a table of speakers.",
            )
        notes(f"{name} differs between trials of one speaker, and is no attribute of speakers.")
        distinct = distinct.drop(name)
    first = [pl.col(name).list.first() for name in distinct.columns if name != "speaker"]
    return distinct.select("speaker", *first).sort("speaker")


def _side(frame: pl.DataFrame, side: str) -> pl.DataFrame:
    """Attributes of the speakers on one side; plain columns belong to the enrolled one."""
    chosen = []
    for name in frame.columns:
        if name in _ALIASES:
            continue
        if name.startswith(f"{side}_"):
            chosen.append(pl.col(name).cast(pl.String).alias(name.removeprefix(f"{side}_")))
        elif side == "enrol" and not name.startswith("test_"):
            chosen.append(pl.col(name).cast(pl.String))
    return frame.select(pl.col(f"{side}_speaker").alias("speaker"), *chosen)


def _joined(known: pl.DataFrame, speakers: pl.DataFrame, notes: Notes) -> pl.DataFrame:
    """Add what a table of speakers says; it wins over columns of the trials."""
    named = name_columns(speakers.columns)
    speakers = speakers.rename({a: b for a, b in named.items() if b == "speaker"})
    if "speaker" not in speakers.columns or speakers["speaker"].is_duplicated().any():
        raise TableError(
            "The table of speakers needs a column 'speaker' with one row for each.",
            hint=nearest_names("speaker", speakers.columns),
        )
    speakers = speakers.with_columns(key_text("speaker"))
    if not known["speaker"].is_in(speakers["speaker"].implode()).any():
        raise TableError(
            f"The table of speakers knows none of the trials' speakers, such as "
            f"{known['speaker'][0]!r}; its own are such as {speakers['speaker'][0]!r}.",
            hint="Are the names of speakers written alike in both?",
        )
    strangers = known.join(speakers, on="speaker", how="anti").height
    notes("{} speakers of the trials are not in the table of speakers.", strangers)
    replaced = [name for name in speakers.columns if name != "speaker"]
    speakers = clean_attributes(speakers, replaced, notes)
    return known.drop(replaced, strict=False).join(
        speakers, on="speaker", how="left", maintain_order="left"
    )
