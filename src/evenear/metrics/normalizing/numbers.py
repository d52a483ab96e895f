# SPDX-License-Identifier: Apache-2.0
"""English numbers in one spelling: digits, whether they were written as words or as digits.

    twenty-one        -> 21             nineteen ninety five -> 1995
    1,000             -> 1000           a hundred and five   -> 105
    three point five  -> 3.5            the twenty first     -> the 21st
    $10, 50%          -> 10 dollars, 50 percent

Neighbors that do not make one number stay apart: "one two three" becomes "1 2 3", which is how
digits that are read out are mostly written. What two readings have (a "second", "one" as a pronoun)
is written alike on both sides, and that is all that counting errors needs.
"""

import re
from dataclasses import dataclass, field

__all__ = ["with_digits"]

_UNITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_TEENS = [
    "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen",
    "eighteen", "nineteen",
]  # fmt: skip
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SCALES = {"thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_VALUES = {
    **{word: value for value, word in enumerate(_UNITS + _TEENS)},
    **{word: 10 * (place + 2) for place, word in enumerate(_TENS)},
}
_ODD_ORDINALS = {
    "first": "one", "second": "two", "third": "three", "fifth": "five", "eighth": "eight",
    "ninth": "nine", "twelfth": "twelve",
}  # fmt: skip
_MONEY = {"$": "dollar", "£": "pound", "€": "euro"}

_AMOUNT = re.compile(
    r"(?<![$£€])([$£€])\s?(\d[\d,]*(?:\.\d+)?)(?:\s(thousand|million|billion|trillion)\b)?"
)
_PERCENT = re.compile(r"(?<=\d)\s?%")
_BETWEEN_DIGITS = re.compile(r"(?<=\d)[,:](?=\d)")
_HYPHEN = re.compile(r"(?<=[a-z])-(?=[a-z])", re.IGNORECASE)
_TOKEN = re.compile(r"\d+(?:\.\d+)?(?:st|nd|rd|th)?\b|[^\W\d_]+(?:'[^\W\d_]+)*|\s+|.", re.DOTALL)


def with_digits(text: str) -> str:
    """The text with its English numbers in digits; anything else stays as it is."""
    text = _AMOUNT.sub(_amount, text)
    text = _PERCENT.sub(" percent", text)
    text = _BETWEEN_DIGITS.sub("", text)
    tokens = _TOKEN.findall(_HYPHEN.sub(_unless_apart, text))
    return _Reader(tokens).text()


def _amount(found: re.Match[str]) -> str:
    """An amount of money, its currency behind it."""
    sign, number, scale = found.groups()
    plural = "" if number == "1" and not scale else "s"
    return f"{number}{f' {scale}' if scale else ''} {_MONEY[sign]}{plural}"


def _unless_apart(found: re.Match[str]) -> str:
    """A hyphen between two number words is a space; others stay."""
    text, place = found.string, found.start()
    before = re.search(r"[a-z]+$", text[:place], re.IGNORECASE)
    after = re.match(r"[a-z]+", text[place + 1 :], re.IGNORECASE)
    words = [part[0].lower() for part in (before, after) if part]
    return " " if all(_is_number_word(word) for word in words) else "-"


def _is_number_word(word: str) -> bool:
    return word in _VALUES or word in _SCALES or word == "hundred" or _ordinal(word) is not None


def _ordinal(word: str) -> str | None:
    """The cardinal of an ordinal, or None."""
    if word in _ODD_ORDINALS:
        return _ODD_ORDINALS[word]
    if word.endswith("ieth") and f"{word[:-4]}y" in _VALUES:
        return f"{word[:-4]}y"
    if word.endswith("th"):
        stem = word[:-2]
        if stem in _VALUES or stem in _SCALES or stem == "hundred":
            return stem
    return None


