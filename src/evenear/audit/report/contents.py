# SPDX-License-Identifier: Apache-2.0
"""Everything that a report says, as one value, before it becomes a page or JSON."""

from dataclasses import dataclass

from evenear.audit.report.confusions import CohortConfusions
from evenear.audit.report.findings import Finding
from evenear.audit.report.utterances import WorstUtterance
from evenear.audit.report.words import Headline
from evenear.audit.statistics.comparison import Changes
from evenear.audit.statistics.confounds import Confound
from evenear.audit.statistics.results import Gaps

__all__ = ["Report"]


@dataclass(frozen=True, kw_only=True)
class Report:
    """An audit, ready to be written."""

    headline: Headline
    gaps: Gaps
    changes: Changes | None = None
    more_changes: tuple[Changes, ...] = ()
    """The same with a third recognizer, a fourth, …: each is compared with the first."""
    findings: tuple[Finding, ...] = ()
    worst_utterances: tuple[WorstUtterance, ...] = ()
    confounds: tuple[Confound, ...] = ()
    """Columns that go with a cohort, and the gap within their values."""
    confusions: tuple[CohortConfusions, ...] = ()
    """Words that are misheard more often for a cohort than for the rest."""
    warnings: tuple[str, ...] = ()
    """What had to be repaired or left out, and in whose results."""
    methods: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()

    @property
    def comparisons(self) -> tuple[Changes, ...]:
        """All comparisons, in the order in which the recognizers were given."""
        return (() if self.changes is None else (self.changes,)) + self.more_changes
