# SPDX-License-Identifier: Apache-2.0
"""Audit the results of any recognizer by columns of its table, and write a report.

The table is made up: 300 speakers, of whom those recorded by phone fare worse.

Run: python examples/audit_by_attributes.py [report.html]
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from evenear.audit import cohorts_by, read_table
from evenear.audit.report import AuditSettings, audit, to_text, write_report


def made_up_results(folder: Path) -> Path:
    """A table like those that recognizers write: texts, speakers, two attributes."""
    rng = np.random.default_rng(1)
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    rows = []
    for speaker in range(300):
        device = rng.choice(["phone", "laptop", "headset"])
        rate = rng.gamma(4.0, 0.03) * (1.6 if device == "phone" else 1.0)
        for utterance in range(6):
            said = rng.choice(words, 10)
            heard = np.where(rng.random(10) < rate, "what", said)
            rows.append(
                {
                    "utterance_id": f"{speaker}-{utterance}",
                    "speaker": f"speaker {speaker}",
                    "reference": " ".join(said),
                    "hypothesis": " ".join(heard),
                    "device": device,
                    "room": ["small", "large"][speaker % 2],
                }
            )
    path = folder / "results.jsonl"
    pl.DataFrame(rows).write_ndjson(path)
    return path


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        table = read_table(made_up_results(Path(folder)))
    report = audit(table, cohorts_by(table, ["device", "room"]), AuditSettings(seed=1))
    print(to_text(report))
    if len(sys.argv) > 1:
        write_report(report, sys.argv[1])


if __name__ == "__main__":
    main()
