# SPDX-License-Identifier: Apache-2.0
"""Small corpora whose truth is known, as tables."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from evenear.audit import Table

__all__ = ["planted"]


def planted(
    num_speakers: int = 200,
    *,
    utterances: int = 8,
    wer: float = 0.12,
    scatter: float = 0.5,
    seed: int = 0,
    effects: Mapping[tuple[str, str], float] | None = None,
) -> Table:
    """A corpus of speakers who differ by chance, and by `effects` on some cohorts.

    `scatter` is the coefficient of variation of speakers' own error rates.
    """
    rng = np.random.default_rng(seed)
    columns = {
        "gender": rng.choice(["female", "male"], num_speakers),
        "age": rng.choice(["forties", "teens", "thirties", "twenties"], num_speakers),
        "accent": rng.choice(["a", "b", "c", "d", "e", "f"], num_speakers),
    }
    rates = rng.gamma(1 / scatter**2, wer * scatter**2, num_speakers)
    for (attribute, value), factor in (effects or {}).items():
        rates = rates * np.where(columns[attribute] == value, factor, 1.0)
    counts = np.maximum(rng.poisson(utterances, num_speakers), 1)
    who = np.repeat(np.arange(num_speakers), counts)
    words = np.maximum(rng.poisson(10, len(who)), 1)
    frame = pl.DataFrame(
        {
            "utterance_id": [f"u{row:05d}" for row in range(len(who))],
            "speaker": [f"s{row:04d}" for row in who],
            "reference": pl.Series([None] * len(who), dtype=pl.String),
            "hypothesis": pl.Series([None] * len(who), dtype=pl.String),
            "words": words.astype(np.int64),
            "errors": rng.poisson(rates[who] * words).astype(np.int64),
            **{name: values[who] for name, values in columns.items()},
            "noise": rng.choice(["high", "low"], len(who)),
        }
    )
    return Table(frame)
