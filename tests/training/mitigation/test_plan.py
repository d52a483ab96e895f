# SPDX-License-Identifier: Apache-2.0
"""A repair is one value, which survives its file; every method has something to try."""

from typing import get_args

import pytest

from evenear.config import from_json, to_json
from evenear.errors import ConfigError
from evenear.training.mitigation.plan import METHODS, MethodName, MitigationConfig
from training.mitigation.tone_speakers import plan


def test_every_method_has_a_dial_and_says_what_it_does():
    assert set(METHODS) == set(get_args(MethodName))
    assert all(dial.settings and dial.about for dial in METHODS.values())


def test_a_repair_survives_its_file():
    assert from_json(MitigationConfig, to_json(plan("replay"))) == plan("replay")


def test_a_share_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="tuning_share"):
        from_json(
            MitigationConfig, to_json(plan()).replace('"tuning_share": 0.2', '"tuning_share": 2')
        )


def test_only_ewc_needs_fisher_information():
    assert [name for name in METHODS if plan(name).needs_fisher] == ["ewc"]
