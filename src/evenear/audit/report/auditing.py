# SPDX-License-Identifier: Apache-2.0
"""From a table of results to a report: measure the gaps, compare, pick utterances to show.

    table = read_table("results.jsonl")
    report = audit(table, cohorts_by(table, ["age", "gender"]))
    write_report(report, "report.html")

`audit` measures the gaps, compares with a second recognizer if there is one, and picks utterances
to show. It computes nothing of its own: every number is that of `gaps` and `compare`.
"""

import html
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from evenear.audit.report.beside import confound_sentence
from evenear.audit.report.confusions import confusions
from evenear.audit.report.contents import Report
from evenear.audit.report.findings import Finding, is_named_by_number
from evenear.audit.report.rendering.page import render_page
from evenear.audit.report.utterances import worst_utterances
from evenear.audit.report.words import headline
from evenear.audit.statistics.comparison import Changes, compare
from evenear.audit.statistics.confounds import Confound, confounds
from evenear.audit.statistics.gaps import gaps, overall
from evenear.audit.statistics.multiplicity import check_resamples
from evenear.audit.statistics.results import Gaps
from evenear.audit.tables.cohorts import Cohorts
from evenear.audit.tables.splits import split_speakers
from evenear.audit.tables.table import Table
from evenear.config import config
from evenear.errors import CohortError, ConfigError
from evenear.metrics.normalizing.named import normalizer_version

__all__ = ["AuditSettings", "ShownReport", "audit"]


