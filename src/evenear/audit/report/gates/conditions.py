# SPDX-License-Identifier: Apache-2.0
"""A condition on an audit: `gap(gender) > 0.1 or worse() > 0`.

A condition compares values, joined by `and`, `or`, `not` and parentheses. Numbers may be written
as percent: `10%` is 0.1. A value is a function of an attribute and one of its cohorts:

    gap(gender, female)    that cohort
    gap(gender)            the largest over the measured cohorts of gender
    gap()                  the largest over all measured cohorts

Names with spaces or signs are quoted: gap("first language", 'Québec French'). There is nothing to
execute here: unknown words are errors, and so is a value that the audit cannot give, because a gate
that passes when nothing was measured guards nothing.

Which functions there are depends on what was audited: see `recognizers` and `verifiers`.
"""

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from evenear.errors import CohortError, ConfigError, nearest_names

__all__ = [
    "Call",
    "Condition",
    "Verdict",
    "asked_rows",
    "check_names",
    "is_asked",
    "known",
    "understand",
]

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
    _value: Callable[["Call", Any], float]

    def judge(self, report: Any) -> Verdict:
        """Say whether the condition holds for an audit.

        Raises:
            CohortError: The audit cannot give a value that the condition asks for.
        """
        values: dict[str, float] = {}
        holds = self._tree.holds(lambda call: self._value(call, report), values)
        return Verdict(holds, tuple(values.items()), tuple(dict.fromkeys(self._tree.close(values))))


def understand(
    text: str, functions: Sequence[str], value: Callable[["Call", Any], float], *, example: str
) -> Condition:
    """Understand a condition.

    Args:
        text: The condition.
        functions: What it may ask for.
        value: Gives what it asks for, of an audit.
        example: A sentence that shows how conditions are written.

    Raises:
        ConfigError: It is not one; the message says where it stops making sense.
    """
    parser = _Parser(text, _tokens(text, example), functions, example)
    tree = parser.either(0)
    parser.end()
    return Condition(text, tree, value)


class _Token(NamedTuple):
    kind: str
    text: str


class Call(NamedTuple):
    """A function of an attribute and one of its cohorts, as it was asked for."""

    name: str
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name}({', '.join(self.arguments)})"

    def value(self, give: "_Give", values: dict[str, float]) -> float:
        """What an audit gives, remembered among the values."""
        values[str(self)] = found = give(self)
        return found


class _Number(NamedTuple):
    number: float

    def value(self, give: "_Give", values: dict[str, float]) -> float:  # noqa: ARG002
        return self.number


_Give = Callable[[Call], float]


class _Node(NamedTuple):
    """A comparison ("compare") of two values, or "and", "or", "not" of other nodes."""

    kind: str
    nodes: tuple["_Node", ...] = ()
    sides: tuple[Call | _Number, ...] = ()
    sign: str = ""

    def holds(self, give: _Give, values: dict[str, float]) -> bool:
        if self.kind == "compare":
            left, right = (side.value(give, values) for side in self.sides)
            return _COMPARE[self.sign](left, right)
        found = [node.holds(give, values) for node in self.nodes]
        if self.kind == "not":
            return not found[0]
        return all(found) if self.kind == "and" else any(found)

    def close(self, values: Mapping[str, float]) -> Iterator[str]:
        """Values that were asked for and lie close to a number that they were compared with."""
        for node in self.nodes:
            yield from node.close(values)
        for call, bound in (self.sides, self.sides[::-1]) if self.sides else ():
            if isinstance(call, Call) and isinstance(bound, _Number) and str(call) in values:
                apart = abs(values[str(call)] - bound.number)
                if apart <= _CLOSE * abs(bound.number):
                    yield str(call)


def _tokens(text: str, example: str) -> list[_Token]:
    tokens, place = [], 0
    while text[place:].strip():
        match = _TOKEN.match(text, place)
        if match is None:
            rest = text[place:].strip()
            raise ConfigError(f"The condition {text!r} stops at {rest[:20]!r}.", hint=example)
        kind = match.lastgroup or ""
        tokens.append(_Token(kind, match.group(kind)))
        place = match.end()
    return tokens


class _Parser:
    """Reads tokens from left to right."""

    def __init__(
        self, text: str, tokens: Sequence[_Token], functions: Sequence[str], example: str
    ) -> None:
        self.text, self.tokens, self.place = text, tokens, 0
        self.functions, self.example = functions, example

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

    def side(self) -> Call | _Number:
        token = self.next("a function such as gap(gender), or a number")
        if token.kind == "number":
            return _Number(float(token.text.rstrip("%")) / (100 if "%" in token.text else 1))
        if token.kind != "name":
            raise self.surprised("a function such as gap(gender), or a number", token.text)
        if token.text not in self.functions:
            hint = nearest_names(token.text, self.functions)
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
        return Call(token.text, tuple(arguments))

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
            f"In the condition {self.text!r}, expected {expected}, got {came}.", hint=self.example
        )


def check_names(call: Call, rows: Sequence[Any], values: Sequence[str]) -> None:
    """Refuse an attribute, or a value of it, that no row has.

    Raises:
        CohortError: No row has it.
    """
    if not call.arguments:
        return
    attribute = call.arguments[0]
    inside = [row for row in rows if is_asked(call, 0, row.attribute)]
    if not inside:
        names = sorted({row.attribute for row in rows})
        raise CohortError(
            f"{call} asks for {attribute!r}, of which no cohorts were measured.",
            hint=nearest_names(attribute, names),
        )
    if values and not any(is_asked(call, 1, row.value) for row in inside):
        raise CohortError(
            f"{call} asks for {values[0]!r}, which is no value of {attribute}.",
            hint=nearest_names(values[0], {row.value for row in inside}),
        )


def asked_rows(call: Call, rows: Sequence[Any]) -> list[Any]:
    """The rows, each with an attribute and a value, that are asked for."""
    return [
        row for row in rows if is_asked(call, 0, row.attribute) and is_asked(call, 1, row.value)
    ]


def is_asked(call: Call, place: int, name: str) -> bool:
    """Whether a name is the one asked for, which may be typed age*gender for age×gender."""
    wanted = call.arguments[place : place + 1]
    return not wanted or wanted[0].replace("*", "×") == name or wanted[0] == name


def known(call: Call, values: Sequence[float | None]) -> float:
    """The largest value that is known.

    Raises:
        CohortError: None is.
    """
    there = [value for value in values if value is not None]
    if not there:
        raise CohortError(
            f"This audit cannot say {call}: no cohort that it asks for could be measured.",
            hint="Lower --min-speakers or --min-words knowingly, or record more speakers.",
        )
    return max(there)
