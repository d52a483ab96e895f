# SPDX-License-Identifier: Apache-2.0
import pytest

from evenear.errors import ConfigError
from evenear.metrics.normalizing.named import (
    NORMALIZER_HELP,
    NORMALIZERS,
    STEPS,
    normalize,
    normalizer_named,
    normalizer_version,
)


def test_steps_come_before_the_normalizer_in_their_order():
    assert normalize("I don't owe $1,000!", "basic+contractions+numbers") == (
        "I DO NOT OWE 1000 DOLLARS"
    )
    assert normalize("um, I owe", "cased+fillers") == "I owe"
    assert normalizer_version("basic+numbers").startswith("basic-1+numbers-1 (Unicode ")
    for name in (*NORMALIZERS, *STEPS):
        assert name in NORMALIZER_HELP


def test_only_what_looks_at_single_words_may_be_cut_at_spaces():
    by_space = {name for name in NORMALIZERS if normalizer_named(name).is_by_space}
    assert by_space == {"basic", "cased", "characters", "none"}
    assert normalizer_named("basic+contractions").is_by_space
    assert not normalizer_named("basic+numbers").is_by_space


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("basics", "no normalizer 'basics'"),
        ("basic+number", "no step of a normalizer 'number'"),
        ("numbers", "no normalizer 'numbers'"),
        ("no_such_package_here:clean", "cannot be loaded"),
        ("math:pii", "no 'pii' in math"),
        ("math:sqrt", "must take a text"),
        ("builtins:len", "must return a text, got int"),
        ("nowhere.py:clean", "cannot be loaded"),
    ],
)
def test_names_that_mean_nothing_are_refused(name, said):
    with pytest.raises(ConfigError, match=said):
        normalize("a", name)


def test_your_own_is_a_function_or_class_of_a_file_or_package(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "def clean(text):\n    return text.replace('colour', 'color')\n"
        "class Cleaner:\n    def __call__(self, text):\n        return text.lower()\n",
        encoding="utf-8",
    )
    assert normalize("the colour", f"{path}:clean") == "the color"
    assert normalize("THE", f"{path}:Cleaner") == "the"
    assert normalize("a & b", "html:escape") == "a &amp; b"
    assert normalizer_version("html:escape") == "html:escape (own)"
