# SPDX-License-Identifier: Apache-2.0
"""Configs are frozen, strict and the same after a trip through JSON."""

import dataclasses
import json
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from evenear.config import config, from_dict, from_json, replace, set_path, to_dict, to_json
from evenear.errors import ConfigError
from evenear.recipes import RECIPES, recipe


@config
class Inner:
    kind: Literal["inner"] = "inner"
    dim: int = Field(default=4, ge=1)
    names: tuple[str, ...] = ()


@config
class Other:
    kind: Literal["other"] = "other"
    width: float = 1.0


@config
class Outer:
    name: str
    part: Inner | Other = Field(default=Inner(), discriminator="kind")
    scale: float | None = None


outers = st.builds(
    Outer,
    name=st.text(),
    part=st.one_of(
        st.builds(Inner, dim=st.integers(1, 10**9), names=st.lists(st.text()).map(tuple)),
        st.builds(Other, width=st.floats(allow_nan=False, allow_infinity=False)),
    ),
    scale=st.none() | st.floats(allow_nan=False, allow_infinity=False),
)


@given(outers)
def test_json_and_back_is_the_same_config(value):
    assert from_json(Outer, to_json(value)) == value


@given(outers)
def test_plain_values_and_back_are_the_same_config(value):
    plain = to_dict(value)
    assert json.loads(json.dumps(plain)) == plain
    assert from_dict(Outer, plain) == value


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_survives_json(name):
    value = recipe(name)
    assert from_json(type(value), to_json(value)) == value


def test_a_config_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Inner().dim = 8  # pyright: ignore[reportAttributeAccessIssue]


def test_an_unknown_field_is_refused_with_the_nearest_known():
    with pytest.raises(ConfigError, match=r"nam: no such field\. Did you mean 'name'\?"):
        from_dict(Outer, {"name": "a", "nam": 1})


def test_an_unknown_field_far_down_is_refused_by_its_path():
    with pytest.raises(ConfigError, match=r"part\.inner\.dims: no such field"):
        from_dict(Outer, {"name": "a", "part": {"kind": "inner", "dims": 5}})


def test_an_unknown_field_far_down_gets_names_from_its_own_level():
    with pytest.raises(ConfigError, match="Did you mean 'dim'"):
        from_dict(Outer, {"name": "a", "part": {"kind": "inner", "dims": 5}})


def test_every_problem_is_named_at_once():
    with pytest.raises(ConfigError) as caught:
        from_dict(Outer, {"part": {"kind": "inner", "dim": 0}, "scale": "wide"})
    for field in ("name", "dim", "scale"):
        assert field in str(caught.value)


def test_a_value_out_of_range_is_shown_with_what_came():
    with pytest.raises(ConfigError, match=r"greater than or equal to 1 \(got 0\)"):
        from_dict(Inner, {"dim": 0})


def test_what_is_no_json_is_refused_with_its_line():
    with pytest.raises(ConfigError, match="Inner must be JSON; line 2"):
        from_json(Inner, '{"dim": 3,\n oops}')


@pytest.mark.parametrize("text", ["[]", "3", "null", '"dim"'])
def test_json_that_is_no_object_is_refused(text):
    with pytest.raises(ConfigError, match="Inner"):
        from_json(Inner, text)


def test_replacing_checks_again():
    assert replace(Inner(), dim=9) == Inner(dim=9)
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        replace(Inner(), dim=0)


def test_a_path_sets_one_field_and_leaves_the_rest():
    value = Outer(name="a", part=Inner(dim=2, names=("x",)))
    changed = set_path(value, "part.dim=7")
    assert changed == Outer(name="a", part=Inner(dim=7, names=("x",)))
    assert value.part == Inner(dim=2, names=("x",))


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("name=plain words", Outer(name="plain words")),
        ("name=a=b", Outer(name="a=b")),
        ("scale=1e-3", Outer(name="n", scale=1e-3)),
        ("scale=null", Outer(name="n")),
        ('part={"kind": "other", "width": 2}', Outer(name="n", part=Other(width=2.0))),
        ('part.names=["x", "y"]', Outer(name="n", part=Inner(names=("x", "y")))),
    ],
)
def test_values_are_read_as_json_or_else_as_text(assignment, expected):
    assert set_path(Outer(name="n"), assignment) == expected


def test_a_path_that_leads_nowhere_names_the_nearest():
    with pytest.raises(ConfigError, match=r"no setting 'part\.dmi'\. Did you mean 'dim'\?"):
        set_path(Outer(name="n"), "part.dmi=3")


def test_a_path_through_a_plain_value_leads_nowhere():
    with pytest.raises(ConfigError, match="no setting"):
        set_path(Outer(name="n"), "name.length=3")


def test_a_path_whose_end_has_the_name_of_its_start_goes_all_the_way():
    @config
    class Nested:
        part: Inner = Inner()

    @config
    class Twice:
        part: Nested = Nested()

    changed = set_path(Twice(), 'part.part={"dim": 6}')
    assert changed.part.part.dim == 6
    with pytest.raises(ConfigError):
        set_path(Twice(), "part.part.part=1")


def test_an_assignment_needs_an_equals_sign():
    with pytest.raises(ConfigError, match="field=value"):
        set_path(Inner(), "dim")


def test_a_set_value_is_checked():
    with pytest.raises(ConfigError, match="dim"):
        set_path(Inner(), "dim=many")
