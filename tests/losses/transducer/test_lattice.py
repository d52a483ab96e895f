# SPDX-License-Identifier: Apache-2.0
"""The lattice as flow: all paths go in at the first cell and come out at the last.

Dimensions: B utterances, T frames, U tokens (a lattice has U + 1 columns).
"""

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.errors import ConfigError
from evenear.losses.transducer.lattice import choose_backend, lattice_log_prob, lattice_occupancies
from evenear.seeding import torch_rng_for
from losses.alignments import LATTICES, walked_loss

SIZES = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3)), min_size=1, max_size=4)


def random_arcs(sizes, seed):
    rng = torch_rng_for(seed, "lattice-test", sizes)
    shape = (len(sizes), max(t for t, _ in sizes) + 1, max(u for _, u in sizes) + 2)
    arcs = [-3 * torch.rand(shape, generator=rng, dtype=torch.float64) for _ in range(2)]
    lengths = torch.tensor(sizes)
    return arcs[0], arcs[1], lengths[:, 0], lengths[:, 1]


@pytest.mark.parametrize("lattice", LATTICES)
@settings(deadline=None, max_examples=40)
@given(sizes=SIZES, seed=st.integers(0, 1000))
def test_occupancies_are_the_derivative_of_the_sum_over_paths(lattice, sizes, seed):
    blank_BTU, label_BTU, *lengths = random_arcs(sizes, seed)
    found = lattice_occupancies(blank_BTU.clone(), label_BTU.clone(), *lengths, lattice=lattice)
    value_B = lattice_log_prob(blank_BTU, label_BTU, *lengths, lattice=lattice)
    torch.testing.assert_close(value_B, found.log_prob_B, rtol=0, atol=1e-12)
    blank_BTU.requires_grad_()
    label_BTU.requires_grad_()
    for b, (t, u) in enumerate(sizes):
        log_prob = -walked_loss(blank_BTU[b, :t, : u + 1], label_BTU[b, :t, :u])
        torch.testing.assert_close(found.log_prob_B[b], log_prob.detach(), rtol=0, atol=1e-10)
        derivatives = torch.autograd.grad(log_prob, (blank_BTU, label_BTU), materialize_grads=True)
        torch.testing.assert_close(found.blank_BTU[b], derivatives[0][b], rtol=0, atol=1e-10)
        torch.testing.assert_close(found.label_BTU[b], derivatives[1][b], rtol=0, atol=1e-10)


@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_each_frame_is_left_once_and_each_token_emitted_once(lattice, dtype):
    sizes = [(60, 25), (33, 0), (7, 30), (1, 4)]
    blank_BTU, label_BTU, *lengths = random_arcs(sizes, 0)
    scores = (blank_BTU.to(dtype), label_BTU.to(dtype))
    found = lattice_occupancies(*scores, *lengths, lattice=lattice)
    assert found.blank_BTU.dtype == found.log_prob_B.dtype == dtype
    tolerance = {"rtol": 0, "atol": 50 * torch.finfo(dtype).eps}
    for b, (t, u) in enumerate(sizes):
        frames_T, tokens_U = found.blank_BTU[b].sum(-1), found.label_BTU[b].sum(0)
        assert float(found.blank_BTU[b, t:].sum() + found.label_BTU[b, :, u:].sum()) == 0
        torch.testing.assert_close(frames_T[:t], torch.ones(t, dtype=dtype), **tolerance)
        torch.testing.assert_close(tokens_U[:u], torch.ones(u, dtype=dtype), **tolerance)


@pytest.mark.parametrize("threads", [1, 2])
def test_compiled_and_torch_lattices_agree(threads):
    sizes = [(60, 25), (33, 0), (7, 30), (1, 4), (50, 50)]
    blank_BTU, label_BTU, *lengths = random_arcs(sizes, 1)
    label_BTU[:, 5:9, 3] = -torch.inf
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = [
            lattice_occupancies(blank_BTU.clone(), label_BTU.clone(), *lengths, lattice=lattice)
            for lattice in ("torch", "numba")
        ]
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("lattice", LATTICES)
def test_not_a_number_stays_visible_and_in_its_utterance(lattice):
    blank_BTU, label_BTU, *lengths = random_arcs([(4, 2), (4, 2)], 2)
    blank_BTU[0, 1, 1] = torch.nan
    found = lattice_occupancies(blank_BTU, label_BTU, *lengths, lattice=lattice)
    assert found.log_prob_B.isnan().tolist() == [True, False]
    assert not found.blank_BTU[1].isnan().any()


def test_automatic_choice_is_compiled_on_the_cpu_and_torch_elsewhere():
    assert choose_backend("auto", torch.device("cpu")) == "numba"
    assert choose_backend("auto", torch.device("cuda")) == "torch"
    assert choose_backend("torch", torch.device("cpu")) == "torch"
    with pytest.raises(ConfigError, match="needs tensors on the CPU, got cuda"):
        choose_backend("numba", torch.device("cuda"))


NUMBA_ANYWAY = """
import sys
sys.modules["numba"] = None
import torch
from evenear.errors import MissingDependencyError
from evenear.losses.transducer.lattice import choose_backend
assert choose_backend("auto", torch.device("cpu")) == "torch"
try:
    choose_backend("numba", torch.device("cpu"))
except MissingDependencyError as error:
    print(error.hint)
"""


def test_wanting_numba_without_having_it_says_how_to_get_it():
    command = [sys.executable, "-c", NUMBA_ANYWAY]
    run = subprocess.run(command, capture_output=True, check=True, text=True)
    assert "pip install numba" in run.stdout
