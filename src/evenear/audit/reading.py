# SPDX-License-Identifier: Apache-2.0
"""Read results of a recognizer, in whatever table they come."""

from pathlib import Path

import polars as pl

from evenear.audit.alignment import count_word_errors
from evenear.audit.table import Table
from evenear.errors import TableError

__all__ = ["read_table"]


def read_table(path: str | Path, *, normalizer: str = "basic") -> Table:
    """Read JSONL, CSV, TSV or Parquet."""
    path = Path(path)
    if path.suffix == ".parquet":
        frame = pl.read_parquet(path)
    elif path.suffix in (".jsonl", ".ndjson"):
        frame = pl.read_ndjson(path)
    elif path.suffix in (".csv", ".tsv"):
        frame = pl.read_csv(path, separator="\t" if path.suffix == ".tsv" else ",")
    else:
        raise TableError(f"Cannot tell the format of {path.name!r}.")
    if "errors" not in frame.columns:
        counts = count_word_errors(frame["reference"], frame["hypothesis"], normalizer=normalizer)
        frame = frame.with_columns(
            pl.Series("words", counts.words),
            pl.Series("errors", counts.errors),
            pl.Series("insertions", counts.insertions),
            pl.Series("deletions", counts.deletions),
            pl.Series("substitutions", counts.substitutions),
        )
    frame = frame.with_columns(pl.col("utterance_id", "speaker").cast(pl.String))
    return Table(frame, normalizer=normalizer, name=path.stem)
