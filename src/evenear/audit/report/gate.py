# SPDX-License-Identifier: Apache-2.0
"""A condition on an audit, for a continuous-integration gate: `gap(gender) > 0.1`.

A condition compares values, joined by `and`, `or`, `not` and parentheses. Numbers may be written
as percent: `10%` is 0.1. A value is a function of an attribute and one of its cohorts:

    gap(gender, female)    that cohort
    gap(gender)            the largest over the measured cohorts of gender
    gap()                  the largest over all measured cohorts

    gap, gap_low, gap_high       relative gap, and the bounds of its interval
    confirmed_gap                relative gap where confirmed, else 0
    wer                          word error rate; wer() is that of everyone
    ratio                        adjusted ratio
    spread                       standard deviation of WER between cohorts, noise taken out
    worse                        number of cohorts confirmed to fare worse
    wer_after, gap_after         under the second recognizer
    change, change_high          relative change of errors, its upper bound; change() is everyone's
    lost                         number of cohorts confirmed to get worse
    gap_change, gap_change_high  relative change of a gap, its upper bound
    fell_behind                  number of cohorts whose gap is confirmed to grow

Names with spaces or signs are quoted: gap("first language", 'Québec French'). There is nothing to
execute here: unknown words are errors, and so is a value that the audit cannot give, because a gate
that passes when nothing was measured guards nothing. A gap to no errors, and a change from none, is
infinite, and so is an upper bound of a change that is not known. With more than two recognizers,
the largest over all that are compared with the first counts.
"""

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from evenear.audit.report.contents import Report
from evenear.audit.statistics.comparison import Change
from evenear.audit.statistics.results import Gap
from evenear.errors import CohortError, ConfigError, nearest_names

__all__ = ["FUNCTIONS", "Condition", "Verdict", "parse_condition"]

FUNCTIONS = (
    "change", "change_high", "confirmed_gap", "fell_behind", "gap", "gap_after", "gap_change",
    "gap_change_high", "gap_high", "gap_low", "lost", "ratio", "spread", "wer", "wer_after",
    "worse",
)  # fmt: skip
"""What a condition may ask for."""

_OF_CHANGES = (
    "wer_after", "gap_after", "change", "change_high", "lost", "gap_change", "gap_change_high",
    "fell_behind",
)  # fmt: skip

