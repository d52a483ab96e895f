# SPDX-License-Identifier: Apache-2.0
"""A report as one page: a single HTML file that needs no network, no server and no script to read.

Style and script are written into the file, and a content security policy forbids it to load
anything. The script only adds comforts: sorting, a choice of cohort, light or dark, the JSON that
lies inside the page as a file. Everything that comes from the table is escaped.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from evenear import __version__
from evenear.audit.report.beside import confound_sentence
from evenear.audit.report.contents import Report
from evenear.audit.report.findings import Finding, is_named_by_number
from evenear.audit.report.rendering.plots import draw, hundred_words
from evenear.audit.report.rendering.scales import Scale, gap_scale, rate_scale
from evenear.audit.report.schema import to_json
from evenear.audit.report.words import (
    cohort_name,
    count,
    gap_verdict,
    interval,
    number_of,
    p_value,
    percent,
    points,
    signed,
    verdict,
)
from evenear.audit.statistics.comparison import Change
from evenear.audit.statistics.results import Gap, Spread

__all__ = ["environment", "render_page", "shell"]

_THIN_SPACE = "\u202f"
_HARD_SPACE = "\u00a0"


@dataclass(frozen=True)
class _Group:
    """Cohorts under one heading, worst first."""

    attribute: str
    rows: tuple[Gap, ...]
    small: tuple[Gap, ...]
    spread: Spread | None
    summary: str
    found_by: str
    notes: tuple[str, ...]
    descriptions: dict[str, str]


def render_page(report: Report) -> str:
    """The report as HTML."""
    return environment().get_template("page.html").render(**_view(report), **shell(to_json(report)))


def shell(data: str) -> dict[str, Any]:
    """What every page carries: style, script, and its own content as JSON."""
    return {
        "style": Markup(_asset("page.css")),  # our own file
        "script": Markup(_asset("page.js")),  # our own file
        "data": Markup(_inert(data)),
        "version": __version__,
    }


def _view(report: Report) -> dict[str, Any]:
    found, changes = report.gaps, report.changes
    groups = _groups(report)
    shown = [one for one in report.findings if one.attribute in found.attributes]
    drawn = [(one, draw(one, found.of(one.attribute))) for one in shown]
    return {
        "report": report,
        "gaps": found,
        "changes": changes,
        "comparisons": [
            (one, _change_rows(one.rows), _rates(one.rows)) for one in report.comparisons
        ],
        "groups": groups,
        "confounds": {
            name: [one for one in report.confounds if one.attribute == name]
            for name in found.attributes
        },
        "confusions": report.confusions,
        "confound_sentence": confound_sentence,
        "in_vain": [one for one in report.findings if one not in shown],
        "drawings": [(finding, drawing) for finding, drawing in drawn if drawing],
        "scale": gap_scale(
            value for row in found.rows for value in (row.gap, row.gap_low, row.gap_high)
        ),
        "has_adjusted": any(row.adjusted_ratio is not None for row in found.rows),
        "has_discovered": any(row.discovered_gap is not None for row in found.rows),
        "kinds": [row for row in found.rows if row.substitutions is not None and row.words],
        "has_silence": any(row.silent_utterances for row in found.rows),
        "num_confirmed": sum(bool(row.confirmed) for row in found.rows),
        "filters": _filters(report),
    }


def _groups(report: Report) -> list[_Group]:
    """Attributes in order; those that one search found and named in words stand together."""
    findings = {one.attribute: one for one in report.findings}
    together: dict[str, list[str]] = {}
    for attribute in report.gaps.attributes:
        finding = findings.get(attribute)
        name = attribute
        if finding is not None and not is_named_by_number(finding.kind):
            name = finding.kind
        together.setdefault(name, []).append(attribute)
    groups: list[_Group] = []
    for name, attributes in together.items():
        said = {line for group in groups for line in (group.summary, *group.notes)}
        groups.append(_group(report, name, attributes, findings.get(attributes[0]), said))
    return groups


def _group(
    report: Report, name: str, attributes: Sequence[str], finding: Finding | None, said: set[str]
) -> _Group:
    """Rows under one heading; what was `said` of a search is not said again."""
    rows = [row for attribute in attributes for row in report.gaps.of(attribute)]
    measured = [row for row in rows if not row.suppressed]
    spreads = [one for one in report.gaps.spreads if one.attribute == name]
    lines = (finding.summary, *finding.notes) if finding else ()
    fresh = [line for line in lines if line not in said]
    is_described = finding is not None and is_named_by_number(finding.kind)
    return _Group(
        attribute=name,
        rows=tuple(sorted(measured, key=lambda row: -row.size)),
        small=tuple(row for row in rows if row.suppressed),
        spread=spreads[0] if spreads else None,
        summary=fresh[0] if finding and finding.summary in fresh else "",
        notes=tuple(line for line in fresh if finding and line != finding.summary),
        found_by=rows[0].found_by,
        descriptions=dict(finding.descriptions) if finding and is_described else {},
    )


def _change_rows(rows: Sequence[Change]) -> tuple[Change, ...]:
    measured = [row for row in rows if not row.suppressed]
    return tuple(sorted(measured, key=lambda row: -row.size))


def _rates(rows: Sequence[Change]) -> Scale:
    return rate_scale(rate for row in rows for rate in (row.wer_before, row.wer_after))


def _filters(report: Report) -> list[tuple[str, str]]:
    """Cohorts of the utterances on the page, as key and name, confirmed worse ones first."""
    inside = {place for one in report.worst_utterances for place in one.cohorts}
    rows = [row for row in report.gaps.rows if (row.attribute, row.value) in inside]
    rows.sort(key=lambda row: (not (row.confirmed and row.size > 0.0), -row.size))
    return [(f"{row.attribute}={row.value}", cohort_name(row)) for row in rows]


def _inert(text: str) -> str:
    """JSON that can stand in a script element: no tag or comment can end it early."""
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _thin(text: object) -> str:
    """Percent signs that stay with their number, and numbers with the cohort that they name."""
    named = re.sub(
        r"\b(region|hotspot|voice|census|subgroup) (?=\d)", r"\1" + _HARD_SPACE, str(text)
    )
    return named.replace(" %", f"{_THIN_SPACE}%")


def _asset(name: str) -> str:
    return (
        files("evenear.audit.report.rendering")
        .joinpath("templates", name)
        .read_text(encoding="utf-8")
    )


@cache
def environment() -> jinja2.Environment:
    """Templates of this folder; whatever is put into them is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_asset),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"thin": _thin}
    environment.globals |= {
        "percent": lambda value, digits=1: _thin(percent(value, digits)),
        "signed": lambda value, digits=1: _thin(signed(value, digits)),
        "interval": lambda low, high: _thin(interval(low, high)),
        "signed_interval": lambda low, high: _thin(interval(low, high, with_sign=True)),
        "points": lambda value, digits=1: points(value, digits),
        "count": count,
        "number_of": number_of,
        "cohort_name": cohort_name,
        "verdict": verdict,
        "gap_verdict": gap_verdict,
        "hundred_words": hundred_words,
        "p_value": lambda value: p_value(value, sign="= "),
    }
    return environment
