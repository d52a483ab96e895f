# SPDX-License-Identifier: Apache-2.0
"""Speakers with places, ZIP codes, voices or attributes, and a planted cohort, as tables."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from evenear.audit import Table

__all__ = ["results", "scattered"]


def results(
    columns: Mapping[str, object],
    *,
    planted: np.ndarray | None = None,
    effect: float = 1.5,
    wer: float = 0.12,
    utterances: int = 4,
    words: int = 20,
    seed: int = 0,
) -> Table:
    """A table with one row of attributes per speaker, who err `effect` times as much if planted.

    `columns` holds one value for each speaker, or functions of each utterance's speaker.
    """
    rng = np.random.default_rng(seed)
    number = max(len(values) for values in columns.values() if not callable(values))
    rates = rng.gamma(6.0, wer / 6.0, number)
    if planted is not None:
        rates = rates * np.where(planted, effect, 1.0)
    who = np.repeat(np.arange(number), rng.integers(1, 2 * utterances, number))
    said = rng.poisson(words, len(who)) + 1
    texts = pl.Series([None] * len(who), dtype=pl.String)
    return Table(
        pl.DataFrame(
            {
                "utterance_id": [f"u{row:06d}" for row in range(len(who))],
                "speaker": [f"s{row:04d}" for row in who],
                "reference": texts,
                "hypothesis": texts,
                "words": said.astype(np.int64),
                "errors": rng.poisson(rates[who] * said).astype(np.int64),
                **{
                    name: values(who) if callable(values) else pl.Series(values)[who]
                    for name, values in columns.items()
                },
            }
        )
    )


def scattered(
    number: int, *, seed: int = 0, south: float = 30.0, west: float = -120.0, size: float = 20.0
) -> dict[str, np.ndarray]:
    """Places all over a square."""
    rng = np.random.default_rng(seed)
    longitude = west + size * rng.random(number)
    return {
        "latitude": south + size * rng.random(number),
        "longitude": (longitude + 180.0) % 360.0 - 180.0,
    }
