# SPDX-License-Identifier: Apache-2.0
"""The end of a repair: judge it, keep the model with its card, write all of it down.

    result = finish(repair)
    result.gate.passed, result.to_dict()

In the repair's folder: `model/`, `result.json`, `report.html` (the frontier and the verdict) and
`audit.html` (before against after, every cohort).
"""

import json

from evenear.atomic import write_bytes
from evenear.audit import compare, gaps
from evenear.audit.report import AuditSettings, audit, write_report
from evenear.audit.report.card import who_it_serves, with_section
from evenear.config import to_dict
from evenear.training.mitigation.judgement.choosing import GATE, gate
from evenear.training.mitigation.judgement.page import render
from evenear.training.mitigation.judgement.results import Result
from evenear.training.mitigation.plan import METHODS
from evenear.training.mitigation.repair import Repair

__all__ = ["finish"]


def finish(repair: Repair, settings: AuditSettings | None = None) -> Result:
    """Do what is left of a repair, judge it, and write all of it down.

    Args:
        repair: The repair.
        settings: How before and after are audited; all test speakers count.
    """
    how = settings or AuditSettings()
    before, after = repair.tables
    cohorts = repair.cohorts(before)
    shared = {
        "seed": how.seed,
        "num_resamples": how.num_resamples,
        "level": how.level,
        "min_speakers": how.min_speakers,
        "min_words": how.min_words,
    }
    changes = compare(before, after, cohorts, to=how.to, **shared)
    result = Result(
        repair,
        repair.choice,
        gaps(before, cohorts, to=how.to, **shared),
        gaps(after, cohorts, to=how.to, **shared),
        changes,
        gate(changes),
    )
    write_report(audit(before, cohorts, how, other=after), repair.folder / "audit.html")
    made = repair.whole(repair.candidate(repair.choice.chosen.setting or 0.0))
    provenance = {**repair.bundle.provenance, "repaired": to_dict(repair.plan)}
    dial = repair.bundle.dial if repair.how.layers == 0 else None  # else it moved on without it
    made.save(repair.folder, repair.bundle, _card(result), provenance, dial)
    write_bytes(repair.folder / "report.html", render(result).encode())
    text = json.dumps(result.to_dict(), indent=2, ensure_ascii=False) + "\n"
    write_bytes(repair.folder / "result.json", text.encode())  # last: it says that all is done
    return result


def _card(result: Result) -> str:
    """The model's own card, how it was repaired, and whom it serves now."""
    repair, how, chosen = result.repair, result.repair.how, result.choice.chosen
    dial = METHODS[how.method].name
    adaptation = repair.parts["adaptation"]
    moved = ""
    if how.layers is not None:
        moved = f", the last {how.layers} encoder layers and the heads" if how.layers else ", heads"
    hours = sum(u.seconds for u in adaptation) / 3600
    count = len(repair.division.adaptation)
    repaired = (
        f"## Repaired\n\n"
        f"Made from {repair.plan.model} for the cohort `{how.cohort.text}` by {how.method} "
        f"({METHODS[how.method].about}), {dial} {chosen.setting:g}, {how.updates} updates{moved}, "
        f"seed {how.seed}, with {hours:.2f} hours of {count} speakers. Gate "
        f"({'passed' if result.gate.passed else 'failed'}): {GATE}\n"
    )
    speech = f"{len(repair.division.test)} test speakers, who took no other part in the repair"
    card = with_section(repair.bundle.card, repaired)
    return with_section(card, who_it_serves(result.after, result.changes, on=speech))
