# SPDX-License-Identifier: Apache-2.0
"""The table that every audit starts from: one row per utterance, counts of errors, attributes.

A `Table` is a polars frame with fixed names for what every recognizer has (utterance, speaker,
texts, counts, place) and any other columns as attributes. It is never changed: methods return new
tables. Whatever had to be repaired while reading is told in `warnings`.

Counts stay counts. `wer` is the sum of errors over the sum of words of a named normalizer, and
None where there are no words.

A rate counts errors per word, so it needs words: utterances whose reference has none (silence,
music, a laugh) count in no rate, no interval and no test. What was recognized in them is counted
beside the rates, as `silent`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

import polars as pl

from evenear.errors import TableError, nearest_names

__all__ = ["COUNT_COLUMNS", "PLACE_COLUMNS", "TEXT_COLUMNS", "Table"]

TEXT_COLUMNS = ("reference", "hypothesis")
COUNT_COLUMNS = ("words", "errors", "insertions", "deletions", "substitutions")
PLACE_COLUMNS = ("latitude", "longitude", "zip", "embedding")
_ALWAYS = ("utterance_id", "speaker", *TEXT_COLUMNS, *COUNT_COLUMNS)


@dataclass(frozen=True)
class Table:
    """Results of one recognizer on many utterances.

    `frame` has the columns utterance_id and speaker (strings), reference and hypothesis (strings,
    null where texts were not given or not kept), words and errors (integers), insertions,
    deletions and substitutions (integers, null where only errors were given); then, if the source
    had them, latitude and longitude (floats), zip (five digits as a string) and embedding (a
    reference to one); then the attributes.
    """

    frame: pl.DataFrame
    normalizer: str = "basic"
    warnings: tuple[str, ...] = ()
    name: str = field(default="results")
    """What to call this recognizer in a report."""

    @cached_property
    def attributes(self) -> tuple[str, ...]:
        """Names of the columns that may divide people into cohorts."""
        fixed = {*_ALWAYS, *PLACE_COLUMNS}
        return tuple(name for name in self.frame.columns if name not in fixed)

    @property
    def num_utterances(self) -> int:
        """Rows of the table."""
        return self.frame.height

    @property
    def num_speakers(self) -> int:
        """Different speakers who said words."""
        return self.speakers.height

    @cached_property
    def spoken(self) -> pl.DataFrame:
        """The rows that rates are made of: utterances whose reference has words."""
        return self.frame.filter(pl.col("words") > 0)

    @cached_property
    def silent(self) -> pl.DataFrame:
        """The other rows: every word that was recognized in them is an error, of no rate."""
        return self.frame.filter(~(pl.col("words") > 0).fill_null(False))

    @cached_property
    def words(self) -> int:
        """Reference words in all."""
        return int(self.spoken["words"].sum())

    @cached_property
    def errors(self) -> int:
        """Word errors in utterances with words."""
        return int(self.spoken["errors"].sum())

    @property
    def wer(self) -> float | None:
        """Pooled word error rate: sum of errors over sum of words."""
        return self.errors / self.words if self.words else None

    @cached_property
    def speakers(self) -> pl.DataFrame:
        """One row for each who said words, sorted by name: speaker, utterances, words, errors.

        Only utterances with words are counted.
        """
        return (
            self.spoken.group_by("speaker")
            .agg(pl.len().cast(pl.Int64).alias("utterances"), pl.col("words", "errors").sum())
            .sort("speaker")
        )

    def only_speakers(self, names: Iterable[str]) -> "Table":
        """The rows of some speakers."""
        wanted = pl.DataFrame({"speaker": pl.Series(list(names), dtype=pl.String)}).unique()
        kept = self.frame.join(wanted, on="speaker", how="semi", maintain_order="left")
        return replace(self, frame=kept)

    def with_attributes(self, attributes: pl.DataFrame, *, on: str = "speaker") -> "Table":
        """Add columns from another frame, matched by speaker or by utterance_id.

        Raises:
            TableError: The frame has no such key, or names a key twice.
        """
        if on not in ("speaker", "utterance_id"):
            raise TableError(f"Attributes are matched on speaker or utterance_id, not {on!r}.")
        if on not in attributes.columns:
            raise TableError(
                f"The attributes need a column {on!r} to be matched on.",
                hint=nearest_names(on, attributes.columns),
            )
        attributes = attributes.with_columns(pl.col(on).cast(pl.String))
        twice = attributes.filter(pl.col(on).is_duplicated())[on].unique().sort()
        if len(twice):
            raise TableError(
                f"Each {on} may have one row of attributes; {len(twice)} have more, "
                f"such as {twice[0]!r}.",
                hint="Keep one row for each.",
            )
        replaced = [name for name in attributes.columns if name != on]
        joined = self.frame.drop(replaced, strict=False).join(
            attributes, on=on, how="left", maintain_order="left"
        )
        return replace(self, frame=joined)

    def require_attribute(self, name: str) -> None:
        """Check that there is such an attribute.

        Raises:
            TableError: There is none, the message names the nearest; or its values are lists.
        """
        if name in self.attributes and self.frame.schema[name].is_nested():
            raise TableError(
                f"An attribute needs one value in each row; {name!r} holds lists.",
                hint="Make a column of each value that may be in them, with yes or no.",
            )
        if name not in self.attributes:
            raise TableError(
                f"There is no attribute {name!r} in this table.",
                hint=nearest_names(name, self.attributes)
                if self.attributes
                else "It has no attributes: add columns, or join them with `with_attributes`.",
            )
