# SPDX-License-Identifier: Apache-2.0
"""Trials of a made-up verifier within two genders, one of which may lose."""

import numpy as np
import polars as pl

from evenear.audit.verification.trials import Trials, trials_of

__all__ = ["SPEAKERS", "trial_frame", "trial_people", "trials"]

SPEAKERS = 60


def trial_frame(seed: int, *, loss: float = 0.0, everyone: float = 0.0) -> pl.DataFrame:
    """Trials within genders; women's targets score lower by `loss`, everybody's by `everyone`."""
    rng, shared = np.random.default_rng(seed), np.random.default_rng(99)
    quality = shared.normal(0.0, 0.4, SPEAKERS)
    rows = []
    for a in range(SPEAKERS):
        for k in range(12):
            lost = loss * (a % 2) + everyone
            noise = 0.8 * shared.normal() + 0.6 * rng.normal()
            rows.append((2.0 + quality[a] - lost + noise, f"s{a:02d}/e", f"s{a:02d}/t{k}", 1))
        for b in range(a % 2, SPEAKERS, 2):
            noise = 0.8 * shared.normal() + 0.6 * rng.normal()
            if a != b:
                rows.append((noise, f"s{a:02d}/e", f"s{b:02d}/t0", 0))
    return pl.DataFrame(rows, schema=["score", "enrol", "test", "target"], orient="row")


def trial_people() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "speaker": [f"s{k:02d}" for k in range(SPEAKERS)],
            "gender": ["male", "female"] * (SPEAKERS // 2),
        }
    )


def trials(seed: int, **losses: float) -> Trials:
    people = trial_people()
    return trials_of(trial_frame(seed, **losses), speakers=people)
