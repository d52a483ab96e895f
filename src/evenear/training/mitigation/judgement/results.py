# SPDX-License-Identifier: Apache-2.0
"""What a repair comes to: before, after, the gate, and what was kept.

`evenear.training.mitigation.judgement.finishing` makes it, and writes it down.
"""

from dataclasses import asdict, dataclass
from typing import Any

from evenear.audit import Change, Changes, Gaps
from evenear.config import to_dict
from evenear.losses.ewc import EwcPenalty
from evenear.metrics.words import normalizer_version
from evenear.training.mitigation.judgement.choosing import RULE, Gate
from evenear.training.mitigation.plan import METHODS
from evenear.training.mitigation.repair import COHORT, Choice, Repair

__all__ = ["Result"]


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
                "on": "tuning speakers, whole utterances, the recommended search",
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
        return EwcPenalty(self.repair.adapting.model, fisher, setting).paper_lambda


def _side(found: Gaps) -> dict[str, Any]:
    """Overall and each cohort, with intervals."""
    values = found.to_dict()
    return {"overall": asdict(found.overall), "cohorts": values["cohorts"]}
