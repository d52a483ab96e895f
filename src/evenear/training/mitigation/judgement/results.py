# SPDX-License-Identifier: Apache-2.0
"""What a repair comes to: before, after, the gate, and the kept model with its card.

    result = finish(repair)
    result.passed, result.to_dict()

In the repair's folder: `model/`, `result.json`, `report.html` (the frontier and the verdict) and
`audit.html` (before against after, every cohort).
"""

import json
from dataclasses import asdict, dataclass
from typing import Any

from evenear.atomic import write_bytes
from evenear.audit import Change, Changes, Gaps, compare, gaps
from evenear.audit.report import AuditSettings, audit, write_report
from evenear.audit.report.card import who_it_serves, with_section
from evenear.config import to_dict
from evenear.losses.ewc import EwcPenalty
from evenear.metrics.words import normalizer_version
from evenear.training.mitigation.judgement.choosing import GATE, RULE, Gate, gate
from evenear.training.mitigation.plan import METHODS
from evenear.training.mitigation.repair import COHORT, Choice, Repair

__all__ = ["Result", "finish"]


@dataclass(frozen=True)
class Result:
    """A finished repair."""

    repair: Repair
    choice: Choice
    before: Gaps
    after: Gaps
    changes: Changes
    gate: Gate

    @property
    def cohort(self) -> Change | None:
        """What became of the cohort; None if too few of it tested."""
        name = self.repair.how.cohort.text
        rows = [r for r in self.changes.rows if (r.attribute, r.value) == (COHORT, name)]
        return rows[0] if rows and not rows[0].suppressed else None

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON values."""
        repair, how = self.repair, self.repair.how
        chosen = self.choice.chosen
        return {
            "model": repair.plan.model,
            "cohort": how.cohort.text,
            "method": how.method,
            "about": METHODS[how.method].about,
            "chosen": {
                "dial": METHODS[how.method].name,
                "setting": chosen.setting,
                "within_margin": self.choice.is_within_margin,
                "paper_lambda": self._paper_lambda(),
            },
            "rule": RULE,
            "before": _side(self.before),
            "after": _side(self.after),
            "gate": self.gate.to_dict(),
            "changes": self.changes.to_dict(),
            "frontier": {
                "on": "tuning speakers, whole utterances, greedy search",
                "before": self.choice.before.to_dict(),
                "points": [one.to_dict() for one in self.choice.points],
            },
            "speakers": {
                part: {
                    "speakers": len(names),
                    "in_cohort": sum(repair.members[name] is True for name in names),
                    "utterances": len(repair.parts[part]),
                }
                for part, names in repair.division._asdict().items()
            },
            "fisher": None if repair.fisher is None else repair.fisher.report(),
            "normalizer": normalizer_version("basic"),
            "settings": to_dict(repair.plan),
        }

    def _paper_lambda(self) -> float | None:
        fisher, setting = self.repair.fisher, self.choice.chosen.setting
        if fisher is None or setting is None:
            return None
        return EwcPenalty(self.repair.bundle.model, fisher, setting).paper_lambda


def finish(repair: Repair, settings: AuditSettings | None = None) -> Result:
    """Do what is left of a repair, judge it, and write all of it down.

    Args:
        repair: The repair.
        settings: How before and after are audited; all test speakers count.
    """
    from evenear.training.mitigation.judgement.page import render

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
    repair.candidate(repair.choice.chosen.setting or 0.0).save(
        repair.folder, repair.bundle, card=_card(result)
    )
    write_bytes(repair.folder / "report.html", render(result).encode())
    text = json.dumps(result.to_dict(), indent=2, ensure_ascii=False) + "\n"
    write_bytes(repair.folder / "result.json", text.encode())  # last: it says that all is done
    return result


def _side(found: Gaps) -> dict[str, Any]:
    """Overall and each cohort, with intervals."""
    values = found.to_dict()
    return {"overall": asdict(found.overall), "cohorts": values["cohorts"]}


def _card(result: Result) -> str:
    """The model's own card, how it was repaired, and whom it serves now."""
    repair, how, chosen = result.repair, result.repair.how, result.choice.chosen
    dial = METHODS[how.method].name
    adaptation = repair.parts["adaptation"]
    hours = sum(u.seconds for u in adaptation) / 3600
    repaired = (
        f"## Repaired\n\n"
        f"Made from {repair.plan.model} for the cohort `{how.cohort.text}` by {how.method} "
        f"({METHODS[how.method].about}), {dial} {chosen.setting:g}, {how.updates} updates, seed "
        f"{how.seed}, with {hours:.2f} hours of {len(repair.division.adaptation)} speakers. Gate "
        f"({'passed' if result.gate.passed else 'failed'}): {GATE}\n"
    )
    speech = f"{len(repair.division.test)} test speakers, who took no other part in the repair"
    card = with_section(repair.bundle.card, repaired)
    return with_section(card, who_it_serves(result.after, result.changes, on=speech))
