# SPDX-License-Identifier: Apache-2.0
"""Numbers that a recognizer wrote in digits, as the words that were most likely said.

A reference has words where some recognizers write digits, and "2648" may have been "two six four
eight", "twenty-six forty-eight" or "two thousand six hundred forty-eight". So each number has all
its usual readings, and of these the ones with the fewest errors against the reference count, as
with alternatives in NIST's scoring. That favors recognizers that write digits, and leaves text
without digits as it is.

Source: alternatives in scoring are from NIST's SCTK (`sclite`), https://github.com/usnistgov/SCTK.
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from evenear.metrics.words import normalize

__all__ = ["RULE", "readings", "spoken"]

RULE = (
    "Numbers written in digits become words before normalizing, in references and in hypotheses of "
    "all systems alike: digit by digit (0 as zero or oh), as a cardinal (with or without 'and'), "
    "in pairs as years are read, as ordinals (2nd), decades (90s), decimals, percents or money. "
    "In a hypothesis, the reading with the fewest errors counts."
)

Words = tuple[str, ...]


def _words(text: str) -> Words:
    return tuple(text.split())


_ONES = _words(
    "ZERO ONE TWO THREE FOUR FIVE SIX SEVEN EIGHT NINE TEN ELEVEN TWELVE THIRTEEN FOURTEEN "
    "FIFTEEN SIXTEEN SEVENTEEN EIGHTEEN NINETEEN"
)
_TENS = _words("TEN TWENTY THIRTY FORTY FIFTY SIXTY SEVENTY EIGHTY NINETY")
_SCALES = ((1_000_000_000, "BILLION"), (1_000_000, "MILLION"), (1000, "THOUSAND"), (100, "HUNDRED"))
_LONGEST_CARDINAL = 12
_ORDINALS = {
    "ONE": "FIRST",
    "TWO": "SECOND",
    "THREE": "THIRD",
    "FIVE": "FIFTH",
    "EIGHT": "EIGHTH",
    "NINE": "NINTH",
    "TWELVE": "TWELFTH",
}
_MONEY = {"$": "DOLLAR", "£": "POUND", "€": "EURO"}
_NUMBER = re.compile(
    r"(?P<money>[$£€])?"
    r"(?P<whole>[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)"
    r"(?:\.(?P<decimals>[0-9]+))?"
    r"(?P<tail>(?:ST|ND|RD|TH|'?S)\b|\s?%)?"
)


class _Path(NamedTuple):
    """The cheapest way to some place in the reference."""

    errors: int
    words: Words


def spoken(text: str, reference: str | None = None, normalizer: str = "basic") -> str:
    """The text, normalized, its numbers in words.

    Args:
        text: As it was written.
        reference: A normalized text without digits: numbers get the readings that have the fewest
            errors against it. None: the likeliest reading of each.
        normalizer: A name in `evenear.metrics.words.NORMALIZERS`.

    Example:
        >>> spoken("Room 0351, 2nd floor.")
        'ROOM ZERO THREE FIVE ONE SECOND FLOOR'
        >>> spoken("264-8", "TWO SIX FOUR EIGHT")
        'TWO SIX FOUR EIGHT'
    """
    slots = list(_slots(unicodedata.normalize("NFKC", text).upper(), normalizer))
    if reference is None:
        return " ".join(word for slot in slots for word in slot[0])
    said = reference.split()
    paths = [_Path(length, ()) for length in range(len(said) + 1)]
    for slot in slots:
        ways = [_extended(paths, reading, said) for reading in slot]
        paths = [min(ends, key=lambda path: path.errors) for ends in zip(*ways, strict=True)]
    return " ".join(paths[-1].words)


def readings(whole: str) -> tuple[Words, ...]:
    """The ways to read a row of digits, the likeliest first.

    Example:
        >>> [" ".join(words) for words in readings("42")]
        ['FORTY TWO', 'FOUR TWO']
    """
    digits = tuple(_ONES[int(digit)] for digit in whole)
    one_by_one = [digits, tuple("OH" if word == "ZERO" else word for word in digits)]
    amounts = []
    if whole == "0" or (whole[0] != "0" and len(whole) <= _LONGEST_CARDINAL):
        amounts = [_cardinal(int(whole)), _cardinal(int(whole), joint="AND")]
    in_pairs = [_in_pairs(whole)] if len(whole) > 2 else []
    is_code = whole[0] == "0" or (len(whole) > 2 and not whole.endswith("00"))
    ways = one_by_one + in_pairs + amounts if is_code else amounts + in_pairs + one_by_one
    return tuple(dict.fromkeys(ways))


def _slots(text: str, normalizer: str) -> Iterator[tuple[Words, ...]]:
    """The text piece by piece: each word as it is, each number with its readings."""
    end = 0
    for number in _NUMBER.finditer(text):
        for word in normalize(text[end : number.start()], normalizer).split():
            yield ((word,),)
        yield _number(number)
        end = number.end()
    for word in normalize(text[end:], normalizer).split():
        yield ((word,),)


def _number(match: re.Match[str]) -> tuple[Words, ...]:
    """The readings of a number with what belongs to it."""
    whole, decimals = match["whole"].replace(",", ""), match["decimals"]
    tail = (match["tail"] or "").strip().strip("'")
    ways = readings(whole)
    if decimals:
        after = tuple(_ONES[int(digit)] for digit in decimals)
        ways = tuple((*way, *point, *after) for way in ways for point in (("POINT",), ()))
    elif tail in ("ST", "ND", "RD", "TH"):
        ways = tuple((*way[:-1], _ordinal(way[-1])) for way in ways)
    elif tail == "S":
        ways = tuple((*way[:-1], _plural(way[-1])) for way in ways)
    if tail == "%":
        ways = tuple(
            (*way, *percent) for way in ways for percent in (("PERCENT",), ("PER", "CENT"))
        )
    if match["money"]:
        unit = _MONEY[match["money"]]
        ways = tuple((*way, unit if way == ("ONE",) else unit + "S") for way in ways) + ways
    return ways


def _cardinal(amount: int, joint: str = "") -> Words:
    """An amount in words; `joint` before its tens, as in "one hundred and five"."""
    for scale, name in _SCALES:
        if amount >= scale:
            left = amount % scale
            words = (*_cardinal(amount // scale, joint), name)
            if not left:
                return words
            is_last = bool(joint) and left < 100
            return (*words, *((joint,) if is_last else ()), *_cardinal(left, joint))
    if amount < 20:
        return (_ONES[amount],)
    tens = _TENS[amount // 10 - 1]
    return (tens, _ONES[amount % 10]) if amount % 10 else (tens,)


def _in_pairs(whole: str) -> Words:
    """As years are read: 1984 as nineteen eighty-four, 305 as three oh five."""
    first = len(whole) % 2
    pairs = [whole[:first]] * first + [whole[i : i + 2] for i in range(first, len(whole), 2)]
    words: list[str] = []
    for pair in pairs:
        if pair == "00":
            words += ["HUNDRED"] if words and len(whole) <= 4 else ["ZERO", "ZERO"]
        elif pair[0] == "0" and len(pair) == 2:
            words += ["OH", _ONES[int(pair[1])]]
        else:
            words += _cardinal(int(pair))
    return tuple(words)


def _ordinal(word: str) -> str:
    if word.endswith("TY"):
        return word[:-1] + "IETH"
    return _ORDINALS.get(word, word + "TH")


def _plural(word: str) -> str:
    if word.endswith("TY"):
        return word[:-1] + "IES"
    return word + ("ES" if word in ("ZERO", "SIX") else "S")


def _extended(paths: list[_Path], reading: Words, said: list[str]) -> list[_Path]:
    """The cheapest paths after one more reading: the rows of an edit distance."""
    for word in reading:
        row = [_Path(paths[0].errors + 1, (*paths[0].words, word))]
        for place, expected in enumerate(said):
            extra, kept, missed = paths[place + 1], paths[place], row[place]
            row.append(
                min(
                    _Path(kept.errors + (word != expected), (*kept.words, word)),
                    _Path(extra.errors + 1, (*extra.words, word)),
                    _Path(missed.errors + 1, missed.words),
                    key=lambda path: path.errors,
                )
            )
        paths = row
    return paths
