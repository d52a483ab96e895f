# SPDX-License-Identifier: Apache-2.0
"""An audit of a speaker verifier in words, as text, JSON and one offline page.

    found = audit_verification(read_trials("scores.csv"), ["gender"])
    print(verification_text(found))

Each group has three differences to the others: how well its speakers can be told apart (EER at its
own threshold), and what happens to them at the one threshold that is deployed (false rejects, false
accepts). Groups of equal EER can fare very differently at one threshold, so all three are shown.
"""

import json
from typing import Any

from evenear import __version__
from evenear.audit.report.rendering.page import environment, shell
from evenear.audit.report.rendering.scales import difference_scale
from evenear.audit.report.verificationchanges import (
    change_lines,
    change_rows,
    change_summary,
    change_verdict,
)
from evenear.audit.report.words import Headline, interval, number_of, p_value, percent, points
from evenear.audit.verification.comparison import VerificationChanges
from evenear.audit.verification.grouperrors import GroupErrors, Measured, VerificationAudit

__all__ = [
    "VERIFICATION_LIMITS",
    "measures_of",
    "render_verification_page",
    "threshold_text",
    "verification_headline",
    "verification_json",
    "verification_text",
]

_MEASURES = {
    "eer": "EER",
    "false_reject": "false rejects",
    "false_accept": "false accepts",
}
VERIFICATION_LIMITS = (
    "This report assesses one list of trials. It does not show that a verifier treats everyone "
    "fairly, and no audit can.",
    "A difference says that a group fares worse here, not why. Recording conditions, durations and "
    "the choice of trials all take part.",
    "A difference that was not confirmed may still be real: look at its interval, not only at the "
    "verdict.",
)


def verification_headline(
    found: VerificationAudit, changes: VerificationChanges | None = None
) -> Headline:
    """Say what the audit of a verifier found, and what became of its groups under a second."""
    confirmed = [
        (one, name, row)
        for row in found.rows
        for name, one in measures_of(row)
        if _is_confirmed(one, found) and one.difference > 0.0
    ]
    whole = found.overall
    lines = []
    if confirmed:
        one, name, row = max(confirmed, key=lambda item: item[0].difference)
        title = (
            f"{found.name} makes {100 * one.difference:.1f} points more {name} for "
            f"{row.attribute} “{row.value}” than for others"
            if name != "EER"
            else f"{found.name} tells {row.attribute} “{row.value}” apart less well than others"
        )
        lines.append(
            f"{name[0].upper()}{name[1:]}: {percent(one.value)}, {_difference(one)}. "
            f"Measured on {number_of(row.speakers, 'speaker')}."
        )
    elif not any(not row.suppressed for row in found.rows):
        title = f"Nothing can be said about the groups of {found.name} yet"
    else:
        title = f"No group of {found.name} was confirmed to fare worse than others"
        lines.append("That is not evidence that all are served alike: look at the intervals.")
    if whole.eer is not None:
        bounds = interval(whole.eer.low, whole.eer.high)
        lines.append(
            f"Overall EER {percent(whole.eer.value)} ({bounds}), "
            f"{number_of(whole.speakers, 'speaker')}, {number_of(whole.target_trials, 'target')} "
            f"and {number_of(whole.nontarget_trials, 'non-target trial')}."
        )
    lines += change_summary(changes) if changes is not None else ()
    return Headline(title=title, lines=tuple(lines))


def verification_text(found: VerificationAudit, changes: VerificationChanges | None = None) -> str:
    """The audit as lines of text, ending in a line break."""
    said = verification_headline(found, changes)
    blocks = [[f"{said.title}.", *said.lines]]
    for attribute in dict.fromkeys(row.attribute for row in found.rows):
        lines = []
        for row in (row for row in found.rows if row.attribute == attribute):
            name = f"{attribute} “{row.value}”, {number_of(row.speakers, 'speaker')}"
            if row.suppressed:
                lines.append(f"{name}: too small to measure")
                continue
            parts = [
                f"{label} {percent(one.value)}, {_difference(one)}, "
                f"p {p_value(one.p_adjusted, sign='= ')}"
                for label, one in measures_of(row)
            ]
            lines.append(f"{name}: {'; '.join(parts)}")
        blocks.append(lines)
    blocks.append([f"{found.formula}.", f"Shared threshold: {threshold_text(found)}."])
    if changes is not None:
        blocks.append(change_lines(changes))
    return "\n\n".join("\n".join(lines) for lines in blocks if lines) + "\n"


def verification_json(found: VerificationAudit, changes: VerificationChanges | None = None) -> str:
    """The audit as indented JSON text."""
    said = verification_headline(found, changes)
    values = {
        "schema": "evenear.verification-audit",
        "schema_version": "1.1",
        "generator": f"evenear {__version__}",
        "headline": {"title": said.title, "lines": list(said.lines)},
        **found.to_dict(),
        "comparison": None if changes is None else changes.to_dict(),
        "limits": list(VERIFICATION_LIMITS),
    }
    return json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def render_verification_page(
    found: VerificationAudit, changes: VerificationChanges | None = None
) -> str:
    """The audit as HTML."""
    measured = [one for row in found.rows for _, one in measures_of(row)]
    groups = {
        attribute: sorted(
            (row for row in found.rows if row.attribute == attribute and not row.suppressed),
            key=lambda row: -(row.eer.difference if row.eer else 0.0),
        )
        for attribute in dict.fromkeys(row.attribute for row in found.rows)
    }
    view: dict[str, Any] = {
        "audit": found,
        "headline": verification_headline(found, changes),
        "changes": changes,
        "change_rows": change_rows,
        "change_verdict": change_verdict,
        "groups": groups,
        "spreads": {one.attribute: one for one in found.spreads},
        "scale": difference_scale(
            bound for one in measured for bound in (one.difference_low, one.difference_high)
        ),
        "is_confirmed": lambda one: _is_confirmed(one, found),
        "threshold": threshold_text(found),
        "limits": VERIFICATION_LIMITS,
    }
    template = environment().get_template("verification.html")
    return template.render(**view, **shell(verification_json(found, changes)))


def measures_of(row: GroupErrors) -> list[tuple[str, Measured]]:
    """What a group has, by name: EER, false rejects, false accepts; nothing if too small."""
    named = [(label, getattr(row, name)) for name, label in _MEASURES.items()]
    return [(label, one) for label, one in named if one is not None]


def _difference(one: Measured) -> str:
    bounds = f"{points(one.difference_low)} to {points(one.difference_high)}"
    return f"{points(one.difference)} points beside others ({bounds})"


def _is_confirmed(one: Measured, found: VerificationAudit) -> bool:
    return one.p_adjusted is not None and one.p_adjusted <= 1.0 - found.level


def threshold_text(found: VerificationAudit) -> str:
    """The shared threshold, and where it comes from."""
    return f"{found.threshold:.4g} ({found.threshold_from})"
