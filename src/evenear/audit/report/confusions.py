# SPDX-License-Identifier: Apache-2.0
"""Which words are misheard for a cohort, and how much more often than for the rest.

Words of reference and hypothesis are put side by side, and each pair that differs is counted: a
word heard as another, a word that was not heard, a word that nobody said. For each cohort stand
those pairs that it has most beyond what the rest would lead one to expect,

    excess = count - words of the cohort * count of the rest / words of the rest,

counted only if several of its speakers have them, so that no single utterance is quoted. Only
utterances whose texts were kept can be counted (see `read_table`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from evenear.audit.statistics.results import Gaps
from evenear.audit.tables.cohorts import Cohorts
from evenear.audit.tables.table import Table
from evenear.metrics.normalizing.named import normalize
from evenear.metrics.words import align_words

__all__ = ["CohortConfusions", "Confusion", "confusions"]

_LEAST_SPEAKERS = 3
_MOST_UTTERANCES = 100_000


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """A word that was said and what was recognized for it; None where there is none."""

    reference: str | None
    hypothesis: str | None
    count: int
    speakers: int
    """Speakers of the cohort who have it."""
    ratio: float | None
    """How many times as often as in the rest, by words; None if the rest does not have it."""


@dataclass(frozen=True, kw_only=True)
class CohortConfusions:
    """What a cohort has most beyond the rest."""

    attribute: str
    value: str
    utterances: int
    """Utterances with words whose texts were looked at."""
    pairs: tuple[Confusion, ...]


def confusions(
    table: Table, cohorts: Cohorts, found: Gaps, *, per_cohort: int = 10
) -> tuple[CohortConfusions, ...]:
    """Confusion lists of the measured cohorts; none for cohorts without any.

    Args:
        table: The table that the numbers come from.
        cohorts: Who belongs to which cohort.
        found: The audit.
        per_cohort: Pairs of each cohort; 0 for none.
    """
    if per_cohort <= 0:
        return ()
    texts = table.spoken.drop_nulls("reference").head(_MOST_UTTERANCES)
    texts = texts.select("utterance_id", "speaker", "reference", "hypothesis", "errors", "words")
    pairs = _pairs(texts.filter(pl.col("errors") > 0), table.normalizer)
    if not pairs.height:
        return ()
    lists = []
    for one in cohorts.assignments:
        values = [
            row.value for row in found.rows if row.attribute == one.attribute and not row.suppressed
        ]
        if not values:
            continue
        known = one.frame.drop_nulls("value")
        words = (
            texts.join(known, on=one.key, how="inner")
            .group_by("value")
            .agg(pl.col("words").sum(), pl.len().alias("utterances"))
        )
        counted = (
            pairs.join(known, on=one.key, how="inner")
            .group_by("value", "reference", "hypothesis")
            .agg(pl.len().alias("count"), pl.col("speaker").n_unique().alias("speakers"))
        )
        lists += list(_of_cohorts(one.attribute, values, words, counted, per_cohort))
    return tuple(lists)


def _of_cohorts(
    attribute: str,
    values: Sequence[str],
    words: pl.DataFrame,
    counted: pl.DataFrame,
    per_cohort: int,
) -> Iterator[CohortConfusions]:
    all_words = int(words["words"].sum())
    everyone = counted.group_by("reference", "hypothesis").agg(pl.col("count").sum().alias("all"))
    sizes = {value: (own, heard) for value, own, heard in words.iter_rows()}
    for value in values:
        own, utterances = sizes.get(value, (0, 0))
        rest = all_words - own
        if not own or not rest:
            continue
        rate = (pl.col("all") - pl.col("count")) / rest
        mine = (
            counted.filter((pl.col("value") == value) & (pl.col("speakers") >= _LEAST_SPEAKERS))
            .join(everyone, on=["reference", "hypothesis"], how="left", nulls_equal=True)
            .with_columns(
                (pl.col("count") - own * rate).alias("excess"),
                pl.when(rate > 0).then(pl.col("count") / own / rate).alias("ratio"),
            )
            .filter(pl.col("excess") > 0)
            .sort(
                "excess", "reference", "hypothesis",
                descending=[True, False, False], nulls_last=True,
            )
            .head(per_cohort)
        )  # fmt: skip
        if not mine.height:
            continue
        fields = mine.select("reference", "hypothesis", "count", "speakers", "ratio")
        yield CohortConfusions(
            attribute=attribute,
            value=value,
            utterances=utterances,
            pairs=tuple(Confusion(**row) for row in fields.iter_rows(named=True)),
        )


def _pairs(texts: pl.DataFrame, normalizer: str) -> pl.DataFrame:
    """Every pair of words that differs, with its utterance and speaker."""
    name = "basic" if normalizer == "as counted" else normalizer
    columns: dict[str, list[str | None]] = {
        key: [] for key in ("utterance_id", "speaker", "reference", "hypothesis")
    }
    for row in texts.iter_rows(named=True):
        said, heard = (normalize(row[side] or "", name) for side in ("reference", "hypothesis"))
        for pair in align_words(said, heard):
            if pair.is_error:
                columns["utterance_id"].append(row["utterance_id"])
                columns["speaker"].append(row["speaker"])
                columns["reference"].append(pair.reference)
                columns["hypothesis"].append(pair.hypothesis)
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