@dataclass
class _Number:
    """A number that is being read."""

    total: int = 0
    """What stands before a scale: the thousands of "two thousand and five"."""
    below: int = 0
    """What stands behind it."""
    room: int = 0
    """What may still be added must be smaller than this; 0 where nothing may."""
    is_open: bool = False
    """Whether it ends in a hundred or a scale, after which "and" may stand."""
    was_pair: bool = False

    @property
    def value(self) -> int:
        return self.total + self.below

    def takes(self, value: int) -> bool:
        """Add a value below 100, if it goes on with this number."""
        is_year = 10 <= self.below < 100 and not self.total and not self.was_pair
        if value < self.room and (value or self.is_open):
            self.below += value
        elif is_year and value >= 10 and not self.is_open:
            self.below, self.was_pair = 100 * self.below + value, True
        else:
            return False
        self.room = 10 if value >= 20 and value % 10 == 0 else 0
        self.is_open = False
        return True

    def times(self, scale: int) -> bool:
        """Multiply by a hundred or a scale, if that makes sense here."""
        if not self.below or (scale == 100 and self.below >= 100):
            return False
        if scale == 100:
            self.below, self.room = 100 * self.below, 100
        else:
            if self.total and self.total % (1000 * scale):
                return False
            self.total, self.below, self.room = self.total + scale * self.below, 0, 1000
        self.is_open = True
        return True


@dataclass
class _Reader:
    """Reads tokens from left to right."""

    tokens: list[str]
    place: int = 0
    written: list[str] = field(default_factory=list)

    def text(self) -> str:
        """All of it."""
        while self.place < len(self.tokens):
            number = self._number()
            if number is None:
                self.written.append(self.tokens[self.place])
                self.place += 1
            else:
                self.written.append(number)
        return "".join(self.written)

    def _word(self, ahead: int) -> str:
        """The word so many words ahead if only spaces lie between; else nothing."""
        place = self.place + 2 * ahead
        if not all(
            self.tokens[k].isspace() for k in range(self.place + 1, min(place, len(self.tokens)), 2)
        ):
            return ""
        return self.tokens[place].lower() if place < len(self.tokens) else ""

    def _number(self) -> str | None:
        """The number that begins here, in digits; None if there is none."""
        start = self._start()
        if start is None:
            return None
        number, taken, digits = start
        suffix = ""
        while word := self._word(taken):
            if word == "and" and number.is_open and self._adds(number, self._word(taken + 1)):
                taken += 1
                continue
            if word in _VALUES:
                if not number.takes(_VALUES[word]):
                    break
            elif word == "hundred" or word in _SCALES:
                if not number.times(_SCALES.get(word, 100)):
                    break
            elif (cardinal := _ordinal(word)) is not None and self._ends(number, cardinal):
                suffix, taken = _suffix(number.value), taken + 1
                break
            else:
                break
            digits, taken = "", taken + 1
        said = digits or str(number.value)
        if not suffix and self._word(taken) == "point" and not digits:
            decimals = self._decimals(taken + 1)
            said, taken = (
                (f"{said}.{decimals}", taken + 1 + len(decimals)) if decimals else (said, taken)
            )
        self.place += 2 * taken - 1
        return said + suffix

    def _start(self) -> tuple[_Number, int, str] | None:
        """The first word of a number, how many words that took, and its digits if it has some."""
        word, after = self._word(0), self._word(1)
        if word in _VALUES:
            value = _VALUES[word]
            return _Number(below=value, room=10 if value >= 20 else 0), 1, ""
        if word == "a" and (after == "hundred" or after in _SCALES):
            return _Number(below=1), 1, ""
        if word.isdecimal():
            scale = _SCALES.get(after, 100 if after == "hundred" else 0)
            return _Number(below=int(word)), 1, "" if scale and int(word) else word
        decimal = re.fullmatch(r"(\d+)\.(\d+)", word)
        if decimal and after in _SCALES:
            value = round(float(word) * _SCALES[after])
            return _Number(total=value), 2, str(value)
        cardinal = _ordinal(word)
        if cardinal is not None and cardinal in _VALUES:
            value = _VALUES[cardinal]
            return _Number(below=value), 1, f"{value}{_suffix(value)}"
        return None

    def _adds(self, number: _Number, word: str) -> bool:
        cardinal = _ordinal(word) or word
        return cardinal in _VALUES and 0 < _VALUES[cardinal] < number.room

    def _ends(self, number: _Number, cardinal: str) -> bool:
        """Take the last part of an ordinal."""
        if cardinal in _VALUES:
            return number.takes(_VALUES[cardinal])
        return number.times(_SCALES.get(cardinal, 100))

    def _decimals(self, ahead: int) -> str:
        """Digits behind a point, read out one by one."""
        found = ""
        while (word := self._word(ahead + len(found))) in _UNITS:
            found += str(_VALUES[word])
        return found


def _suffix(value: int) -> str:
    if value % 100 in (11, 12, 13):
        return "th"
    return {1: "st", 2: "nd", 3: "rd"}.get(value % 10, "th")
