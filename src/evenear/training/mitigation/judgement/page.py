# SPDX-License-Identifier: Apache-2.0
"""A repair as one page that works offline: verdict, frontier, every cohort before and after."""

import json
from importlib.resources import files

from evenear.audit.report.rendering.page import environment, shell
from evenear.audit.report.rendering.scales import gap_scale
from evenear.audit.report.words import signed
from evenear.training.mitigation.judgement.choosing import GATE, RULE
from evenear.training.mitigation.judgement.frontier import Mark, draw_frontier
from evenear.training.mitigation.judgement.results import Result
from evenear.training.mitigation.plan import METHODS

__all__ = ["headline", "render"]


def render(result: Result) -> str:
    """The page as HTML."""
    repair, choice = result.repair, result.choice
    dial = METHODS[repair.how.method]
    marks = [Mark("before", choice.before.overall, choice.before.cohort, "before")]
    marks += [
        Mark(
            f"{one.setting:g}", one.overall, one.cohort, "chosen" if one == choice.chosen else "own"
        )
        for one in choice.points
    ]
    rows = [row for row in result.changes.rows if not row.suppressed]
    svg = draw_frontier(
        marks,
        x_label="everyone, word errors in 100 words",
        y_label=f"{repair.how.cohort.text}, word errors in 100 words",
        caption="tuning speakers",
    )
    template = files("evenear.training.mitigation.judgement").joinpath("templates", "page.html")
    return (
        environment()
        .from_string(template.read_text(encoding="utf-8"))
        .render(
            result=result,
            repair=repair,
            dial=dial,
            headline=headline(result),
            marks=marks,
            svg=svg,
            rows=rows,
            small=[row for row in result.changes.rows if row.suppressed],
            scale=gap_scale(
                value for row in rows for value in (row.change, row.change_low, row.change_high)
            ),
            side=_side,
            rule=RULE,
            gate_rule=GATE,
            **shell(json.dumps(result.to_dict(), ensure_ascii=False)),
        )
    )


def headline(result: Result) -> str:
    """The finding in one sentence."""
    row, name = result.cohort, result.repair.how.cohort.text
    if row is None or row.change is None:
        return f"Too few test speakers are in {name} to say what became of them"
    if row.change_high is not None and row.change_high < 0.0:
        told = f"{name}: {signed(row.change)} word errors on speakers who were never heard"
    elif row.change_low is not None and row.change_low > 0.0:
        told = f"{name} got worse: {signed(row.change)} word errors"
    else:
        told = f"No sure change for {name} ({signed(row.change)} word errors)"
    if result.gate.passed:
        return f"{told}; nobody is shown to be worse off"
    return f"{told}; worse off: {', '.join(result.gate.worse)}"


def _side(low: float | None, high: float | None) -> str:
    """The color of a change: fewer errors are better."""
    if low is None or high is None:
        return "unsure"
    return "better" if high < 0.0 else "worse" if low > 0.0 else "unsure"
