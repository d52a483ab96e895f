# SPDX-License-Identifier: Apache-2.0
"""What a reader must know of a table before its numbers.

Speech without words, people with two values, attributes without any, and speakers on whom
everything hangs: each is said once, with its number and a name, and none is mended in silence.

Legend: S speakers.
"""

from collections.abc import Iterator

import polars as pl

from evenear.audit.statistics.sums import whole_sums
from evenear.audit.tables.cohorts import CROSS, Assignment, Cohorts
from evenear.audit.tables.table import Table

__all__ = ["caveats", "without_values"]

_FEW = 0.05
"""An attribute that changes within so few of its speakers was meant to belong to speakers."""
_DOMINANT = 0.25
"""One speaker with more of all words than this is said."""
_CARRIERS = 15, 0.05
"""Fewer speakers than this, and than this part of all, who carry the variance of all are said."""


def caveats(table: Table, cohorts: Cohorts) -> tuple[str, ...]:
    """Sentences about a table and its cohorts."""
    given = [one for one in cohorts.assignments if one.found_by == "given"]
    return (
        *_silence(table, given),
        *(line for one in given for line in _contradictions(table, one)),
        *(
            f"{name} has no value in any utterance: nothing can be said of its cohorts."
            for name in without_values(table, cohorts)
        ),
        *_dominance(table),
    )


def without_values(table: Table, cohorts: Cohorts) -> tuple[str, ...]:
    """Attributes of which no value is known in a table."""
    return tuple(
        one.attribute
        for one in cohorts.assignments
        if one.found_by == "given"
        and not table.frame.join(one.frame.drop_nulls("value"), on=one.key, how="semi").height
    )


def _silence(table: Table, given: list[Assignment]) -> Iterator[str]:
    """How many utterances have no words, how much was heard in them, and in whose."""
    silent = table.silent
    if not silent.height:
        return
    heard = int(silent["errors"].sum())
    is_one = silent.height == 1
    line = (
        f"{silent.height:,} utterance{' has' if is_one else 's have'} no reference words and "
        f"count{'s' if is_one else ''} in no rate; {heard:,} words were recognized in "
        f"{'it' if is_one else 'them'}"
    )
    parts = [_most_heard(silent, one) for one in given if CROSS not in one.attribute]
    shown = [part for part in parts if heard and part]
    where = f" ({'; '.join(shown)})" if shown else ""
    yield f"{line}{where}."


def _most_heard(silent: pl.DataFrame, one: Assignment) -> str:
    """The value in whose silence most was heard, if that is most of it."""
    sums = (
        silent.select("utterance_id", "speaker", "errors")
        .join(one.frame.drop_nulls("value"), on=one.key, how="inner")
        .group_by("value")
        .agg(pl.col("errors").sum())
        .sort("errors", "value", descending=[True, False])
    )
    if not sums.height or not sums["errors"][0]:
        return ""
    return f"{sums['errors'][0]:,} of them in {one.attribute} “{sums['value'][0]}”"


def _contradictions(table: Table, one: Assignment) -> Iterator[str]:
    """Speakers with two values of an attribute that others have one of."""
    if one.key == "speaker" or CROSS in one.attribute:
        return
    values = (
        table.spoken.select("utterance_id", "speaker")
        .join(one.frame.drop_nulls("value"), on="utterance_id", how="inner")
        .group_by("speaker")
        .agg(pl.col("value").unique().sort(), pl.len().alias("utterances"))
        .sort("speaker")
    )
    several = values.filter(pl.col("value").list.len() > 1)
    if not several.height or several.height > _FEW * values.height:
        return
    name, kinds = several["speaker"][0], several["value"][0].to_list()
    listed = " and ".join(f"“{kind}”" for kind in kinds[:2])
    yield (
        f"{one.attribute} changes within {several.height:,} of {values.height:,} speakers, such as "
        f"{name!r} ({listed}). If that is a mistake, mend it in the table: each part of their "
        "speech counts where it is said to belong."
    )


def _dominance(table: Table) -> Iterator[str]:
    """Tables in which intervals hold the truth less often than they say."""
    errors_S, words_S = whole_sums(table)
    if len(words_S) < 2 or not errors_S.sum():
        return
    dominant = int(words_S.argmax())
    share = float(words_S[dominant] / words_S.sum())
    if share > _DOMINANT:
        name = table.speakers["speaker"][dominant]
        yield (
            f"Speaker {name!r} says {100 * share:.0f} % of all words, and little shows how such "
            "speakers differ. Intervals of gaps are widened by how all speakers differ; those of "
            "rates hold the truth less often than they say."
        )
        return
    squares_S = (errors_S - errors_S.sum() / words_S.sum() * words_S) ** 2
    carriers = squares_S.sum() ** 2 / max(float((squares_S**2).sum()), 1e-300)
    few = min(_CARRIERS[0], _CARRIERS[1] * len(words_S))
    if squares_S.any() and carriers < few:
        yield (
            f"Of {len(words_S):,} speakers, about {max(1, round(carriers))} fare so differently "
            "that they make most of the uncertainty. Intervals of gaps are widened by how all "
            "speakers differ; those of rates hold the truth less often than they say. Look at "
            "these speakers first."
        )
