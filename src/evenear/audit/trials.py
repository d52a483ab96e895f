# SPDX-License-Identifier: Apache-2.0
"""Trials of a speaker verifier: scores, labels, and who is on either side.

One row per trial: `score`, `enrol`, `test`, `target`, and, if the ids of enrol and test are not
speakers themselves, `enrol_speaker` and `test_speaker` (or ids such as speaker/recording, whose
first part is the speaker: that is checked against the labels). Attributes of speakers come from a
table of their own, or from columns `enrol_gender` and `test_gender`; a plain `gender` belongs to
the enrolled speaker.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from evenear.audit.cohorts import Assignment, Cohorts
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
_FALSE = (
    "0",
    "0.0",
    "-1",
    "false",
    "no",
    "nontarget",
    "non-target",
    "imp",
    "impostor",
    "different",
)
_SEPARATORS = ("", "/", "-", "_")


@dataclass(frozen=True)
class Trials:
    """Trials of one verifier.

    `frame` has the columns score (float), target (boolean), enrol_speaker and test_speaker
    (strings); `speakers` has speaker and an attribute in every other column, one row each.
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
        """Cohorts of speakers by attributes; all of them if none is named.

        Raises:
            TableError: There is no such attribute.
        """
        found = []
        for name in attributes or self.attributes:
            if name not in self.attributes:
                raise TableError(
                    f"There is no attribute {name!r} of speakers.",
                    hint=nearest_names(name, self.attributes) if self.attributes else None,
                )
            value = pl.col(name).cast(pl.String).alias("value")
            found.append(Assignment(name, self.speakers.select("speaker", value)))
        return Cohorts(tuple(found))


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
    attributes = _read(speakers) if isinstance(speakers, (str, Path)) else speakers
    found = trials_of(_read(path), speakers=attributes, columns=columns)
    return Trials(found.frame, found.speakers, found.warnings, name or Path(path).stem)


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
    frame = _renamed(frame, dict(columns or {}))
    missing = [name for name in ("score", "target", "enrol", "test") if name not in frame.columns]
    if missing:
        raise TableError(
            f"Trials need columns score, enrol, test and target; there is no {missing[0]!r} among "
            + ", ".join(repr(name) for name in frame.columns[:20])
            + ".",
            hint=f"Name it with columns={{'{missing[0]}': '…'}}.",
        )
    labels = frame["target"].cast(pl.String).str.to_lowercase().str.strip_chars()
    scores = frame["score"].cast(pl.Float64, strict=False)
    is_target = labels.is_in(_TRUE)
    usable = (is_target | labels.is_in(_FALSE)) & scores.is_finite().fill_null(False)
    notes = []
    if not usable.all():
        notes.append(
            f"{int((~usable).sum()):,} trials have no score or no label; they are left out."
        )
    frame = frame.with_columns(scores.alias("score"), is_target.alias("target")).filter(usable)
    if frame["target"].all() or not frame["target"].any():
        raise TableError(
            f"Trials need targets and non-targets; {frame['target'].sum()} of {frame.height} "
            "usable trials are targets.",
            hint="The column target is 1 where both sides are one speaker and 0 otherwise.",
        )
    frame = _with_speakers(frame)
    known = _attributes(frame, speakers)
    kept = frame.select("score", "target", "enrol_speaker", "test_speaker")
    return Trials(kept, known, tuple(notes))


def _read(path: str | Path) -> pl.DataFrame:
    path = Path(path)
    readers = {
        ".csv": pl.read_csv,
        ".tsv": lambda source: pl.read_csv(source, separator="\t"),
        ".parquet": pl.read_parquet,
        ".jsonl": pl.read_ndjson,
        ".ndjson": pl.read_ndjson,
    }
    if path.suffix not in readers:
        raise TableError(
            f"Trials are read from {', '.join(readers)}, not from {path.name!r}.",
            hint="Save them as CSV with columns score,enrol,test,target.",
        )
    if not path.exists():
        raise TableError(f"There is no file {path}.", hint="Check the name and the folder.")
    try:
        return readers[path.suffix](path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise TableError(f"{path.name} cannot be read as a table: {error}") from None


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
    return frame.rename(taken)


def _with_speakers(frame: pl.DataFrame) -> pl.DataFrame:
    """The speaker of either side: given, or the part of its id that agrees with the labels."""
    if {"enrol_speaker", "test_speaker"} <= set(frame.columns):
        frame = frame.with_columns(pl.col("enrol_speaker", "test_speaker").cast(pl.String))
        if not _agrees(frame):
            raise TableError(
                "The speakers of a trial must agree with its label: the same in target trials, "
                "different in non-target trials. Some trials do not.",
                hint="Check enrol_speaker, test_speaker and target.",
            )
        return frame
    for separator in _SEPARATORS:
        sides = []
        for side in ("enrol", "test"):
            identity = pl.col(side).cast(pl.String)
            part = identity.str.split(separator).list.first() if separator else identity
            sides.append(part.alias(f"{side}_speaker"))
        guessed = frame.with_columns(sides)
        if _agrees(guessed):
            return guessed
    raise TableError(
        "Trials need the speaker of either side, and the ids of enrol and test do not tell: "
        f"{frame['enrol'][0]!r} and {frame['test'][0]!r}.",
        hint="Add columns enrol_speaker and test_speaker.",
    )


def _agrees(frame: pl.DataFrame) -> bool:
    same = frame["enrol_speaker"] == frame["test_speaker"]
    return bool((same == frame["target"]).all())


def _attributes(frame: pl.DataFrame, speakers: pl.DataFrame | None) -> pl.DataFrame:
    """What is known of each speaker, from a table of speakers and from columns of the trials."""
    sides = [_side(frame, "enrol"), _side(frame, "test")]
    known = pl.concat(sides, how="diagonal").unique()
    names = [name for name in known.columns if name != "speaker"]
    distinct = known.group_by("speaker").agg(pl.col(name).drop_nulls().unique() for name in names)
    for name in names:
        several = distinct.filter(pl.col(name).list.len() > 1)
        if several.height:
            raise TableError(
                f"Each speaker may have one {name}; {several['speaker'].sort()[0]!r} has several.",
                hint=f"A column {name} belongs to the enrolled speaker; write enrol_{name} and "
                f"test_{name} for both sides, or give a table of speakers.",
            )
    first = [pl.col(name).list.first() for name in names]
    known = distinct.select("speaker", *first).sort("speaker")
    return known if speakers is None else _joined(known, speakers)


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


def _joined(known: pl.DataFrame, speakers: pl.DataFrame) -> pl.DataFrame:
    """Add what a table of speakers says; it wins over columns of the trials."""
    if "speaker" not in speakers.columns or speakers["speaker"].is_duplicated().any():
        raise TableError(
            "The table of speakers needs a column 'speaker' with one row for each.",
            hint=nearest_names("speaker", speakers.columns),
        )
    speakers = speakers.with_columns(pl.col("speaker").cast(pl.String))
    if not known["speaker"].is_in(speakers["speaker"].implode()).any():
        raise TableError(
            f"The table of speakers knows none of the trials' speakers, such as "
            f"{known['speaker'][0]!r}; its own are such as {speakers['speaker'][0]!r}.",
            hint="Are the names of speakers written alike in both?",
        )
    replaced = [name for name in speakers.columns if name != "speaker"]
    return known.drop(replaced, strict=False).join(
        speakers, on="speaker", how="left", maintain_order="left"
    )
