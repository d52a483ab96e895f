# SPDX-License-Identifier: Apache-2.0
"""What is settled is what the encoder computes with blocks as long as a window, phase by phase."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from evenear.config import replace
from evenear.encoders.rightcontext import RightContext, window_macs
from evenear.encoders.transformer import TransformerEncoder
from evenear.errors import ConfigError
from evenear.nn.state import split_state, stack_states, state_bytes
from laws import ENCODERS, LAW_TOLERANCE, random_features, tiny_transducer

laws = settings(deadline=None, max_examples=8, derandomize=True)
BLOCK, STRIDE = 8, 4


def encoder() -> TransformerEncoder:
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(3)
        return TransformerEncoder(replace(ENCODERS["transformer"], block_frames=BLOCK)).eval()


def settle(right: RightContext, features_BTF: Tensor, calls: list[int]) -> Tensor:
    """All frames, settled by calls of so many blocks each and the end of the stream."""
    state, settled, start = right.initial_state(len(features_BTF)), [], 0
    for blocks in calls:
        heard = right.step(features_BTF[:, start : start + blocks * BLOCK], state)
        settled.append(heard.settled_BTD)
        state, start = heard.state, start + blocks * BLOCK
    last_BTD, _ = right.finish(features_BTF[:, start:], state)
    return torch.cat([*settled, last_BTD], dim=1)


def written_out(model: TransformerEncoder, features_BTF: Tensor, right_frames: int) -> Tensor:
    """Each phase on its own: the whole stream in blocks as long as a window, the first one cut."""
    window, num_frames = right_frames + BLOCK, features_BTF.shape[1]
    phases = []
    for first in range(BLOCK, window + 1, BLOCK):
        state, parts = model.initial_state(len(features_BTF)), []
        start, end = 0, first
        while start < num_frames:
            encoded_BTD, state = model.hear(features_BTF[:, start:end], state)
            parts.append(encoded_BTD)
            start, end = end, end + window
        phases.append(torch.cat(parts, dim=1))
    frames = []
    for frame in range(phases[0].shape[1]):
        block = frame * STRIDE // BLOCK
        ends = block + len(phases)  # of the window in which this block is the oldest, in blocks
        ends = min(ends, num_frames // BLOCK + 1)  # at the end, one window settles all
        phase = (ends - 1) % len(phases)
        frames.append(phases[phase][:, frame])
    return torch.stack(frames, dim=1)


@torch.no_grad()
@pytest.mark.parametrize("right_frames", [8, 16, 24])
@pytest.mark.parametrize("num_frames", [3, 8, 16, 29, 40, 64])
def test_what_is_settled_is_each_phase_on_its_own(right_frames, num_frames):
    model, features_BTF = encoder(), random_features(num_frames, batch_size=2)
    found = settle(RightContext(model, right_frames), features_BTF, [num_frames // BLOCK])
    expected = written_out(model, features_BTF, right_frames)
    assert found.shape[1] == -(-num_frames // STRIDE)
    torch.testing.assert_close(found, expected[:, : found.shape[1]], atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("right_frames", [8, 24])
def test_calls_of_any_number_of_blocks_settle_the_same(right_frames):
    right = RightContext(encoder(), right_frames)

    @laws
    @given(calls=st.lists(st.integers(0, 3), max_size=6), rest=st.integers(0, 11))
    def check(calls, rest):
        features_BTF = random_features(sum(calls) * BLOCK + rest)
        if not features_BTF.shape[1]:
            return
        whole = settle(right, features_BTF, [features_BTF.shape[1] // BLOCK])
        parts = settle(right, features_BTF, calls)
        torch.testing.assert_close(parts, whole, atol=LAW_TOLERANCE, rtol=0)

    check()


@torch.no_grad()
def test_frames_are_heard_ahead_at_once_and_settled_later():
    right = RightContext(encoder(), 2 * BLOCK)
    features_BTF, state = random_features(6 * BLOCK), right.initial_state(1)
    for block in range(6):
        heard = right.step(features_BTF[:, block * BLOCK : (block + 1) * BLOCK], state)
        state = heard.state
        settled, ahead = heard.settled_BTD.shape[1], heard.ahead_BTD.shape[1]
        assert settled == (BLOCK // STRIDE if block >= 2 else 0)
        assert ahead == min(block + 1, 2) * BLOCK // STRIDE


@torch.no_grad()
def test_what_comes_later_changes_nothing_that_was_given():
    right = RightContext(encoder(), BLOCK)
    first, other = random_features(40), random_features(40, seed=1)
    changed = torch.cat([first[:, :24], other[:, 24:]], dim=1)
    before, after = (right.step(f[:, :24], right.initial_state(1)) for f in (first, changed))
    assert torch.equal(before.settled_BTD, after.settled_BTD)
    assert torch.equal(before.ahead_BTD, after.ahead_BTD)


@torch.no_grad()
def test_strangers_at_one_phase_do_not_meet():
    right, features_BTF = RightContext(encoder(), BLOCK), random_features(40, batch_size=3)
    alone = [settle(right, features_BTF[b : b + 1], [2, 3]) for b in range(3)]
    states = [right.step(f[None, :16], right.initial_state(1)).state for f in features_BTF]
    heard = right.step(features_BTF[:, 16:], stack_states(states))
    parts = split_state(heard.state, 3)
    for b in range(3):
        last, _ = right.finish(features_BTF[b : b + 1, 40:], parts[b])
        together = torch.cat([alone[b][:, :2], heard.settled_BTD[b : b + 1], last], dim=1)
        torch.testing.assert_close(together, alone[b], atol=LAW_TOLERANCE, rtol=0)


@torch.no_grad()
def test_the_state_does_not_grow():
    right, features_BTF = RightContext(encoder(), 2 * BLOCK), random_features(400)
    state = right.step(features_BTF[:, :80], right.initial_state(1)).state
    assert state_bytes(right.step(features_BTF[:, 80:], state).state) == state_bytes(state)


@pytest.mark.parametrize("right_frames", [0, 4, 12, -8])
def test_right_context_is_whole_blocks(right_frames):
    with pytest.raises(ConfigError, match="whole blocks of 8"):
        RightContext(encoder(), right_frames)


@torch.no_grad()
@pytest.mark.parametrize("right_frames", [8, 16, 24])
@pytest.mark.parametrize("num_frames", [3, 8, 16, 21, 29, 40, 64])
def test_whole_streams_at_one_go_settle_the_same(right_frames, num_frames):
    right, features_BTF = RightContext(encoder(), right_frames), random_features(num_frames)
    settled = settle(right, features_BTF, [num_frames // BLOCK])
    torch.testing.assert_close(right.whole(features_BTF), settled, atol=LAW_TOLERANCE, rtol=0)


def test_what_windows_cost_is_counted_as_gates_count_it():
    gated = tiny_transducer("gated-thrifty").encoder
    own = gated.config.backbone
    once = window_macs(own, block_frames=8, right_frames=0, num_frames=40)
    assert once == pytest.approx(gated.dense_total(20))
    parts = [
        window_macs(own, block_frames=8, right_frames=8, num_frames=each, heard=heard)
        for each, heard in ((24, 0), (16, 24))
    ]
    twice = window_macs(own, block_frames=8, right_frames=8, num_frames=40)
    assert twice == pytest.approx(sum(parts))
    windows = [8 * gated.dense_macs(min(4 * block, 5) + 8)[1] for block in range(5)]
    assert twice == pytest.approx(sum(windows))  # two places, four frames each
