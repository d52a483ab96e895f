# SPDX-License-Identifier: Apache-2.0
"""Which blocks are heard, and how a share of the computation is spent."""

import pytest
import torch

from evenear.encoders.gated.speech import MOST_PLANS, Plan, SpeechGate, SpeechGateConfig
from evenear.errors import ConfigError

PLANS = [Plan(0.7, 32, 1.0), Plan(0.2, 96, 0.25), Plan(0.4, 96, 1.0)]


def gate() -> SpeechGate:
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(1)
        return SpeechGate(SpeechGateConfig(hidden_dim=5), feature_dim=6, stride=4, dim=10).eval()


@torch.no_grad()
@pytest.mark.parametrize("cut", [0, 4, 8, 20])
def test_it_goes_on_where_it_stopped(cut):
    features_BTF, model = torch.randn(2, 24, 6), gate()
    whole_BK, memory_BH = model.step(features_BTF, model.initial_state(2))
    first_BK, state = model.step(features_BTF[:, :cut], model.initial_state(2))
    rest_BK, state = model.step(features_BTF[:, cut:], state)
    torch.testing.assert_close(torch.cat([first_BK, rest_BK], dim=1), whole_BK)
    torch.testing.assert_close(state, memory_BH)
    assert whole_BK.shape == (2, 6)


@torch.no_grad()
def test_an_incomplete_group_ends_with_its_last_frame():
    features_BTF, model = torch.randn(1, 7, 6), gate()
    found_BK, _ = model.step(features_BTF, model.initial_state(1))
    filled_BTF = torch.cat([features_BTF, features_BTF[:, -1:]], dim=1)
    expected_BK, _ = model.step(filled_BTF, model.initial_state(1))
    torch.testing.assert_close(found_BK, expected_BK)


def test_a_block_is_heard_if_any_of_its_frames_is_above_the_threshold():
    model = gate()
    model.threshold.fill_(0.5)
    assert model.is_speech(torch.tensor([-3.0, 0.6, -3.0]))
    assert not model.is_speech(torch.tensor([0.5, 0.4]))


def test_the_dearest_plan_below_what_is_asked_is_taken():
    model = gate()
    model.put_plans(PLANS)
    assert [plan.share for plan in model.plans] == pytest.approx([0.2, 0.4, 0.7])
    assert model.plan(0.9).hop_frames == model.plan(0.7001).hop_frames == 32
    assert model.plan(0.69) == model.plan(0.4001)
    assert model.plan(0.1) == model.plan(0.2) == model.plans[0]


def test_gates_open_in_a_line_between_plans_with_equal_windows():
    model = gate()
    model.put_plans(PLANS)
    assert model.plan(0.3) == pytest.approx(Plan(0.3, 96, 0.625))
    opened = [model.plan(asked / 100).gates for asked in range(20, 41)]
    assert opened == sorted(opened)


def test_a_table_without_plans_or_with_too_many_is_refused():
    model = gate()
    with pytest.raises(ConfigError, match="measured"):
        model.plan(0.5)
    for wrong in ([], [PLANS[0]] * (MOST_PLANS + 1)):
        with pytest.raises(ConfigError, match=str(len(wrong))):
            model.put_plans(wrong)


def test_its_work_is_that_of_its_matrices():
    assert gate().macs == 4 * 6 * 5 + 2 * 3 * 5 * 5 + 5
