# SPDX-License-Identifier: Apache-2.0
"""The learning rate rises, stays and falls; and settings are checked before a run starts."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenear.config import from_dict, from_json, set_path, to_dict, to_json
from evenear.errors import ConfigError
from evenear.training.settings import OptimizerConfig, TrainingConfig
from training.tone_words import config

schedules = st.builds(
    OptimizerConfig,
    peak_rate=st.floats(1e-5, 1.0),
    warmup_updates=st.integers(1, 50),
    decay_from=st.floats(0.0, 1.0),
    final_ratio=st.floats(0.0, 1.0),
)


@given(schedules, st.integers(1, 300))
def test_the_rate_is_never_above_its_peak_nor_below_zero(schedule, num_updates):
    for update in range(1, num_updates + 1):
        assert 0.0 <= schedule.rate(update, num_updates) <= schedule.peak_rate * (1 + 1e-9)


@given(schedules, st.integers(100, 300))
def test_the_rate_rises_then_never_rises_again(schedule, num_updates):
    rates = [schedule.rate(update, num_updates) for update in range(1, num_updates + 1)]
    # After the warm-up comes the plateau, or a decay that began in the meantime.
    rising, falling = rates[: schedule.warmup_updates - 1], rates[schedule.warmup_updates - 1 :]
    assert all(a < b for a, b in itertools.pairwise(rising))
    assert all(a >= b for a, b in itertools.pairwise(falling))


@given(schedules, st.integers(51, 300))
def test_the_last_rate_is_the_part_of_the_peak_that_was_asked_for(schedule, num_updates):
    if schedule.decay_from < 1.0:
        final = schedule.peak_rate * schedule.final_ratio
        assert schedule.rate(num_updates, num_updates) == pytest.approx(final, abs=1e-12)


def test_the_rate_by_hand():
    schedule = OptimizerConfig(peak_rate=1.0, warmup_updates=4, decay_from=0.5, final_ratio=0.2)
    rates = [schedule.rate(update, 12) for update in (1, 2, 4, 6, 9, 12)]
    assert rates == pytest.approx([0.25, 0.5, 1.0, 1.0, 0.6, 0.2])


def test_a_run_survives_json():
    assert from_json(TrainingConfig, to_json(config())) == config()


def test_the_encoder_may_be_of_either_kind_and_stays_so():
    for name in ("evenear-en-small", "evenear-en-small-lstm", "tiny"):
        from evenear.recipes import recipe

        found = from_dict(TrainingConfig, to_dict(recipe(name)))
        assert type(found.model.encoder) is type(recipe(name).model.encoder)


def test_one_setting_far_down_can_be_changed():
    changed = set_path(config(), "model.encoder.lstm.hidden_dim=64")
    assert changed.model.encoder.lstm.hidden_dim == 64


@pytest.mark.parametrize(
    "assignment",
    ["num_updates=0", "optimizer.peak_rate=-1", "precision=float16", "data.dev_speakers=-1"],
)
def test_settings_out_of_range_are_refused(assignment):
    with pytest.raises(ConfigError, match=assignment.partition("=")[0].rpartition(".")[2]):
        set_path(config(), assignment)


def test_a_misspelled_setting_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match="peak_rate"):
        set_path(config(), "optimizer.peek_rate=1")


def test_the_tokenizer_decides_what_the_model_cannot_know():
    whole = config().model.transducer(vocabulary_size=17, blank_id=5, with_ctc=True)
    assert (whole.vocabulary_size, whole.blank_id, whole.ctc) == (17, 5, True)
    assert whole.encoder == config().model.encoder
