# SPDX-License-Identifier: Apache-2.0
"""Results of two recognizers side by side.

What both heard is kept, once they agree on who spoke and how many words were said.
"""

import polars as pl

from evenear.audit.tables.table import Table
from evenear.errors import TableError

__all__ = ["paired"]


def paired(before: Table, after: Table) -> tuple[Table, Table, list[str]]:
    """Both tables reduced to the utterances that both have, and what was left out.

    Raises:
        TableError: The two have no utterance in common, were scored on other references, or name
            other speakers.
    """
    counts = after.frame.select(
        "utterance_id",
        pl.col("errors").alias("_errors"),
        pl.col("words").alias("_words"),
        pl.col("speaker").alias("_speaker"),
    )
    both = before.frame.join(counts, on="utterance_id", how="inner", maintain_order="left")
    if both.height == 0:
        raise TableError(
            f"{before.name} and {after.name} have no utterance in common: "
            f"{before.frame['utterance_id'][0]!r} against {after.frame['utterance_id'][0]!r}.",
            hint="Utterance ids must be written alike in both.",
        )
    other = both.filter(pl.col("words") != pl.col("_words"))
    if other.height:
        raise TableError(
            f"The two must be scored on the same references; {other.height} of {both.height} "
            f"utterances have other word counts, such as {other['utterance_id'][0]!r}.",
            hint="Read both with the same normalizer and the same references.",
        )
    _check_speakers(both)
    both = both.drop("_speaker")
    lost = before.num_utterances + after.num_utterances - 2 * both.height
    warnings = (
        [f"{lost:,} utterances are in one of the two only and were left out."] if lost else []
    )
    first = both.drop("_errors", "_words")
    second = both.with_columns(pl.col("_errors").alias("errors")).drop("_errors", "_words")
    return Table(first, before.normalizer), Table(second, after.normalizer), warnings


def _check_speakers(both: pl.DataFrame) -> None:
    """Refuse utterances that two speakers said; who has no name is named by the utterance."""
    id_ = pl.col("utterance_id")
    other = both.filter(
        pl.col("speaker") != pl.col("_speaker"),
        *(
            (pl.col(name) != id_) & (pl.col(name) != pl.concat_str(pl.lit("speaker of "), id_))
            for name in ("speaker", "_speaker")
        ),
    )
    if other.height:
        first = other.row(0, named=True)
        raise TableError(
            f"An utterance must have one speaker in both; {other.height} of {both.height} do not, "
            f"such as {first['utterance_id']!r}: {first['speaker']!r} and {first['_speaker']!r}.",
            hint="Give both tables a column utterance_id: rows without one are paired by number.",
        )
