# SPDX-License-Identifier: Apache-2.0
"""Case, punctuation and spaces: what any script needs before its words are compared.

Source: Unicode Standard Annex 15 (NFKC).
"""

import re
import unicodedata

__all__ = ["as_it_is", "basic", "cased", "characters", "straight"]

_APOSTROPHES = str.maketrans(dict.fromkeys("‘’‛ʼ′＇`´", "'"))
_EDGE_APOSTROPHE = re.compile(r"(?<![^ '])'|'(?![^ '])")


def as_it_is(text: str) -> str:
    """The text as it is."""
    return text


def basic(text: str) -> str:
    """Upper case, straight apostrophes inside words, no other punctuation, single spaces."""
    text = unicodedata.normalize("NFKC", straight(text))
    return _plain(unicodedata.normalize("NFKC", text.upper()))


def cased(text: str) -> str:
    """Basic, but capitals and small letters as they are."""
    return _plain(unicodedata.normalize("NFKC", straight(text)))


def straight(text: str) -> str:
    """The text with straight apostrophes."""
    return text.translate(_APOSTROPHES)


def _plain(text: str) -> str:
    return " ".join(_EDGE_APOSTROPHE.sub(" ", text.translate(_KEPT)).split())


def characters(text: str) -> str:
    """Basic without apostrophes, each character a word: for scripts that put no spaces."""
    spaced = "".join(
        char if unicodedata.category(char)[0] == "M" else f" {char}"
        for char in basic(text).replace("'", "")
    )
    return " ".join(spaced.split())


class _KeptCharacters(dict[int, str]):
    """What `str.translate` makes of each character; looked up in Unicode once, then remembered.

    Letters, marks, numbers and the straight apostrophe stay; invisible format characters (soft
    hyphen, zero-width joiners) vanish; everything else becomes a space.
    """

    def __missing__(self, code: int) -> str:
        category = unicodedata.category(chr(code))
        if category[0] in "LMN" or code == ord("'"):
            kept = chr(code)
        else:
            kept = "" if category == "Cf" else " "
        self[code] = kept
        return kept


_KEPT = _KeptCharacters(_APOSTROPHES)
