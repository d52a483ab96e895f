# SPDX-License-Identifier: Apache-2.0
"""Numbers and findings in plain words: what a report says before it shows a table.

The headline names the confirmed cohort with the largest gap, or says that none was confirmed and
how large a gap would have had to be. It speaks of values of attributes (accent "indian"), never of
kinds of people, and it promises nothing: an audit assesses, it does not certify.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from evenear.audit.statistics.comparison import Change, Changes
from evenear.audit.statistics.results import Gap, Gaps

__all__ = [
    "Headline",
    "cohort_name",
    "count",
    "gap_verdict",
    "headline",
    "interval",
    "number_of",
    "p_value",
    "percent",
    "points",
    "signed",
    "verdict",
]

_CROSS = "×"
_UNKNOWN = "–"
_LISTED = 4


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The finding in one sentence, and what it rests on in a few more."""

    title: str
    lines: tuple[str, ...]


def headline(
    gaps: Gaps,
    *changes: Changes | None,
    description: str | None = None,
    beside: str | None = None,
) -> Headline:
    """Say what an audit found.

    Args:
        gaps: The cohorts of one recognizer.
        changes: The same cohorts under a second one, a third, ….
        description: The worst confirmed cohort in words, if it needs more than its name.
        beside: What goes with the worst confirmed cohort, in a sentence.
    """
    worst = gaps.worst
    if worst is not None:
        title = f"{gaps.name} makes {_more(worst)} for {cohort_name(worst)} than for {_base(gaps)}"
        if math.isinf(worst.size):
            title = f"{gaps.name} makes all of its word errors for {cohort_name(worst)}"
        said = [f"{worst.value.capitalize()}: {description}."] if description else []
        said = [*said, _levels(gaps, worst), *([beside] if beside else [])]
        lines = [*said, *_others(gaps, worst)]
    elif not gaps.rows and gaps.without_values:
        title = f"Nothing can be said about the cohorts of {gaps.name} yet"
        lines = [f"No value is known of {', '.join(gaps.without_values)}."]
    elif not gaps.rows:
        title = f"No cohorts that {gaps.name} fails were found"
        lines = ["That is not evidence that there are none: searches see large effects only."]
    elif not gaps.num_tried:
        title = f"Nothing can be said about the cohorts of {gaps.name} yet"
        lines = [_too_small(gaps)]
    else:
        title = f"No cohort of {gaps.name} was confirmed to fare worse than {_base(gaps)}"
        lines = [_silence(gaps), *_others(gaps, None)]
    for one in changes:
        lines.extend(_compared(one) if one is not None else [])
    return Headline(title=title, lines=tuple(lines))


def cohort_name(row: Gap | Change) -> str:
    """A cohort as a phrase: accent "indian", age "teens" and gender "female", region 3."""
    if isinstance(row, Gap) and row.found_by != "given":
        return f"speech from {row.value}" if row.found_by == "census" else row.value
    attributes, values = row.attribute.split(_CROSS), row.value.split(_CROSS)
    if len(attributes) != len(values):
        attributes, values = [row.attribute], [row.value]
    pairs = zip(attributes, values, strict=True)
    return " and ".join(f"{attribute} “{value}”" for attribute, value in pairs)


def percent(value: float | None, digits: int = 1) -> str:
    """A rate as a percentage, with a dash for what is not known."""
    return _UNKNOWN if value is None else f"{100.0 * value:.{digits}f} %"


def signed(value: float | None, digits: int = 1) -> str:
    """A relative difference as a percentage with its sign."""
    if value is None:
        return _UNKNOWN
    text = f"{100.0 * value:+.{digits}f} %"
    return text.replace("-", "−") if float(text[:-2]) else f"{0:.{digits}f} %"


def points(value: float | None, digits: int = 1) -> str:
    """A difference of rates in points (percent of trials), with its sign and without a unit."""
    return signed(value, digits).removesuffix(" %")


def interval(low: float | None, high: float | None, *, with_sign: bool = False) -> str:
    """The bounds of an interval with one percent sign; empty if they are not known."""
    if low is None or high is None:
        return ""
    low_text, high_text = (
        (signed(low), signed(high)) if with_sign else (percent(low), percent(high))
    )
    return f"{low_text.removesuffix(' %')} to {high_text}"


def count(value: int | None) -> str:
    """A whole number with commas."""
    return _UNKNOWN if value is None else f"{value:,}"


def number_of(amount: int, singular: str, plural: str | None = None) -> str:
    """An amount with its noun: 1 speaker, 2,229 words."""
    return f"{amount:,} {singular if amount == 1 else plural or singular + 's'}"


def p_value(value: float | None, *, sign: str = "") -> str:
    """A p-value; `sign` stands before what is not smaller than can be told."""
    if value is None:
        return _UNKNOWN
    return "< 0.001" if value < 0.001 else f"{sign}{value:.3f}"


def verdict(row: Gap | Change) -> str:
    """What may be said about a cohort, in a word or two."""
    if row.suppressed:
        return "too small"
    if row.confirmed is None:
        return "cannot be tested"
    if not row.confirmed:
        return "not confirmed"
    return "confirmed worse" if row.size > 0.0 else "confirmed better"


def gap_verdict(row: Change) -> str:
    """What may be said about the change of a gap, in a word or two; nothing if not confirmed."""
    if not row.gap_confirmed:
        return ""
    return "gap grew" if row.gap_size > 0.0 else "gap shrank"


def _more(row: Gap) -> str:
    gap = row.gap or 0.0
    if gap >= 1.0:
        return f"{1.0 + gap:.1f} times the word errors"
    return f"{100.0 * gap:.{0 if gap >= 0.1 else 1}f} % more word errors"


