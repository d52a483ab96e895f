# SPDX-License-Identifier: Apache-2.0
"""What stands beside the gaps, in sentences: columns that go with a cohort, and words misheard."""

from evenear.audit.report.confusions import CohortConfusions, Confusion
from evenear.audit.report.words import cohort_name, interval, percent, signed
from evenear.audit.statistics.confounds import Confound
from evenear.audit.statistics.results import Gap

__all__ = ["confound_sentence", "confusion_sentence", "heard_as", "strata_sentence"]


def confound_sentence(one: Confound) -> str:
    """That a column goes with a cohort, and its gap within the column."""
    name = _name(one.attribute, one.value)
    text = (
        f"{one.column} goes with {name}: {percent(one.typical_share, 0)} of its words are of "
        f"“{one.typical}”, against {percent(one.typical_rest_share, 0)} of the rest's."
    )
    if one.gap_within is None:
        return f"{text} Where both have words, nothing can be said of the gap within {one.column}."
    bounds = interval(one.gap_within_low, one.gap_within_high, with_sign=True)
    text += (
        f" Within {one.column} the gap is {signed(one.gap_within)}"
        f"{f' ({bounds})' if bounds else ''}, instead of {signed(one.gap)}"
    )
    if one.overlap < 0.995:
        text += f"; only {percent(one.overlap, 0)} of the cohort's words have others to compare"
    return f"{text}."


def strata_sentence(one: Confound) -> str:
    """The gap in each value of the column."""
    parts = [
        f"“{part.value}” {signed(part.gap)} ({part.words:,} and {part.rest_words:,} words)"
        for part in one.strata
        if part.gap is not None
    ]
    return f"{one.column}: {', '.join(parts)}" if parts else ""


def confusion_sentence(one: CohortConfusions, *, most: int = 5) -> str:
    """What is misheard more often for a cohort, the largest excess first."""
    parts = []
    for pair in one.pairs[:most]:
        often = "never in the rest" if pair.ratio is None else f"{pair.ratio:.1f} times as often"
        parts.append(f"{heard_as(pair)} ({pair.count:,}, {often})")
    return f"Misheard for {_name(one.attribute, one.value)}: {', '.join(parts)}."


def heard_as(pair: Confusion) -> str:
    """A pair of words as a phrase."""
    if pair.reference is None:
        return f"“{pair.hypothesis}” without being said"
    if pair.hypothesis is None:
        return f"“{pair.reference}” not at all"
    return f"“{pair.reference}” as “{pair.hypothesis}”"


def _name(attribute: str, value: str) -> str:
    return cohort_name(Gap(attribute=attribute, value=value, speakers=0, utterances=0))
