# SPDX-License-Identifier: Apache-2.0
"""Weights come back from a narrow type as near as it allows."""

import pytest
import torch

from evenear.checkpoint.weights import stored, widened
from evenear.errors import CheckpointError

WEIGHTS = {
    "matrix": torch.linspace(-3, 5, 12).reshape(3, 4),
    "vector": torch.linspace(-1, 1, 7),
    "count": torch.tensor(3),
}


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_vectors_and_counts_are_kept_exactly(dtype):
    found = widened(stored(WEIGHTS, dtype))
    assert found.keys() == WEIGHTS.keys()
    for name in ("vector", "count"):
        assert torch.equal(found[name], WEIGHTS[name])
        assert found[name].dtype == WEIGHTS[name].dtype


@pytest.mark.parametrize(
    ("dtype", "step"), [("float32", 0), ("float16", 2**-10), ("int8", 1 / 127)]
)
def test_matrices_are_rounded_to_half_a_step(dtype, step):
    narrow = stored(WEIGHTS, dtype)
    assert str(narrow["matrix"].dtype) == f"torch.{dtype}"
    error = (widened(narrow)["matrix"] - WEIGHTS["matrix"]).abs()
    assert (error <= step / 2 * WEIGHTS["matrix"].abs().amax(dim=1, keepdim=True) * 1.01).all()


def test_what_does_not_fit_is_named():
    with pytest.raises(CheckpointError, match="weight big does not fit float16: it reaches 1e"):
        stored({"big": torch.full((2, 2), 1e6)}, "float16")


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_weights_of_older_files_get_the_names_of_today(dtype):
    older = {f"{place}encoder.wide.0.mix.weight": WEIGHTS["matrix"] for place in ("", "model.")}
    older["encoder.widen.weight"] = WEIGHTS["matrix"]
    assert widened(stored(older, dtype)).keys() == {
        "encoder.global_cnn.0.mix.weight",
        "model.encoder.global_cnn.0.mix.weight",
        "encoder.widen.weight",
    }
