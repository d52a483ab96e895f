# SPDX-License-Identifier: Apache-2.0
"""The laws of streaming, for every encoder and every option."""

import resource
import time

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bfloat16 import need_bfloat16
from evenear.encoders.base import Encoder
from evenear.models.transducer import Transducer
from evenear.nn.state import state_bytes
from evenear.recipes.convrnnt import VARIANTS
from evenear.seeding import torch_rng_for
from laws import (
    ENCODERS,
    chunkings,
    encode_in_chunks,
    law_batching_strangers_changes_nothing,
    law_chunking_changes_nothing,
    law_padding_changes_nothing,
    law_state_size_is_constant,
    law_step_does_not_touch_its_input,
    law_the_future_is_invisible,
    random_features,
    tiny_transducer,
)

laws = settings(deadline=None, max_examples=12, derandomize=True)


def encoder(name: str) -> Encoder:
    return tiny_transducer(name).encoder


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.no_grad():
        yield


@pytest.mark.parametrize("name", ENCODERS)
@laws
@given(data=st.data(), num_frames=st.integers(0, 40), seed=st.integers(0, 3))
def test_chunking_changes_nothing(name, data, num_frames, seed):
    chunks = data.draw(chunkings(num_frames))
    features_BTF = random_features(num_frames, batch_size=2, seed=seed)
    law_chunking_changes_nothing(encoder(name), features_BTF, chunks)


@pytest.mark.parametrize("name", ENCODERS)
def test_one_frame_at_a_time_is_the_whole_utterance(name):
    law_chunking_changes_nothing(encoder(name), random_features(101), [1] * 101)


@pytest.mark.parametrize("name", ENCODERS)
@laws
@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=4), seed=st.integers(0, 3))
@example(lengths=[1, 2, 3, 30], seed=0)
def test_padding_changes_nothing(name, lengths, seed):
    features_BTF = random_features(max(lengths), batch_size=len(lengths), seed=seed)
    law_padding_changes_nothing(encoder(name), features_BTF, lengths)


@pytest.mark.parametrize("name", ENCODERS)
@laws
@given(heard=st.lists(st.integers(0, 9), min_size=1, max_size=4), seed=st.integers(0, 3))
@example(heard=[0, 9, 3], seed=1)
def test_batching_strangers_changes_nothing(name, heard, seed):
    features_BTF = random_features(30, batch_size=len(heard), seed=seed)
    law_batching_strangers_changes_nothing(encoder(name), features_BTF, heard)


@pytest.mark.parametrize("name", ENCODERS)
@laws
@given(frame=st.integers(0, 20), seed=st.integers(0, 3))
def test_the_future_is_invisible(name, frame, seed):
    law_the_future_is_invisible(encoder(name), random_features(24, seed=seed), frame)


@pytest.mark.parametrize("name", ENCODERS)
@laws
@given(heard=st.integers(0, 9))
def test_a_step_does_not_touch_its_input(name, heard):
    features_BTF = random_features(12, batch_size=2)
    law_step_does_not_touch_its_input(encoder(name), features_BTF, heard)


@pytest.mark.parametrize("name", ENCODERS)
def test_the_state_does_not_grow(name):
    law_state_size_is_constant(encoder(name), random_features(40, batch_size=2))


@pytest.mark.parametrize("name", ENCODERS)
def test_no_frames_make_no_frames_and_leave_the_state_as_it_is(name):
    features_BTF = random_features(6, batch_size=2)
    model = encoder(name)
    _, state = model.step(features_BTF[:, :4], model.initial_state(2))
    empty_BTD, same = model.step(features_BTF[:, :0], state)
    assert empty_BTD.shape == (2, 0, model.dim)
    first_BTD, _ = model.step(features_BTF[:, 4:], state)
    second_BTD, _ = model.step(features_BTF[:, 4:], same)
    assert torch.equal(first_BTD, second_BTD)


@pytest.mark.parametrize("name", ENCODERS)
def test_bfloat16_streams_stay_within_five_percent_of_float32(name):
    """Of the largest output. A state may be kept in either."""
    need_bfloat16()
    features_BTF = random_features(60, batch_size=2)
    model = encoder(name)
    whole_BTD = model(features_BTF, torch.tensor([60, 60])).encoded_BTD
    with torch.autocast("cpu", dtype=torch.bfloat16):
        narrow_BTD = encode_in_chunks(model, features_BTF, [7, 1, 0, 22, 30])
    error = (narrow_BTD.float() - whole_BTD).abs().max()
    assert error < 0.05 * whole_BTD.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_a_stream_of_ten_minutes_costs_no_more_time_or_memory_than_a_young_one(name):
    """In chunks of 480 ms, at the small sizes of the ConvRNN-T comparison.

    Steps of both alternate, so that whatever else the machine does slows both.
    """
    settings = VARIANTS[name]()
    config = settings.model.transducer(vocabulary_size=16, blank_id=0, with_ctc=False)
    model = Transducer(config).eval().encoder
    chunk_BTF = torch.randn(1, 16, model.feature_dim, generator=torch_rng_for(0, "long stream"))

    def heard(chunks: int):
        state = model.initial_state(1)
        for _ in range(chunks):
            _, state = model.step(chunk_BTF, state)
        return state

    young = heard(20)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    old = heard(1250)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 1.02 * peak
    assert state_bytes(old) == state_bytes(young) == state_bytes(model.initial_state(1))
    seconds: dict[str, list[float]] = {"young": [], "old": []}
    for _ in range(100):
        for age, state in (("young", young), ("old", old)):
            began = time.process_time()
            model.step(chunk_BTF, state)
            seconds[age].append(time.process_time() - began)
    young_median, old_median = (sorted(one)[50] for one in seconds.values())
    assert old_median < 1.2 * young_median
