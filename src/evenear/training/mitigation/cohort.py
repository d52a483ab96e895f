# SPDX-License-Identifier: Apache-2.0
"""Whom to repair a recognizer for: `age<18`, `gender=female and region=north|coast`.

A cohort is one or more conditions on attributes of speakers, joined by `and`. Numbers are compared
as numbers; `=` and `!=` also take several values between bars. A speaker whose attribute is not
known is neither in the cohort nor out of it.
"""

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from evenear.config import config
from evenear.data.corpora.manifests import Utterance
from evenear.errors import CohortError, ConfigError, nearest_names

__all__ = ["CohortRule", "Condition", "parse_cohort"]

_CONDITION = re.compile(r"\s*(?P<name>[^<>=!]+?)\s*(?P<sign><=|>=|!=|==|=|<|>)\s*(?P<value>.+?)\s*")
_EXAMPLE = "Write it like --cohort 'age<18' or --cohort 'gender=female and region=north'."
_ORDERS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@config
class Condition:
    """That an attribute is below, above, or one of some values."""

    name: str
    sign: Literal["<", "<=", ">", ">=", "=", "!="]
    values: tuple[str, ...]

    def holds(self, attributes: Mapping[str, Any]) -> bool | None:
        """Whether it holds of a speaker; None where the attribute is not known."""
        found = attributes.get(self.name)
        if found is None or found == "":
            return None
        if self.sign in _ORDERS:
            number = _number(found)
            limit = _number(self.values[0])
            return None if number is None or limit is None else _ORDERS[self.sign](number, limit)
        is_one = any(_same(found, value) for value in self.values)
        return is_one == (self.sign == "=")


@config
class CohortRule:
    """Conditions that all hold of the speakers of a cohort."""

    text: str
    conditions: tuple[Condition, ...]

    def holds(self, attributes: Mapping[str, Any]) -> bool | None:
        """Whether a speaker is in the cohort; None where that is not known."""
        found = [condition.holds(attributes) for condition in self.conditions]
        if False in found:
            return False
        return None if None in found else True

    def members(self, utterances: Iterable[Utterance]) -> dict[str, bool | None]:
        """Each speaker, and whether in the cohort.

        Raises:
            CohortError: No utterance has an attribute of the rule, a speaker is both in the cohort
                and out of it, or one of the two sides is empty.
        """
        found: dict[str, bool | None] = {}
        known: set[str] = set()
        for u in utterances:
            known.update(u.attributes)
            held = self.holds(u.attributes)
            before = found.get(u.speaker)
            if held is not None and before is not None and held != before:
                raise CohortError(
                    f"A speaker must be in the cohort {self.text!r} or out of it; {u.speaker!r} is "
                    "in for some utterances and out for others.",
                    hint="Choose attributes that belong to speakers.",
                )
            found[u.speaker] = before if held is None else held
        for condition in self.conditions:
            if condition.name not in known:
                raise CohortError(
                    f"No utterance has the attribute {condition.name!r} of {self.text!r}.",
                    hint=nearest_names(condition.name, known) if known else "None has any.",
                )
        sides = set(found.values())
        if not {True, False} <= sides:
            side = "in" if True not in sides else "out of"
            raise CohortError(
                f"A repair needs speakers in the cohort and out of it; none of {len(found)} is "
                f"known to be {side} {self.text!r}.",
                hint="evenear audit shows which values there are.",
            )
        return found


def parse_cohort(text: str) -> CohortRule:
    """Understand a cohort.

    Raises:
        ConfigError: It is none; the message says which part.
    """
    conditions = []
    for part in re.split(r"\s+and\s+", text.strip()):
        match = _CONDITION.fullmatch(part)
        if match is None:
            raise ConfigError(
                f"A cohort is conditions joined by 'and'; {part!r} is none.", hint=_EXAMPLE
            )
        sign = "=" if match["sign"] == "==" else match["sign"]
        values = [value.strip().strip("'\"") for value in match["value"].split("|")]
        if sign in _ORDERS and (len(values) > 1 or _number(values[0]) is None):
            raise ConfigError(f"{sign} needs one number, got {match['value']!r}.", hint=_EXAMPLE)
        name = match["name"].strip("'\"")
        conditions.append(Condition(name=name, sign=sign, values=tuple(values)))  # pyright: ignore
    return CohortRule(text=text.strip(), conditions=tuple(conditions))


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if number == number else None


def _same(found: Any, wanted: str) -> bool:
    one, other = _number(found), _number(wanted)
    if one is not None and other is not None:
        return one == other
    return str(found) == wanted
