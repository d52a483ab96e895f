# SPDX-License-Identifier: Apache-2.0
"""How words are said: a pronunciation dictionary, read from text as CMUdict is written.

A line is a word and its phones, parted by spaces (`HELLO  HH AH0 L OW1`). Digits of stress are left
out, lines that begin with `;;;` are comments, and `HELLO(2)` is another way to say HELLO. The first
way is the one that `phones_of` gives.

Source: the CMU Pronouncing Dictionary, whose format this is.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from evenear.errors import ManifestError

__all__ = ["Lexicon"]

_COMMENT = ";;;"
_VARIANT = re.compile(r"\(\d+\)$")
_STRESS = re.compile(r"\d+$")


@dataclass(frozen=True)
class Lexicon:
    """Pronunciations. A phone's id is its place among `phones`, counted from 1; 0 is for blank."""

    phones: tuple[str, ...]
    pronunciations: Mapping[str, tuple[tuple[int, ...], ...]]
    """The pronunciations of each word in upper case, as ids of phones."""

    @classmethod
    def read(cls, path: Path) -> "Lexicon":
        """Read a dictionary.

        Raises:
            ManifestError: The file cannot be read, a line has a word and no phones, or there is no
                line.
        """
        try:
            lines = path.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ManifestError(
                f"Pronunciations need a text file, got {path}, which cannot be read ({error})."
            ) from None
        said: dict[str, dict[tuple[str, ...], None]] = {}
        for number, line in enumerate(lines, start=1):
            if not line.strip() or line.startswith(_COMMENT):
                continue
            word, *phones = line.split("#")[0].split()
            if not phones:
                raise ManifestError(
                    f"Each line of {path} needs a word and its phones, got {line!r} in line "
                    f"{number}.",
                    hint="Write lines as in CMUdict: HELLO  HH AH0 L OW1",
                )
            way = tuple(_STRESS.sub("", phone) for phone in phones)
            said.setdefault(_VARIANT.sub("", word).upper(), {})[way] = None
        if not said:
            raise ManifestError(f"Pronunciations need a word at least, got none in {path}.")
        inventory = tuple(sorted({p for each in said.values() for way in each for p in way}))
        ids = {phone: number for number, phone in enumerate(inventory, start=1)}
        return cls(
            inventory,
            {
                word: tuple(tuple(ids[phone] for phone in way) for way in each)
                for word, each in said.items()
            },
        )

    def phones_of(self, text: str) -> list[int]:
        """Ids of the phones of a normalized text; none if a word of it is unknown."""
        found: list[int] = []
        for word in text.split():
            if word not in self.pronunciations:
                return []
            found += self.pronunciations[word][0]
        return found
