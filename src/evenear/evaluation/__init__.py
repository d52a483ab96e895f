# SPDX-License-Identifier: Apache-2.0
"""How well and how fast a recognizer hears a corpus, and how that changes with the conditions."""

from evenear.evaluation.conditions import CONDITIONS, Condition, condition_named
from evenear.evaluation.corpus import draw_utterances, load_utterances
from evenear.evaluation.results import (
    Evaluation,
    Row,
    cohort_intervals,
    summarize,
    write_rows,
)
from evenear.evaluation.streamed import recognize

__all__ = [
    "CONDITIONS",
    "Condition",
    "Evaluation",
    "Row",
    "cohort_intervals",
    "condition_named",
    "draw_utterances",
    "load_utterances",
    "recognize",
    "summarize",
    "write_rows",
]
