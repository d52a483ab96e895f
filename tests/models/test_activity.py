# SPDX-License-Identifier: Apache-2.0
"""Who speaks is decided without flicker, and a talker alone is handed on as they are.

Dimensions: B streams, G groups of frames, C channels, A states of who speaks, F feature width.
"""

import pytest
import torch

from evenear.errors import StateError
from evenear.models.activity import (
    BOTH,
    FIRST,
    NOBODY,
    SECOND,
    Activity,
    ActivityConfig,
    ActivityDecoder,
    speaks,
    state_of,
)


def sure(*states: int, nats: float = 6.0) -> torch.Tensor:
    """Logits that are sure of these states, (1, G, A)."""
    return nats * torch.eye(4)[list(states)][None]


def decided(config: ActivityConfig, talk_BGA: torch.Tensor) -> tuple[list[list[bool]], ...]:
    decoder = ActivityDecoder(config)
    active_BCG, heard_BCG, _ = decoder.step(talk_BGA, decoder.initial_state(1))
    return active_BCG[0].tolist(), heard_BCG[0].tolist()


def test_what_is_sure_is_decided():
    config = ActivityConfig(switch_cost=2.0, hold_groups=0)
    active, heard = decided(config, sure(NOBODY, FIRST, BOTH, SECOND, NOBODY))
    assert active == [[False, True, True, False, False], [False, False, True, True, False]]
    assert heard == active


def test_a_flicker_is_not_believed():
    config = ActivityConfig(switch_cost=4.0, odd_cost=4.0)
    talk_BGA = torch.cat([sure(FIRST, FIRST), sure(BOTH, nats=3.0), sure(FIRST, FIRST)], dim=1)
    active, _ = decided(config, talk_BGA)
    assert active == [[True] * 5, [False] * 5]
    assert decided(ActivityConfig(switch_cost=0.5), talk_BGA)[0][1] == [0, 0, 1, 0, 0]


def test_the_second_channel_alone_comes_after_both():
    """Behind silence a turn is on the first channel, unless it is much surer of the second."""
    config = ActivityConfig(switch_cost=2.0, odd_cost=4.0)
    unsure_BGA = torch.tensor([[[-9.0, 0.0, 1.0, -9.0]] * 3])
    assert decided(config, unsure_BGA)[0] == [[True] * 3, [False] * 3]
    after_both_BGA = torch.cat([sure(FIRST, BOTH), unsure_BGA], dim=1)
    assert decided(config, after_both_BGA)[0][1][2:] == [True] * 3


def test_whoever_spoke_last_is_held_while_nobody_speaks():
    config = ActivityConfig(switch_cost=1.0, hold_groups=2)
    _, heard = decided(config, sure(FIRST, BOTH, SECOND, NOBODY, NOBODY, NOBODY))
    assert heard == [[1, 1, 0, 0, 0, 0], [0, 1, 1, 1, 1, 0]]


def test_where_both_speak_whoever_began_earlier_can_keep_the_mixture():
    config = ActivityConfig(switch_cost=1.0, hold_groups=0, where_both="earlier")
    talk_BGA = sure(FIRST, BOTH, SECOND, BOTH, BOTH, FIRST, NOBODY)
    active, heard = decided(config, talk_BGA)
    assert active == [[1, 1, 0, 1, 1, 1, 0], [0, 1, 1, 1, 1, 0, 0]]
    assert heard == [[1, 1, 0, 0, 0, 1, 0], [0, 0, 1, 1, 1, 0, 0]]


def test_groups_at_a_time_change_nothing():
    decoder = ActivityDecoder(ActivityConfig())
    talk_BGA = torch.randn(2, 12, 4, generator=torch.Generator().manual_seed(0))
    whole_BCG = decoder.step(talk_BGA, decoder.initial_state(2))[1]
    state, parts = decoder.initial_state(2), []
    for part_BGA in talk_BGA.split(5, dim=1):
        _, heard_BCG, state = decoder.step(part_BGA, state)
        parts.append(heard_BCG)
    assert torch.equal(torch.cat(parts, dim=2), whole_BCG)


def test_states_and_who_speaks_are_two_ways_to_say_one_thing():
    states_BG = torch.tensor([[NOBODY, FIRST, SECOND, BOTH]])
    frames_BTC = speaks(states_BG).repeat_interleave(3, dim=1)
    assert torch.equal(state_of(frames_BTC, 3), states_BG)
    assert torch.equal(state_of(frames_BTC[:, :-2], 3), states_BG)


def test_a_talker_alone_is_handed_on_and_only_both_are_gated():
    activity = Activity(
        ActivityConfig(ahead_groups=0, switch_cost=0.0, odd_cost=0.0, hold_groups=0),
        dim=4,
        feature_dim=1,
        joined=2,
        silence=-7.0,
    )
    with torch.no_grad():
        activity.talk.weight.copy_(torch.eye(4))
        activity.talk.bias.zero_()
        talk_BGA = sure(FIRST, BOTH, SECOND, NOBODY)
        mixture_BGF = torch.arange(1.0, 9.0).view(1, 4, 2)
        frames = list(talk_BGA.split(2, dim=2))
        found = activity.step(mixture_BGF, frames, activity.initial_state(1))
        gated_STF = torch.full((2, 8, 1), 0.5)
        channels_STF = activity.handed_on(found, gated_STF)
    assert channels_STF[0, :, 0].tolist() == [1, 2, 0.5, 0.5, -7, -7, -7, -7]
    assert channels_STF[1, :, 0].tolist() == [-7, -7, 0.5, 0.5, 5, 6, -7, -7]


def test_streams_that_wait_for_different_numbers_of_groups_are_not_batched():
    activity = Activity(ActivityConfig(), dim=2, feature_dim=1, joined=2, silence=0.0)
    state = activity.initial_state(2)
    state = state._replace(counts_B=torch.tensor([0, 1]))
    with pytest.raises(StateError, match="equally many groups"):
        activity.waiting_frames(state)
