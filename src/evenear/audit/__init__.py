# SPDX-License-Identifier: Apache-2.0
"""Find who a recognizer fails, and be right about it.

    table = read_table("results.jsonl")
    found = gaps(table, cohorts_by(table, ["age", "gender"]))

A table of results becomes cohorts, cohorts become gaps, gaps become a report. Nothing here needs
torch or trains anything: results of any recognizer will do.

- `tables`: what a recognizer wrote, read, aligned, and divided into cohorts
- `statistics`: gaps, intervals, verdicts, comparisons, adjusted ratios
- `discovery`: cohorts that nobody named, by `geography`, `census`, `voice` and `subgroups`
- `verification`: the same for speaker verifiers
- `report`: words, page, JSON and gates
"""

from evenear.errors import MissingDependencyError

try:
    import polars as _polars  # noqa: F401
    import scipy as _scipy  # noqa: F401
except ImportError as _error:
    raise MissingDependencyError(
        f"An audit needs {_error.name}, which is not installed.",
        hint="pip install 'evenear[audit]'",
    ) from None

from evenear.audit.statistics.adjustment import AdjustedRatio, adjusted_ratios
from evenear.audit.statistics.comparison import Change, Changes, compare
from evenear.audit.statistics.gaps import gaps, overall
from evenear.audit.statistics.power import SpeakersNeeded, speakers_needed
from evenear.audit.statistics.results import Base, Gap, Gaps, Overall, Spread
from evenear.audit.tables.cohorts import Assignment, Cohorts, cohorts_by, intersect
from evenear.audit.tables.reading import read_table
from evenear.audit.tables.splits import Split, split_speakers
from evenear.audit.tables.table import Table

__all__ = [
    "AdjustedRatio",
    "Assignment",
    "Base",
    "Change",
    "Changes",
    "Cohorts",
    "Gap",
    "Gaps",
    "Overall",
    "SpeakersNeeded",
    "Split",
    "Spread",
    "Table",
    "adjusted_ratios",
    "cohorts_by",
    "compare",
    "gaps",
    "intersect",
    "overall",
    "read_table",
    "speakers_needed",
    "split_speakers",
]
