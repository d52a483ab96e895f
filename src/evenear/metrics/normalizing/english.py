# SPDX-License-Identifier: Apache-2.0
"""English texts in one form: contractions written out, fillers left out, one spelling.

`whisper_style` follows the twelve steps in the appendix of Whisper's paper. Where these need a
list (contractions, spellings), the lists are ours and shorter, so rates come close to those of
Whisper's own normalizer and are not the same.

Source: A. Radford et al., "Robust speech recognition via large-scale weak supervision", 2022,
https://arxiv.org/abs/2212.04356, appendix C.
"""

import re
import unicodedata
from collections.abc import Callable

from evenear.metrics.normalizing.numbers import with_digits

__all__ = ["whisper_style", "without_contractions", "without_fillers"]

_WHOLE = {
    "won't": "will not", "can't": "can not", "cannot": "can not", "shan't": "shall not",
    "ain't": "is not", "let's": "let us", "y'all": "you all", "gonna": "going to",
    "gotta": "got to", "wanna": "want to", "gimme": "give me", "lemme": "let me",
    "dunno": "do not know", "kinda": "kind of", "sorta": "sort of", "'cause": "because",
    "'em": "them", "mr": "mister", "mrs": "missus", "dr": "doctor", "vs": "versus",
}  # fmt: skip
_ENDINGS = {
    "n't": " not", "'re": " are", "'ve": " have", "'ll": " will", "'d": " would", "'m": " am",
}  # fmt: skip
_IS = frozenset(
    (
        "it", "he", "she", "that", "there", "here", "what", "who", "where", "how", "when", "why",
        "this", "everybody", "everyone",
    )
)  # fmt: skip
"""After these, 's is "is"; elsewhere it mostly says whose something is, and stays."""

_WORD = re.compile(r"'?[^\W\d_]+(?:'[^\W\d_]+)*\.?")
_ENDING = re.compile(r"(n't|'(?:re|ve|ll|d|m))$", re.IGNORECASE)
_FILLERS = re.compile(r"\b(?:hmm+|mm+|mhm|um+|uh+|er|erm|ah)\b[,.]?", re.IGNORECASE)

_BRACKETS = re.compile(r"\[[^\]]*\]|\([^)]*\)|<[^>]*>")
_SPACE_BEFORE_APOSTROPHE = re.compile(r"\s+'")
_HAS = re.compile(r"'s (been|got|had)\b")
_IS_OR_OWNS = re.compile(r"'s\b")
_LONE_ONE = re.compile(r"(?<![\d.$£€])\b1(s?)\b(?![.%]\d?)")
_LOOSE_PERIOD = re.compile(r"\.(?!\d)")
_MONEY = re.compile(r"(\d+(?:\.\d+)?) (dollar|pound|euro)s?\b")
_SIGNS = {"dollar": "$", "pound": "£", "euro": "€"}
_LOOSE_SIGN = re.compile(r"[$£€](?!\d)|(?<!\d)%|(?<!\d)\.")

_SPELLINGS = tuple(
    (re.compile(rf"\b{pattern}\b"), american)
    for pattern, american in (
        (r"(col|fav|hon|lab|neighb|behavi|flav|harb|hum|rum|vap|od|arm|sav|endeav|vig|parl)our"
         r"(s|ed|ing|ite|ites|able|ful|hood|hoods|er|ers|y|al)?", r"\1or\2"),
        (r"(cent|theat|met|lit|fib|calib|lust|spect|kilomet|centimet|millimet)re(s)?", r"\1er\2"),
        (r"(organ|real|recogn|apolog|critic|emphas|final|general|maxim|minim|modern|normal|optim|"
         r"priorit|special|standard|summar|symbol|util|visual|character|categor|memor|author)"
         r"is(e|es|ed|er|ers|ing|ation|ations)", r"\1iz\2"),
        (r"(anal|paral|catal)ys(e|es|ed|ing)", r"\1yz\2"),
        (r"(defen|offen|preten)ce(s)?", r"\1se\2"),
        (r"licence(s)?", r"license\1"),
        (r"(catal|dial|monol|anal)ogue(s)?", r"\1og\2"),
        (r"(travel|cancel|model|label|signal|fuel|level|counsel|marvel|quarrel)l(ed|ing|er|ers)",
         r"\1\2"),
        (r"grey(s|er|est)?", r"gray\1"),
        (r"programme(s)?", r"program\1"),
        (r"(t)yre(s)?", r"\1ire\2"),
        (r"plough(s|ed|ing)?", r"plow\1"),
        (r"sceptic(s|al|ism)?", r"skeptic\1"),
        (r"jewellery", "jewelry"),
        (r"cheque(s)?", r"check\1"),
    )
)  # fmt: skip


def without_contractions(text: str) -> str:
    """Contractions, informal forms and a few titles written out; capitals stay capitals."""
    return _WORD.sub(lambda found: _as_written(found[0], _expanded), text)


def without_fillers(text: str) -> str:
    """The text without "uh", "um", "hmm" and their like."""
    return _FILLERS.sub("", text)


def whisper_style(text: str) -> str:
    """A text by the twelve steps of Whisper's paper, in lower case."""
    text = unicodedata.normalize("NFKC", text).lower()
    text = without_fillers(_BRACKETS.sub("", text))
    text = _HAS.sub(r" has \1", _SPACE_BEFORE_APOSTROPHE.sub("'", text))
    text = _IS_OR_OWNS.sub(" is", without_contractions(text))
    text = _LOOSE_PERIOD.sub(" ", with_digits(text))
    text = _MONEY.sub(lambda found: f"{_SIGNS[found[2]]}{found[1]}", text)
    text = re.sub(r"(?<=\d) percent\b", "%", text)
    text = "".join(_kept(letter) for letter in unicodedata.normalize("NFKD", text))
    for pattern, american in _SPELLINGS:
        text = pattern.sub(american, text)
    text = _LONE_ONE.sub(r"one\1", _LOOSE_SIGN.sub(" ", text))
    return " ".join(text.split())


def _kept(letter: str) -> str:
    """Letters, numbers and signs of numbers; marks vanish, anything else is a space."""
    if letter in "$£€%.":
        return letter
    kind = unicodedata.category(letter)[0]
    if kind in "LN":
        return letter
    return "" if kind == "M" else " "


def _as_written(word: str, change: Callable[[str], str]) -> str:
    """What becomes of a word, with its capitals."""
    changed = change(word.lower())
    if changed == word.lower():
        return word
    if word.isupper() and len(word) > 1:
        return changed.upper()
    return changed[0].upper() + changed[1:] if word[0].isupper() else changed


def _expanded(word: str) -> str:
    plain = word.removesuffix(".")
    if plain in _WHOLE:
        return _WHOLE[plain]
    if plain.endswith("'s") and plain[:-2] in _IS:
        return f"{plain[:-2]} is{word[len(plain) :]}"
    ending = _ENDING.search(plain)
    if ending is None or not plain[: ending.start()]:
        return word
    return plain[: ending.start()] + _ENDINGS[ending[1]] + word[len(plain) :]
