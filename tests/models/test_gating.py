# SPDX-License-Identifier: Apache-2.0
"""Gates around a recognizer that has none: at 1 it is what it was.

Legend: B utterances, T feature frames, F feature width.
"""

import pytest
import torch

from evenear.encoders.gated import GateConfig
from evenear.errors import ConfigError
from evenear.models.gating import with_gates
from laws import random_features, tiny_transducer

LENGTHS_B = torch.tensor([60, 41])


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.no_grad():
        yield


@pytest.mark.parametrize("gates", [GateConfig(), GateConfig(adapter_rank=2, ff_parts=4)])
def test_at_one_the_model_is_what_it_was(gates):
    dense = tiny_transducer("transformer")
    gated = with_gates(dense, gates)
    features_BTF = random_features(60, batch_size=2)
    one, other = (model.encode(features_BTF, LENGTHS_B) for model in (dense, gated))
    assert torch.equal(one.encoded_BTD, other.encoded_BTD)
    assert torch.equal(dense.joiner.output.weight, gated.joiner.output.weight)


def test_gates_need_a_transformer():
    with pytest.raises(ConfigError, match="Transformer"):
        with_gates(tiny_transducer("conformer"), GateConfig())