_EXAMPLE = "Write it like gap(gender) > 0.1 or confirmed_gap() > 10%."
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?%?(?![\w.]))
      | (?P<name>[\w×*][\w×*.:/+-]*)
      | (?P<quoted>"[^"]*"|'[^']*')
      | (?P<compare>>=|<=|==|!=|>|<)
      | (?P<mark>[(),])
    )""",
    re.VERBOSE,
)
_DEPTH = 50
_CLOSE = 0.1
"""A value within this part of its bound could as well have come out on the other side."""


class Verdict(NamedTuple):
    """Whether a condition holds, and the values that it asked for."""

    holds: bool
    values: tuple[tuple[str, float], ...]
    close: tuple[str, ...] = ()
    """Which values lie within a tenth of the bound that they were compared with."""


@dataclass(frozen=True)
class Condition:
    """A condition that was understood."""

    text: str
    _tree: "_Node"

    def judge(self, report: Report) -> Verdict:
        """Say whether the condition holds for an audit.

        Raises:
            CohortError: The audit cannot give a value that the condition asks for.
        """
        values: dict[str, float] = {}
        holds = self._tree.holds(report, values)
        return Verdict(holds, tuple(values.items()), tuple(dict.fromkeys(self._tree.close(values))))


def parse_condition(text: str) -> Condition:
    """Understand a condition.

    Raises:
        ConfigError: It is not one; the message says where it stops making sense.
    """
    parser = _Parser(text, _tokens(text))
    tree = parser.either(0)
    parser.end()
    return Condition(text, tree)


class _Token(NamedTuple):
    kind: str
    text: str


class _Call(NamedTuple):
    name: str
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name}({', '.join(self.arguments)})"

    def value(self, report: Report, values: dict[str, float]) -> float:
        values[str(self)] = found = _value(self, report)
        return found


class _Number(NamedTuple):
    number: float

    def value(self, report: Report, values: dict[str, float]) -> float:  # noqa: ARG002
        return self.number


class _Node(NamedTuple):
    """A comparison ("compare") of two values, or "and", "or", "not" of other nodes."""

    kind: str
    nodes: tuple["_Node", ...] = ()
    sides: tuple[_Call | _Number, ...] = ()
    sign: str = ""

    def holds(self, report: Report, values: dict[str, float]) -> bool:
        if self.kind == "compare":
            left, right = (side.value(report, values) for side in self.sides)
            return _COMPARE[self.sign](left, right)
        found = [node.holds(report, values) for node in self.nodes]
        if self.kind == "not":
            return not found[0]
        return all(found) if self.kind == "and" else any(found)

    def close(self, values: Mapping[str, float]) -> Iterator[str]:
        """Values that were asked for and lie close to a number that they were compared with."""
        for node in self.nodes:
            yield from node.close(values)
        for call, bound in (self.sides, self.sides[::-1]) if self.sides else ():
            if isinstance(call, _Call) and isinstance(bound, _Number) and str(call) in values:
                apart = abs(values[str(call)] - bound.number)
                if apart <= _CLOSE * abs(bound.number):
                    yield str(call)


def _tokens(text: str) -> list[_Token]:
    tokens, place = [], 0
    while text[place:].strip():
        match = _TOKEN.match(text, place)
        if match is None:
            rest = text[place:].strip()
            raise ConfigError(f"The condition {text!r} stops at {rest[:20]!r}.", hint=_EXAMPLE)
        kind = match.lastgroup or ""
        tokens.append(_Token(kind, match.group(kind)))
        place = match.end()
    return tokens


class _Parser:
    """Reads tokens from left to right."""

    def __init__(self, text: str, tokens: Sequence[_Token]) -> None:
        self.text, self.tokens, self.place = text, tokens, 0

    def either(self, depth: int) -> _Node:
        nodes = [self.both(depth)]
        while self.takes("name", "or"):
            nodes.append(self.both(depth))
        return nodes[0] if len(nodes) == 1 else _Node("or", tuple(nodes))

    def both(self, depth: int) -> _Node:
        nodes = [self.single(depth)]
        while self.takes("name", "and"):
            nodes.append(self.single(depth))
        return nodes[0] if len(nodes) == 1 else _Node("and", tuple(nodes))

    def single(self, depth: int) -> _Node:
        if depth > _DEPTH:
            raise ConfigError(f"The condition is nested more than {_DEPTH} deep.")
        if self.takes("name", "not"):
            return _Node("not", (self.single(depth + 1),))
        if self.takes("mark", "("):
            node = self.either(depth + 1)
            self.needs("mark", ")")
            return node
        left = self.side()
        sign = self.needs("compare")
        return _Node("compare", sides=(left, self.side()), sign=sign)

    def side(self) -> _Call | _Number:
        token = self.next("a function such as gap(gender), or a number")
        if token.kind == "number":
            return _Number(float(token.text.rstrip("%")) / (100 if "%" in token.text else 1))
        if token.kind != "name":
            raise self.surprised("a function such as gap(gender), or a number", token.text)
        if token.text not in FUNCTIONS:
            hint = nearest_names(token.text, FUNCTIONS)
            raise ConfigError(f"A condition has no function {token.text!r}.", hint=hint)
        self.needs("mark", "(")
        arguments: list[str] = []
        while not self.takes("mark", ")"):
            if arguments:
                self.needs("mark", ",")
            arguments.append(self.argument())
        if len(arguments) > 2:
            raise ConfigError(
                f"{token.text} takes an attribute and one of its values, got {len(arguments)} "
                "names.",
                hint='Quote a name that holds a comma: gap("a, b").',
            )
        return _Call(token.text, tuple(arguments))

    def argument(self) -> str:
        token = self.next("the name of an attribute")
        if token.kind == "quoted":
            return token.text[1:-1]
        if token.kind not in ("name", "number"):
            raise self.surprised("the name of an attribute", token.text)
        return token.text

    def takes(self, kind: str, text: str) -> bool:
        found = self.place < len(self.tokens) and self.tokens[self.place] == (kind, text)
        self.place += found
        return found

    def needs(self, kind: str, text: str | None = None) -> str:
        what = repr(text) if text else "a comparison such as >"
        token = self.next(what)
        if token.kind != kind or (text is not None and token.text != text):
            raise self.surprised(what, token.text)
        return token.text

    def next(self, expected: str) -> _Token:
        if self.place == len(self.tokens):
            raise self.surprised(expected, "its end")
        self.place += 1
        return self.tokens[self.place - 1]

    def end(self) -> None:
        if self.place < len(self.tokens):
            raise self.surprised("and, or, or its end", self.tokens[self.place].text)

    def surprised(self, expected: str, came: str) -> ConfigError:
        return ConfigError(
            f"In the condition {self.text!r}, expected {expected}, got {came}.", hint=_EXAMPLE
        )


def _value(call: _Call, report: Report) -> float:
    name = call.name
    if name == "wer" and not call.arguments:
        return _known(call, [report.gaps.overall.wer])
    if name == "spread":
        _check_names(call, report.gaps.rows, ())
        spreads = [row for row in report.gaps.spreads if _asked(call, 0, row.attribute)]
        return _known(call, [row.standard_deviation for row in spreads])
    if name in _OF_CHANGES:
        return _of_changes(call, report)
    rows = [row for row in _chosen(call, report.gaps.rows) if not row.suppressed]
    if name == "gap":
        return _known(call, [row.size if row.base_wer is not None else None for row in rows])
    if name in ("worse", "confirmed_gap"):
        _check_tested(call, rows)
    if name == "gap_low":
        _check_tested(call, [replace(row, confirmed=None) for row in rows if row.gap_low is None])
    if name == "gap_high":
        return _known(call, [_gap_high(row) for row in rows])
    if name == "worse":
        _known(call, [row.wer for row in rows])
        return float(sum(bool(row.confirmed) and row.size > 0.0 for row in rows))
    if name == "confirmed_gap":
        return _known(call, [row.size if row.confirmed else 0.0 for row in rows])
    field = "adjusted_ratio" if name == "ratio" else name
    return _known(call, [getattr(row, field) for row in rows])


def _of_changes(call: _Call, report: Report) -> float:
    if not report.comparisons:
        raise CohortError(
            f"{call} needs the results of a second recognizer.", hint="Give it with --compare."
        )
    if not call.arguments and call.name in ("change", "change_high", "wer_after"):
        rows = [one.overall for one in report.comparisons]
    else:
        every = [row for one in report.comparisons for row in one.rows]
        rows = [row for row in _chosen(call, every) if not row.suppressed]
    if call.name == "change":
        return _known(call, [row.size for row in rows])
    if call.name == "gap_after":
        return _known(call, [_gap_after(row) for row in rows])
    if call.name == "change_high":
        highs = [row.change_high for row in rows]
        return _known(call, [math.inf if high is None else high for high in highs])
    if call.name == "lost":
        _known(call, [row.wer_after for row in rows])
        return float(sum(bool(row.confirmed) and row.size > 0.0 for row in rows))
    if call.name == "fell_behind":
        _known(call, [None if row.gap_confirmed is None else 0.0 for row in rows])
        return float(sum(bool(row.gap_confirmed) and row.gap_size > 0.0 for row in rows))
    if call.name == "gap_change":
        return _known(call, [row.gap_size if row.wer_after is not None else None for row in rows])
    if call.name == "gap_change_high":
        highs = [row.gap_change_high for row in rows]
        return _known(call, [math.inf if high is None else high for high in highs])
    return _known(call, [getattr(row, call.name) for row in rows])


def _gap_high(row: Gap) -> float | None:
    """The upper bound of a gap; infinite where only this cohort has errors."""
    return math.inf if math.isinf(row.size) else row.gap_high


def _gap_after(row: Change) -> float | None:
    """The gap under the second recognizer; infinite where its rest lost its last error."""
    is_alone = row.gap_after is None and row.gap_before is not None and row.wer_after
    return math.inf if is_alone else row.gap_after


def _chosen(call: _Call, rows: Sequence[Gap] | Sequence[Change]) -> list:
    _check_names(call, rows, call.arguments[1:])
    return [row for row in rows if _asked(call, 0, row.attribute) and _asked(call, 1, row.value)]


def _check_names(
    call: _Call, rows: Sequence[Gap] | Sequence[Change], values: Sequence[str]
) -> None:
    if not call.arguments:
        return
    attribute = call.arguments[0]
    inside = [row for row in rows if _asked(call, 0, row.attribute)]
    if not inside:
        names = sorted({row.attribute for row in rows})
        raise CohortError(
            f"{call} asks for {attribute!r}, of which no cohorts were measured.",
            hint=nearest_names(attribute, names),
        )
    if values and not any(_asked(call, 1, row.value) for row in inside):
        raise CohortError(
            f"{call} asks for {values[0]!r}, which is no value of {attribute}.",
            hint=nearest_names(values[0], {row.value for row in inside}),
        )


def _asked(call: _Call, place: int, name: str) -> bool:
    """Whether a name is the one asked for, which may be typed age*gender for age×gender."""
    wanted = call.arguments[place : place + 1]
    return not wanted or wanted[0].replace("*", "×") == name or wanted[0] == name


def _check_tested(call: _Call, rows: Sequence[Gap]) -> None:
    for row in rows:
        if row.confirmed is None and row.size > 0.0:
            raise CohortError(
                f"This audit cannot say {call}: {row.attribute} {row.value!r} has a WER of "
                f"{100.0 * (row.wer or 0.0):.1f} %, and its gap cannot be tested: it takes two "
                "speakers on either side.",
                hint="Ask for wer() or gap() of it instead; a gap to no errors is infinite.",
            )


def _known(call: _Call, values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    if not known:
        raise CohortError(
            f"This audit cannot say {call}: no cohort that it asks for could be measured.",
            hint="Lower --min-speakers or --min-words knowingly, or record more speakers.",
        )
    return max(known)
