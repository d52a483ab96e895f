# SPDX-License-Identifier: Apache-2.0
"""Find cohorts that nobody named: regions of a map and voices that sound alike.

Speakers, places and voices are made up: south of 37 degrees, and for one kind of voice, errors are
more frequent. Both are found on half of the speakers and measured on the other half.

Run: python examples/audit_discover.py [report.html]
"""

import sys

import numpy as np
import polars as pl

from evenear.audit import Table
from evenear.audit.report import AuditSettings, audit, to_text, write_report
from evenear.audit.report.discovery import discover

SPEAKERS = 600


def made_up_table() -> Table:
    """Counts of errors, places and embeddings; one row for each speaker."""
    rng = np.random.default_rng(2)
    latitude = rng.uniform(31.0, 46.0, SPEAKERS)
    kind = rng.integers(0, 4, SPEAKERS)
    voices = rng.normal(size=(SPEAKERS, 8)) + 4.0 * np.eye(8)[kind]
    rates = rng.gamma(6.0, 0.02, SPEAKERS)
    rates *= np.where(latitude < 37.0, 1.7, 1.0) * np.where(kind == 0, 1.6, 1.0)
    words = rng.poisson(80, SPEAKERS) + 1
    return Table(
        pl.DataFrame(
            {
                "utterance_id": [f"utterance {k}" for k in range(SPEAKERS)],
                "speaker": [f"speaker {k}" for k in range(SPEAKERS)],
                "reference": pl.Series([None] * SPEAKERS, dtype=pl.String),
                "hypothesis": pl.Series([None] * SPEAKERS, dtype=pl.String),
                "words": words,
                "errors": rng.poisson(rates * words),
                "latitude": latitude,
                "longitude": rng.uniform(-120.0, -75.0, SPEAKERS),
                "embedding": pl.Series(voices, dtype=pl.Array(pl.Float64, 8)),
            }
        ),
        normalizer="as counted",
        name="made-up recognizer",
    )


def main() -> None:
    settings = AuditSettings(seed=1, confirm_fraction=0.5)
    found = discover(made_up_table(), ["geography", "voice"], settings)
    report = audit(found.table, found.cohorts, settings, findings=found.findings)
    print(to_text(report))
    if len(sys.argv) > 1:
        write_report(report, sys.argv[1])


if __name__ == "__main__":
    main()
