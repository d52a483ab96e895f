# SPDX-License-Identifier: Apache-2.0
"""How an audit's tables are read, as options say it, and hints in the words of the options."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenear.errors import ConfigError, TableError, nearest_names

if TYPE_CHECKING:
    from evenear.audit import Table

__all__ = ["Source", "as_options", "one_of", "recognizer_names"]

_OPTIONS = (
    (r"duplicates='(\w+)'", r"--duplicates \1"),
    (r"Join some with `Table.with_attributes`", "Join some with --attributes"),
    (r"Join them with `with_embeddings`, or make .*", "Join them with --embeddings."),
)
"""What hints say in Python, and how it is said here."""


@dataclass(frozen=True)
class Source:
    """How tables are read, wherever they lie."""

    reference: Path | None
    attributes: tuple[Path, ...]
    normalizer: str
    duplicates: str
    columns: tuple[str, ...]

    @property
    def renamed(self) -> dict[str, str]:
        """Our names of columns, and what they are called in the tables."""
        return dict(_column(one) for one in self.columns)

    def read(self, path: Path, name: str) -> "Table":
        """The table at a path, under the name of its recognizer."""
        from evenear.audit import read_table

        with self._in_options() as settings:
            return read_table(path, name=name, **settings)

    def read_systems(self, path: Path, column: str) -> tuple["Table", ...]:
        """The tables of several recognizers at one path."""
        from evenear.audit.tables.reading import read_systems

        with self._in_options() as settings:
            return read_systems(path, column=column, **settings)

    @contextmanager
    def _in_options(self) -> Iterator[dict[str, Any]]:
        """How to read, checked; hints come back in the words of the options."""
        from evenear.metrics.normalizing.named import normalizer_named

        normalizer_named(self.normalizer)  # refuses a name that there is not
        one_of("--duplicates", self.duplicates, ("error", "first", "keep"))
        renamed = self.renamed
        try:
            yield {
                "reference": self.reference,
                "attributes": self.attributes,
                "columns": renamed,
                "normalizer": self.normalizer,
                "duplicates": self.duplicates,
            }
        except TableError as error:
            raise TableError(error.message, hint=as_options(error.hint)) from None


def as_options(hint: str | None) -> str | None:
    """A hint that names arguments of `read_table`, with the options of this command instead."""
    if hint is None:
        return None
    hint = re.sub(r"columns=\{([^}]*)\}", _column_options, hint)
    for python, option in _OPTIONS:
        hint = re.sub(python, option, hint)
    return hint


def one_of(option: str, given: str, known: Sequence[str]) -> None:
    """Refuse a word that an option does not know."""
    if given not in known:
        raise ConfigError(f"{option} does not know {given!r}.", hint=nearest_names(given, known))


def _column(text: str) -> tuple[str, str]:
    ours, sign, theirs = text.partition("=")
    if not (ours and sign and theirs):
        raise ConfigError(
            f"--column takes ours=theirs, got {text!r}.",
            hint="Write it like --column hypothesis=my_output.",
        )
    return ours.strip(), theirs.strip()


def _column_options(found: re.Match[str]) -> str:
    return " ".join(f"--column {ours}=…" for ours in re.findall(r"'(\w+)':", found[1]))


def recognizer_names(results: Path, compare: Path | None, name: str | None) -> tuple[str, str]:
    """What to call the recognizers: names that were given, or as much of the paths as differs."""
    paths = [results, *([compare] if compare else [])]
    given = [part.strip() for part in name.split(",")] if name and compare else [name or ""]
    if name and (len(given) != len(paths) or not all(given)):
        raise ConfigError(
            f"--name must name {len(paths)} recognizers, got {name!r}.",
            hint="Write it like --name first,second.",
        )
    if not name:
        from evenear.audit.tables.formats import plain_name

        parts = [[*path.absolute().parts[1:-1], plain_name(path)] for path in paths]
        while len(parts) == 2 and parts[0][-1] == parts[1][-1] and min(map(len, parts)) > 1:
            parts = [[*one[:-2], f"{one[-2]}/{one[-1]}"] for one in parts]
        given = [one[-1] for one in parts]
    return given[0], given[-1]
