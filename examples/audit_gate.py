# SPDX-License-Identifier: Apache-2.0
"""A gate for continuous integration: did the new recognizer get worse for anybody?

Both recognizers are made up. The new one makes a tenth fewer errors overall, but a third more for
those who speak softly. The gate notices.

Run: python examples/audit_gate.py
"""

from dataclasses import replace

import numpy as np
import polars as pl

from evenear.audit import Table, cohorts_by
from evenear.audit.report import AuditSettings, audit, parse_condition

SPEAKERS = 400


def made_up_tables() -> tuple[Table, Table]:
    """The same speakers through two recognizers."""
    rng = np.random.default_rng(3)
    loudness = rng.choice(["soft", "normal", "loud"], SPEAKERS, p=[0.2, 0.6, 0.2])
    words = rng.poisson(100, SPEAKERS) + 1
    old_errors = rng.poisson(rng.gamma(6.0, 0.025, SPEAKERS) * words)
    new_errors = rng.poisson(old_errors * np.where(loudness == "soft", 1.33, 0.8))
    names = pl.Series([f"speaker {k}" for k in range(SPEAKERS)])
    nothing = pl.Series([None] * SPEAKERS, dtype=pl.String)
    frame = pl.DataFrame(
        {
            "utterance_id": names,
            "speaker": names,
            "reference": nothing,
            "hypothesis": nothing,
            "words": words,
            "errors": old_errors,
            "loudness": loudness,
        }
    )
    old = Table(frame, normalizer="as counted", name="old")
    new = replace(old, frame=frame.with_columns(errors=pl.Series(new_errors)), name="new")
    return old, new


def main() -> None:
    old, new = made_up_tables()
    report = audit(old, cohorts_by(old, ["loudness"]), AuditSettings(seed=1), other=new)
    for text in ("change() > 0", "lost() > 0", "change_high(loudness, soft) > 10%"):
        verdict = parse_condition(text).judge(report)
        values = ", ".join(f"{name} = {value:.3f}" for name, value in verdict.values)
        print(f"{'fails' if verdict.holds else 'passes'}: {text}   ({values})")


if __name__ == "__main__":
    main()
