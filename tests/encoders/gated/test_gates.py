# SPDX-License-Identifier: Apache-2.0
"""Gates have bounds, and the encoder has all that a pass through its layers asks it."""

import pytest

from evenear.config import from_dict
from evenear.encoders.gated import GateConfig, GatedTransformer
from evenear.encoders.gated.gates import Gated, GatedSettings
from evenear.errors import ConfigError
from laws import ENCODERS


@pytest.mark.parametrize(
    "wrong", [{"compute": 1.5}, {"least": -0.1}, {"stand_in_dim": -1}, {"attention": "heads"}]
)
def test_gates_out_of_range_are_refused_by_name(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        from_dict(GateConfig, wrong)


@pytest.mark.parametrize("name", [name for name in ENCODERS if name.startswith("gated")])
def test_an_encoder_with_gates_answers_what_a_pass_asks(name):
    encoder = ENCODERS[name].build()
    assert isinstance(encoder, GatedTransformer)
    asked = [m for m in vars(Gated) | Gated.__annotations__ if not m.startswith("_")]
    assert len(asked) > 5
    assert [m for m in asked if not hasattr(encoder, m)] == []
    settings = [m for m in vars(GatedSettings) if not m.startswith("_")]
    assert [m for m in settings if not hasattr(encoder.config, m)] == []