@config
class AuditSettings:
    """How an audit measures. The defaults are those of `gaps` and `compare`."""

    to: Literal["rest", "overall"] = "rest"
    """What a cohort is compared with: everyone else, or everyone."""
    confirm_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of the speakers that numbers come from, when cohorts or directions come from others."""
    adjust_for: tuple[str, ...] = ()
    """Columns to hold fixed in the adjusted ratios."""
    strata: str | None = None
    """A column such as the recording site: speakers are drawn, and trade places, within it."""
    seed: int = 0
    num_resamples: Annotated[int, Field(ge=100)] = 1000
    level: Annotated[float, Field(ge=0.5, lt=1.0)] = 0.95
    min_speakers: Annotated[int, Field(ge=2)] = 10
    """Cohorts with fewer, or with fewer in the rest, are listed without numbers."""
    min_words: Annotated[int, Field(ge=1)] = 500
    """The same for reference words."""
    num_worst: Annotated[int, Field(ge=0)] = 5
    """Utterances shown from each confirmed worse cohort; 0 leaves every text out of the report."""
    confounds: tuple[str, ...] | None = None
    """Columns that may go with a cohort; every attribute of few kinds, or of numbers, if None."""

    def __post_init__(self) -> None:
        try:
            check_resamples(self.num_resamples, self.level)
        except CohortError as error:
            raise ConfigError(error.message, hint=error.hint) from None


class ShownReport(Report):
    """A report that a notebook shows as its page."""

    def _repr_html_(self) -> str:
        """The page, in a frame of a notebook."""
        page = html.escape(render_page(self))
        return f'<iframe srcdoc="{page}" width="100%" height="800" style="border:0"></iframe>'


def audit(
    table: Table,
    cohorts: Cohorts,
    settings: AuditSettings | None = None,
    *,
    findings: Sequence[Finding] = (),
    other: Table | Sequence[Table] | None = None,
) -> ShownReport:
    """Audit one recognizer, or several on the same speech.

    Args:
        table: Results of the recognizer.
        cohorts: Who belongs to which cohort. Cohorts that were found by looking at errors need a
            `confirm_fraction`, and the same seed as the search.
        settings: How to measure.
        findings: What searches have to say beside the numbers.
        other: Results of other recognizers on the same speech, each to be compared as "after".

    Raises:
        CohortError: There is nothing to compare.
        TableError: The two recognizers were not scored on the same references.
    """
    how = settings or AuditSettings()
    found = _nothing(table, how) if findings and not cohorts.assignments else None
    found = found or gaps(
        table,
        cohorts,
        confirm_fraction=how.confirm_fraction,
        adjust_for=how.adjust_for,
        strata=how.strata,
        **_shared(how),
    )
    measured = _measured(table, how)
    others = [other] if isinstance(other, Table) else list(other or ())
    changes = _comparisons(measured, others, cohorts, how)
    beside = confounds(measured, cohorts, found, columns=how.confounds)
    return ShownReport(
        headline=headline(
            found,
            *changes,
            description=_description(found, findings),
            beside=_beside(found, beside),
        ),
        gaps=found,
        changes=changes[0] if changes else None,
        more_changes=tuple(changes[1:]),
        findings=tuple(findings),
        worst_utterances=worst_utterances(
            measured, cohorts, found, per_cohort=how.num_worst, other=others[0] if others else None
        ),
        confounds=beside,
        confusions=confusions(measured, cohorts, found, per_cohort=2 * how.num_worst),
        warnings=_warnings(found, changes, others),
        methods=_methods(found, table),
        limits=_limits(found, findings),
    )


def _comparisons(
    measured: Table, others: Sequence[Table], cohorts: Cohorts, how: AuditSettings
) -> list[Changes]:
    """Each of the others beside the first, on the speakers that numbers come from."""
    speakers = measured.speakers["speaker"]
    return [
        compare(
            measured,
            other.only_speakers(speakers) if how.confirm_fraction else other,
            cohorts,
            among=len(others),
            **_shared(how),
        )
        for other in others
    ]


def _shared(how: AuditSettings) -> dict[str, Any]:
    """What `gaps` and `compare` are both told."""
    names = ("to", "seed", "num_resamples", "level", "min_speakers", "min_words")
    return {name: getattr(how, name) for name in names}


def _measured(table: Table, how: AuditSettings) -> Table:
    """The speakers that numbers come from."""
    if not how.confirm_fraction:
        return table
    return split_speakers(table, confirm_fraction=how.confirm_fraction, seed=how.seed).confirm


def _nothing(table: Table, how: AuditSettings) -> Gaps:
    """An audit in which a search found no cohorts and none were given."""
    measured = _measured(table, how)
    return Gaps(
        overall=overall(measured, seed=how.seed, num_resamples=how.num_resamples, level=how.level),
        rows=(),
        num_tried=0,
        p_value_method="permutation",
        confirm_fraction=how.confirm_fraction,
        name=table.name,
        normalizer=table.normalizer,
        warnings=table.warnings,
        **_shared(how),
    )


def _description(found: Gaps, findings: Sequence[Finding]) -> str | None:
    """The worst confirmed cohort in words, where a search gave it some."""
    worst = found.worst
    if worst is None or not is_named_by_number(worst.found_by):
        return None
    described = [one.descriptions for one in findings if one.attribute == worst.attribute]
    return described[0].get(worst.value) if described else None


def _beside(found: Gaps, beside: Sequence[Confound]) -> str | None:
    """What goes most with the worst confirmed cohort."""
    name = (found.worst.attribute, found.worst.value) if found.worst else None
    own = [one for one in beside if (one.attribute, one.value) == name]
    return f"But {confound_sentence(own[0])}" if own else None


def _warnings(found: Gaps, changes: Sequence[Changes], others: Sequence[Table]) -> tuple[str, ...]:
    if not others:
        return found.warnings
    known = {*found.warnings, *(line for other in others for line in other.warnings)}
    return (
        *(f"{found.name}: {line}" for line in found.warnings),
        *(f"{other.name}: {line}" for other in others for line in other.warnings),
        *dict.fromkeys(line for one in changes for line in one.warnings if line not in known),
    )


def _methods(found: Gaps, table: Table) -> tuple[str, ...]:
    percent = f"{100 * found.level:g} %"
    lines = [
        "WER is pooled: the sum of word errors over the sum of reference words, after "
        f"{_normalizer(found.normalizer)}.",
        f"Every interval is a {percent} interval from resampling speakers, not utterances, "
        f"{found.num_resamples:,} times (studentized, on the logarithm of the rate).",
        f"A gap is confirmed if its p-value, adjusted for all {found.num_tried} measured cohorts "
        f"at once ({_tests(found)}; max-T), is at most {1 - found.level:.2g}: "
        "the chance of any false confirmation in this report is at most that.",
        f"Cohorts with fewer than {found.min_speakers} speakers or {found.min_words:,} words, in "
        "them or in the rest, are listed without numbers.",
    ]
    if found.confirm_fraction:
        lines.append(
            f"Cohorts and directions were found on {100 * (1 - found.confirm_fraction):.0f} % of "
            f"the {table.num_speakers:,} speakers; every number comes from the other "
            f"{found.overall.speakers:,}."
        )
    if found.adjusted_for:
        lines.append(
            "The adjusted ratio is the error rate over that of what the cohort is compared with, "
            f"with {', '.join(found.adjusted_for)} held fixed (mixed-effects Poisson regression "
            "with an intercept for each speaker)."
        )
    if found.strata:
        lines.append(f"Speakers are drawn, and trade places, within the same {found.strata} only.")
    lines.extend(_unknown(found))
    lines.append(f"Seed {found.seed}; the same table, settings and seed give the same report.")
    return tuple(lines)


def _tests(found: Gaps) -> str:
    ways = {
        "permutation": "speakers trade places",
        "sign flips": "where an attribute changes within speakers, what each erred more or less "
        "changes its sign",
    }
    used = [text for way, text in ways.items() if way in found.p_value_method]
    return "; ".join(used) or "speakers trade places"


def _unknown(found: Gaps) -> list[str]:
    """Which attributes are unknown for how much of the speech."""
    parts = []
    for attribute in found.attributes:
        rows = found.of(attribute)
        missing = found.overall.utterances - sum(row.utterances for row in rows)
        if rows[0].found_by == "given" and missing > 0:
            parts.append(f"{attribute} for {missing:,}")
    if not parts:
        return []
    return [
        f"Of {found.overall.utterances:,} utterances, the value is unknown of "
        f"{'; '.join(parts)}. They count neither in a cohort nor in what it is compared with."
    ]


def _limits(found: Gaps, findings: Sequence[Finding]) -> tuple[str, ...]:
    lines = [
        "This report assesses one set of recordings. It does not show that a recognizer treats "
        "everyone fairly, and no audit can.",
        "A gap says that a cohort fares worse here, not why. Recording conditions, what was said "
        "and who happened to be recorded all take part"
        + (
            "; the adjusted ratio removes only the columns it names."
            if found.adjusted_for
            else ", and no other column was held fixed."
        ),
        "A gap that was not confirmed may still be real: look at its interval, not only at the "
        "verdict.",
        "Attributes are taken as the table gives them. Whoever made the table knows whether "
        "people named them themselves.",
    ]
    if any(row.suppressed for row in found.rows):
        lines.append(
            "Cohorts that are too small to measure are not thereby served well: nothing is known "
            "of them until more of these speakers are recorded."
        )
    return (*lines, *dict.fromkeys(note for one in findings for note in one.notes))


def _normalizer(name: str) -> str:
    if name != "as counted":
        return f"the normalizer {normalizer_version(name)}"
    return "whatever made the counts in the table"
