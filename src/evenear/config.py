# SPDX-License-Identifier: Apache-2.0
"""Settings as values: frozen, keyword-only, checked, and written to JSON beside the weights.

`@config` makes a pydantic dataclass that refuses unknown fields. A config lives beside the class
that it builds. `to_json` and `from_json` are exact inverses.
"""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any, TypeVar, dataclass_transform, get_args, get_type_hints

import pydantic
from pydantic import ConfigDict, Field, TypeAdapter

from evenear.errors import ConfigError, nearest_names

__all__ = ["config", "from_dict", "from_json", "replace", "set_path", "to_dict", "to_json"]

T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(Field,))
def config(cls: type[T]) -> type[T]:
    """Make `cls` a frozen, keyword-only pydantic dataclass that refuses unknown fields."""
    decorate = pydantic.dataclasses.dataclass(
        frozen=True, kw_only=True, config=ConfigDict(extra="forbid")
    )
    return decorate(cls)  # pyright: ignore[reportReturnType]


def to_dict(value: Any) -> dict[str, Any]:
    """The config as plain JSON values."""
    return TypeAdapter(type(value)).dump_python(value, mode="json")


def to_json(value: Any) -> str:
    """The config as indented JSON text."""
    return json.dumps(to_dict(value), indent=2, ensure_ascii=False) + "\n"


def from_dict(cls: type[T], values: dict[str, Any]) -> T:
    """Build `cls` from plain values.

    Raises:
        ConfigError: A field is unknown, missing or out of range; the message names it.
    """
    try:
        return TypeAdapter(cls).validate_python(values)
    except pydantic.ValidationError as error:
        raise ConfigError(_explain(cls, error)) from None


def from_json(cls: type[T], text: str) -> T:
    """Build `cls` from JSON text. Raises `ConfigError` as `from_dict` does."""
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{cls.__name__} must be JSON; line {error.lineno}: {error.msg}."
        ) from None
    return from_dict(cls, values)


def replace(value: T, **changes: Any) -> T:
    """A copy of a config with some fields changed, checked again."""
    return dataclasses.replace(value, **changes)  # pyright: ignore[reportArgumentType]


def set_path(value: T, assignment: str) -> T:
    """A copy of a config with one nested field changed, as in `encoder.dim=320`.

    Raises:
        ConfigError: There is no such field, or the value does not fit it.
    """
    path, equals, text = assignment.partition("=")
    if not equals:
        raise ConfigError(
            f"A setting is written field=value, got {assignment!r}.",
            hint="Example: optimizer.lr=0.001",
        )
    try:
        new = json.loads(text)
    except json.JSONDecodeError:
        new = text
    tree = to_dict(value)
    branch = tree
    *parents, leaf = path.split(".")
    for name in [*parents, leaf]:
        if not isinstance(branch, dict) or name not in branch:
            known = branch if isinstance(branch, dict) else ()
            raise ConfigError(f"There is no setting {path!r}.", hint=nearest_names(name, known))
        if name is not leaf:
            branch = branch[name]
    branch[leaf] = new
    return from_dict(type(value), tree)


def _explain(cls: type, error: pydantic.ValidationError) -> str:
    """Name every field that is wrong, in one sentence each."""
    lines = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"]) or cls.__name__
        if problem["type"] == "unexpected_keyword_argument":
            *parents, unknown = problem["loc"]
            hint = nearest_names(str(unknown), _known_fields(cls, parents))
            lines.append(f"{where}: no such field. {hint}")
        else:
            lines.append(f"{where}: {problem['msg']} (got {problem['input']!r})")
    return f"{cls.__name__} does not fit: " + "; ".join(lines)


def _known_fields(cls: type, path: Sequence[int | str]) -> list[str]:
    """Names of the fields that a value at `path` inside `cls` may have."""
    candidates = [cls]
    for step in path:
        hints = [get_type_hints(c).get(str(step)) for c in candidates]
        inner = [found for hint in hints if hint is not None for found in _configs_in(hint)]
        candidates = inner or candidates  # a union's tag or a tuple's index leads no deeper
    return sorted({f.name for c in candidates for f in dataclasses.fields(c)})


def _configs_in(hint: Any) -> list[type]:
    """The config classes that an annotation mentions."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return [hint]
    return [found for part in get_args(hint) for found in _configs_in(part)]
