# SPDX-License-Identifier: Apache-2.0
"""Normalizers by name: one of ours, one of ours with steps before it, or your own.

    basic                          any script: no case, no punctuation
    basic+numbers+contractions     English: "twenty-one" is 21, "don't" is "do not"
    whisper                        English, by the steps of Whisper's paper
    my_texts.py:clean              the function `clean` in a file of yours
    package.module:Normalizer      the same of an installed package; a class is made first

Your own takes a text and returns one; its words are what stands between spaces. To name it is to
run it.
"""

import importlib
import importlib.util
import inspect
import unicodedata
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, NamedTuple

from evenear.errors import ConfigError, nearest_names
from evenear.metrics.normalizing.basic import as_it_is, basic, cased, characters, straight
from evenear.metrics.normalizing.english import (
    whisper_style,
    without_contractions,
    without_fillers,
)
from evenear.metrics.normalizing.numbers import with_digits

__all__ = [
    "NORMALIZERS",
    "NORMALIZER_HELP",
    "STEPS",
    "Normalizer",
    "normalize",
    "normalizer_named",
    "normalizer_version",
]

NORMALIZERS: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {
        "basic": basic,
        "cased": cased,
        "characters": characters,
        "none": as_it_is,
        "whisper": whisper_style,
    }
)
"""Ways to normalize, by name.

- basic: NFKC, upper case, apostrophes straight and only inside words, other punctuation to spaces.
- cased: basic, with capitals and small letters as they are.
- characters: basic without apostrophes, then every character (with its marks) a word of its own.
- none: the text as it is.
- whisper: English in lower case, by the steps of Whisper's paper.
"""

STEPS: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {
        "contractions": lambda text: without_contractions(straight(text)),
        "fillers": without_fillers,
        "numbers": with_digits,
    }
)
"""What may be done to English texts before: basic+numbers+contractions."""

NORMALIZER_HELP = (
    f"How texts are made comparable: {', '.join(NORMALIZERS)}; basic+numbers+contractions "
    "(also +fillers) for English; or your own, file.py:function."
)
"""For the help of an option."""

_VERSIONS = {
    "basic": 1, "cased": 1, "characters": 1, "none": 1, "whisper": 1,
    "contractions": 1, "fillers": 1, "numbers": 1,
}  # fmt: skip
_BY_SPACE = frozenset({"basic", "cased", "characters", "none", "contractions"})


class Normalizer(NamedTuple):
    """A way to bring texts into a form in which words are compared."""

    name: str
    function: Callable[[str], str]
    version: str
    """What to print beside a score."""
    is_by_space: bool
    """Whether it treats what stands between two spaces without regard to the rest."""


def normalize(text: str, normalizer: str = "basic") -> str:
    """Bring a text into the form in which words are compared.

    Args:
        text: What was said or recognized.
        normalizer: A name; see this module.

    Raises:
        ConfigError: There is no normalizer of this name.
    """
    return normalizer_named(normalizer).function(text)


def normalizer_version(normalizer: str = "basic") -> str:
    """What to print beside a score: the normalizer's name, version and Unicode's version.

    Raises:
        ConfigError: There is no normalizer of this name.
    """
    return normalizer_named(normalizer).version


@cache
def normalizer_named(name: str) -> Normalizer:
    """The normalizer of a name.

    Raises:
        ConfigError: There is none, or your own cannot be loaded.
    """
    if ":" in name:
        return Normalizer(name, _own(name), f"{name} (own)", is_by_space=False)
    base, *steps = (part.strip() for part in name.split("+"))
    for part, known in ((base, NORMALIZERS), *((step, STEPS) for step in steps)):
        if part not in known:
            what = "normalizer" if known is NORMALIZERS else "step of a normalizer"
            raise ConfigError(
                f"There is no {what} {part!r}.",
                hint=f"{nearest_names(part, known)} Your own is file.py:function.",
            )
    functions = [*(STEPS[step] for step in steps), NORMALIZERS[base]]
    version = "+".join(f"{part}-{_VERSIONS[part]}" for part in (base, *steps))
    return Normalizer(
        name,
        functions[0] if len(functions) == 1 else _chain(functions),
        f"{version} (Unicode {unicodedata.unidata_version})",
        is_by_space=_BY_SPACE.issuperset((base, *steps)),
    )


def _chain(functions: list[Callable[[str], str]]) -> Callable[[str], str]:
    def all_of_them(text: str) -> str:
        for function in functions:
            text = function(text)
        return text

    return all_of_them


def _own(name: str) -> Callable[[str], str]:
    """A function of the user's, checked once on a text."""
    where, _, attribute = name.rpartition(":")
    module = _module(where, name)
    found: Any = getattr(module, attribute, None)
    if found is None:
        public = [one for one in dir(module) if not one.startswith("_")]
        raise ConfigError(
            f"There is no {attribute!r} in {where}.", hint=nearest_names(attribute, public)
        )
    if inspect.isclass(found):
        found = found()
    try:
        said = found("It is 5 o'clock.")
    except Exception as error:
        raise ConfigError(
            f"The normalizer {name} must take a text; it stopped with {error!r}.",
            hint="It is called with one text and returns one.",
        ) from error
    if not isinstance(said, str):
        raise ConfigError(
            f"The normalizer {name} must return a text, got {type(said).__name__}.",
            hint="Join words with spaces.",
        )
    return found


def _module(where: str, name: str) -> ModuleType:
    try:
        if where.endswith(".py"):
            spec = importlib.util.spec_from_file_location(Path(where).stem, where)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
        return importlib.import_module(where)
    except Exception as error:
        raise ConfigError(
            f"The normalizer {name} cannot be loaded: {error}.",
            hint="Write it as file.py:function, or as package.module:function if it is installed.",
        ) from error
