# SPDX-License-Identifier: Apache-2.0
"""Randomness depends on the seed, the purpose and the key, and on nothing else."""

import random
import subprocess
import sys

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from evenear.seeding import rng_for, torch_rng_for

keys = st.one_of(st.text(), st.integers(), st.tuples(st.text(), st.integers(0, 99)))


@given(st.integers(-(2**63), 2**63), st.text(), keys)
def test_the_same_request_gives_the_same_numbers(seed, purpose, key):
    draws = [rng_for(seed, purpose, key).random(4) for _ in range(2)]
    assert np.array_equal(*draws)
    first, second = (torch.rand(4, generator=torch_rng_for(seed, purpose, key)) for _ in range(2))
    assert torch.equal(first, second)


def test_numbers_are_the_same_on_every_machine_and_in_every_year():
    # A golden value: a change of the derivation would silently change every published run.
    assert rng_for(0, "speed", "utt-1").integers(10**9) == 686_195_942
    assert int(torch.randint(10**9, (), generator=torch_rng_for(0, "weights"))) == 564_350_249


def test_the_hash_seed_of_python_plays_no_part():
    program = "from evenear.seeding import rng_for; print(rng_for(3, 'noise', ('u', 1)).random())"
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert printed == {f"{rng_for(3, 'noise', ('u', 1)).random()}\n"}


def test_seed_purpose_and_key_each_change_the_numbers():
    requests = [(0, "a", "k"), (1, "a", "k"), (0, "b", "k"), (0, "a", "l"), (0, "a", ("k", 0))]
    firsts = [rng_for(*request).random() for request in requests]
    assert len(set(firsts)) == len(requests)


def test_the_border_between_purpose_and_key_matters():
    assert rng_for(0, "ab", "c").random() != rng_for(0, "a", "bc").random()


def test_draws_of_different_keys_do_not_resemble_each_other():
    draws = np.array([rng_for(0, "independent", key).standard_normal(400) for key in range(40)])
    between = np.corrcoef(draws)[np.triu_indices(40, 1)]
    # 780 correlations of independent rows: deviation 1/20, so none should reach 5 deviations.
    assert np.abs(between).max() < 0.25
    assert abs(between.std() - 0.05) < 0.005


def test_no_global_generator_is_touched():
    random.seed(1)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.random.get_rng_state()  # noqa: NPY002
    rng_for(0, "x").random()
    torch.rand(2, generator=torch_rng_for(0, "x"))
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.random.get_rng_state()  # noqa: NPY002
    assert before[:2] == after[:2]
    assert torch.equal(before[2], after[2])
