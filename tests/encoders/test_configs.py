# SPDX-License-Identifier: Apache-2.0
"""A config says what it is, and one that was saved before that stays what it was."""

import pytest
from pydantic import TypeAdapter

from evenear.config import to_dict
from evenear.encoders.configs import EncoderConfig
from laws import ENCODERS

ADAPTER: TypeAdapter = TypeAdapter(EncoderConfig)


@pytest.mark.parametrize("name", ENCODERS)
def test_what_is_saved_is_what_is_read(name):
    assert ADAPTER.validate_python(to_dict(ENCODERS[name])) == ENCODERS[name]


@pytest.mark.parametrize(
    "name", [name for name in ENCODERS if not name.startswith(("transformer", "gated"))]
)
def test_what_was_saved_without_a_kind_is_what_it_was(name):
    values = to_dict(ENCODERS[name])
    del values["kind"]
    assert ADAPTER.validate_python(values) == ENCODERS[name]


def test_a_wrong_field_is_named_once_and_not_for_each_kind():
    with pytest.raises(ValueError, match="dimm") as found:
        ADAPTER.validate_python({"kind": "transformer", "dimm": 3})
    assert len(found.value.errors()) == 1


def test_the_global_cnn_is_read_by_the_name_that_older_configs_give_it():
    values = to_dict(ENCODERS["convrnn"])
    values["wide"] = values.pop("global_cnn")
    assert ADAPTER.validate_python(values) == ENCODERS["convrnn"]