def _base(gaps: Gaps) -> str:
    return "the rest" if gaps.to == "rest" else "everyone"


def _rate(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{100.0 * value:.1f}"


def _levels(gaps: Gaps, row: Gap) -> str:
    text = f"{_rate(row.wer)} word errors per 100 words"
    if row.low is not None and row.high is not None:
        text += f" ({percent(gaps.level, 0)} interval {_rate(row.low)} to {_rate(row.high)})"
    text += f", against {_rate(row.base_wer)} for {_base(gaps)}"
    if row.gap is not None:
        text += f": a gap of {signed(row.gap)}"
    if bounds := interval(row.gap_low, row.gap_high, with_sign=True):
        text += f" ({bounds})"
    people = number_of(row.speakers, "speaker")
    return f"{text}. Measured on {people} and {number_of(row.words or 0, 'word')}."


def _others(gaps: Gaps, named: Gap | None) -> list[str]:
    confirmed = [row for row in gaps.rows if row.confirmed and row is not named]
    worse = sorted((row for row in confirmed if row.size > 0.0), key=_by_gap)
    better = sorted((row for row in confirmed if row.size < 0.0), key=_by_gap)
    lines = []
    if worse:
        lines.append(f"Also confirmed to fare worse: {_listed(reversed(worse), len(worse))}.")
    if better:
        lines.append(f"Confirmed to fare better: {_listed(better, len(better))}.")
    alone = [row for row in gaps.rows if math.isinf(row.size) and row.confirmed is None]
    if alone:
        names = [f"{cohort_name(row)} (WER {percent(row.wer)})" for row in alone]
        lines.append(f"Cannot be tested, because nobody else has errors: {_short(names)}.")
    return lines


def _by_gap(row: Gap) -> float:
    return row.size


def _listed(rows: Iterable[Gap], amount: int) -> str:
    names = [f"{cohort_name(row)} ({_gap(row)})" for row in rows]
    if amount > _LISTED + 1:
        names = [*names[:_LISTED], f"{amount - _LISTED} more"]
    return ", ".join(names)


def _gap(row: Gap) -> str:
    return f"WER {percent(row.wer)} to none" if math.isinf(row.size) else signed(row.gap)


def _silence(gaps: Gaps) -> str:
    seen = [row.detectable_gap for row in gaps.rows if row.detectable_gap is not None]
    text = f"{number_of(gaps.num_tried, 'cohort')} could be measured."
    if seen and statistics.median(seen) >= 0.005:
        typical = signed(statistics.median(seen), 0)
        text += (
            " That is not evidence that all are served alike: in the typical one, a gap smaller "
            f"than {typical} would go unconfirmed more often than once in five."
        )
    return text


def _too_small(gaps: Gaps) -> str:
    small = sum(row.suppressed for row in gaps.rows)
    verb = "is" if small == 1 else "are"
    return (
        f"{number_of(small, 'cohort')} {verb} too small to say anything about "
        f"(fewer than {gaps.min_speakers} speakers or {gaps.min_words:,} words, in them or in the "
        "rest)."
    )


def _compared(changes: Changes) -> list[str]:
    whole = changes.overall
    bounds = interval(whole.change_low, whole.change_high, with_sign=True)
    text = (
        f"From {changes.before} to {changes.after}, word errors change by {signed(whole.change)} "
        f"overall{f' ({bounds})' if bounds else ''}."
    )
    return [text, *_lost(changes), *_moved_gaps(changes)]


def _lost(changes: Changes) -> list[str]:
    """Who makes more errors than before."""
    measured = [row for row in changes.rows if not row.suppressed]
    lost = changes.got_worse
    if lost:
        names = [f"{cohort_name(row)} ({_loss(row)})" for row in lost]
        return [f"Confirmed to get worse: {_short(names)}."]
    unsure = sum(row in measured for row in changes.may_be_worse())
    if unsure:
        cohorts = number_of(len(measured), "measured cohort")
        tail = f"a loss cannot be ruled out for {unsure} of {cohorts}"
    elif all((row.change_high or 0.0) < 0.0 for row in measured):
        tail = "each measured cohort gains, by its interval"
    else:
        tail = "no measured cohort loses, by its interval"
    return [f"No cohort was confirmed to get worse; {tail}."] if measured else []


def _moved_gaps(changes: Changes) -> list[str]:
    """Whose gap grew or shrank, whatever everyone gained."""
    lines = []
    grown = sorted(changes.fell_behind, key=lambda row: -row.gap_size)
    shrunk = [row for row in changes.rows if row.gap_confirmed and row.gap_size < 0.0]
    if grown:
        lines.append(f"Gaps confirmed to grow: {_short([_moved(row) for row in grown])}.")
    elif any(row.gap_confirmed is not None for row in changes.rows):
        lines.append("No gap was confirmed to grow.")
    if shrunk:
        shrunk.sort(key=lambda row: row.gap_size)
        lines.append(f"Gaps confirmed to shrink: {_short([_moved(row) for row in shrunk])}.")
    return lines


def _moved(row: Change) -> str:
    return f"{cohort_name(row)} (from {signed(row.gap_before)} to {signed(row.gap_after)})"


def _loss(row: Change) -> str:
    return (
        signed(row.change) if row.change is not None else f"from none to {percent(row.wer_after)}"
    )


def _short(names: Sequence[str]) -> str:
    if len(names) <= _LISTED + 1:
        return ", ".join(names)
    return ", ".join([*names[:_LISTED], f"{len(names) - _LISTED} more"])
