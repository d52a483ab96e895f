# SPDX-License-Identifier: Apache-2.0
"""Conversations keep their promises: no third voice, nobody over themselves, exact times."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.config import replace
from evenear.data.conversations.mixtures import (
    MixtureConfig,
    MixturePlan,
    PlannedTurn,
    activity,
    assign_channels,
    overlap_ratio,
    plan_from_json,
    plan_mixture,
    plan_to_json,
    render,
)
from evenear.data.conversations.sounds import Sounds, Voice
from evenear.errors import ConfigError, ManifestError
from evenear.units import FrameClock

RATE = 16_000
CLEAN = MixtureConfig(room_chance=0.0, noise_chance=0.0)


class Hums(Sounds):
    """Each speaker hums at a pitch of their own, some seconds long."""

    def __init__(self, speakers: int = 4, each: int = 3) -> None:
        self.voices = [
            Voice(f"{s}-{n}", f"speaker {s}", f"TEXT {s} {n}")
            for s in range(speakers)
            for n in range(each)
        ]
        self.lengths = [round(RATE * (0.6 + 0.37 * i % 2.3)) for i in range(len(self.voices))]

    def bounds(self, index):
        return 160, self.lengths[index] - 320

    def samples(self, index):
        time_N = np.arange(self.lengths[index]) / RATE
        speaker = int(self.voices[index].speaker.split()[1])
        return (0.1 * np.sin(2 * np.pi * (200 + 150 * speaker) * time_N)).astype(np.float32)


HUMS = Hums()
configs = st.builds(
    MixtureConfig,
    num_turns=st.sampled_from([(1, 5), (2, 2), (5, 8)]),
    num_speakers=st.sampled_from([(1, 1), (2, 2), (2, 4)]),
    same_speaker_chance=st.sampled_from([0.0, 0.3, 1.0]),
    overlap_chance=st.sampled_from([0.0, 0.7, 1.0]),
    overlap_part=st.sampled_from([(0.1, 0.8), (1.0, 1.0)]),
    assignment=st.sampled_from(["overlap", "first-free"]),
)
seeds = st.integers(0, 2**20)


def overlaps(a: PlannedTurn, b: PlannedTurn) -> bool:
    return a.start_sample < b.end_sample and b.start_sample < a.end_sample


@given(configs, seeds)
def test_at_most_two_speak_and_nobody_over_themselves_or_their_channel(config, seed):
    plan = plan_mixture(config, HUMS, seed=seed, mixture_id="m")
    for a, b in itertools.combinations(plan.turns, 2):
        if overlaps(a, b):
            assert a.speaker != b.speaker
            assert a.channel != b.channel
    for a, b, c in itertools.combinations(plan.turns, 3):
        latest = max(t.start_sample for t in (a, b, c))
        assert latest >= min(t.end_sample for t in (a, b, c))


@given(configs, seeds)
def test_a_plan_is_in_order_inside_its_sound_and_has_as_many_turns_as_asked(config, seed):
    plan = plan_mixture(config, HUMS, seed=seed, mixture_id="m")
    starts = [turn.start_sample for turn in plan.turns]
    assert starts == sorted(starts)
    assert starts[0] >= 0
    assert max(turn.end_sample for turn in plan.turns) <= plan.num_samples
    assert config.num_turns[0] <= len(plan.turns) <= config.num_turns[1]
    for turn in plan.turns:
        index = HUMS.by_id()[turn.utterance_id]
        assert (turn.first_sample, turn.first_sample + turn.num_samples) == HUMS.bounds(index)


@given(seeds)
def test_a_plan_depends_on_seed_and_name_alone(seed):
    first = plan_mixture(CLEAN, HUMS, seed=seed, mixture_id="a")
    plan_mixture(CLEAN, HUMS, seed=seed, mixture_id="b")
    assert plan_mixture(CLEAN, HUMS, seed=seed, mixture_id="a") == first
    other = plan_mixture(CLEAN, HUMS, seed=seed + 1, mixture_id="a")
    assert other.num_samples != first.num_samples


@given(configs, seeds)
def test_without_a_chance_of_overlap_there_is_none(config, seed):
    plan = plan_mixture(replace(config, overlap_chance=0.0), HUMS, seed=seed, mixture_id="m")
    assert overlap_ratio(plan) == 0.0
    if config.assignment == "overlap":
        assert {turn.channel for turn in plan.turns} == {0}


@settings(max_examples=20)
@given(configs, seeds)
def test_plans_survive_json(config, seed):
    plan = plan_mixture(config, HUMS, seed=seed, mixture_id="m")
    assert plan_from_json(plan_to_json(plan)) == plan


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_the_mixture_is_the_sum_of_its_channels(seed):
    mixture = render(plan_mixture(CLEAN, HUMS, seed=seed, mixture_id="m"), HUMS)
    np.testing.assert_allclose(mixture.samples_N, mixture.sources_CN.sum(axis=0), atol=1e-6)
    assert np.abs(mixture.samples_N).max() <= 0.991


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_each_channel_sounds_exactly_while_its_turns_last(seed):
    plan = plan_mixture(CLEAN, HUMS, seed=seed, mixture_id="m")
    mixture = render(plan, HUMS)
    for channel in range(2):
        silent_N = np.ones(plan.num_samples, bool)
        for turn in plan.turns:
            if turn.channel == channel:
                silent_N[turn.start_sample : turn.end_sample] = False
        assert not np.any(mixture.sources_CN[channel][silent_N])


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_turns_have_the_planned_level(seed):
    plan = plan_mixture(CLEAN, HUMS, seed=seed, mixture_id="m")
    mixture = render(plan, HUMS)
    for turn in plan.turns:
        part_N = mixture.sources_CN[turn.channel, turn.start_sample : turn.end_sample]
        level_db = 10 * np.log10(np.square(part_N, dtype=np.float64).mean())
        assert level_db == pytest.approx(turn.level_db, abs=0.01)


@settings(max_examples=10, deadline=None)
@given(seeds, st.floats(5.0, 30.0))
def test_noise_is_as_loud_as_its_ratio_says_and_in_no_channel(seed, snr_db):
    config = replace(CLEAN, noise_chance=1.0, noise_snr_db=(snr_db, snr_db))
    mixture = render(plan_mixture(config, HUMS, seed=seed, mixture_id="m"), HUMS)
    speech_N = mixture.sources_CN.sum(axis=0)
    noise = np.square(mixture.samples_N - speech_N, dtype=np.float64).mean()
    speech = np.square(speech_N, dtype=np.float64).mean()
    assert 10 * np.log10(speech / noise) == pytest.approx(snr_db, abs=0.05)


def test_a_room_makes_another_sound_of_the_same_length():
    plan = plan_mixture(replace(CLEAN, room_chance=1.0), HUMS, seed=0, mixture_id="m")
    assert plan.rt60_seconds > 0
    wet, again = render(plan, HUMS), render(plan, HUMS)
    np.testing.assert_array_equal(wet.samples_N, again.samples_N)
    dry = render(plan_from_json({**plan_to_json(plan), "rt60_seconds": 0.0}), HUMS)
    assert np.abs(wet.samples_N - dry.samples_N).max() > 1e-3


def test_other_speeds_make_other_voices_of_other_lengths():
    plain = plan_mixture(CLEAN, HUMS, seed=3, mixture_id="m")
    assert {turn.speed for turn in plain.turns} == {1.0}
    plan = plan_mixture(replace(CLEAN, speed=(1.25, 1.25)), HUMS, seed=3, mixture_id="m")
    assert {turn.speed for turn in plan.turns} == {1.25}
    one = plan.turns[0]
    first, end = HUMS.bounds(HUMS.by_id()[one.utterance_id])
    assert one.num_samples == int((end - first) / 1.25)
    mixture = render(plan_from_json(plan_to_json(plan)), HUMS)
    alone_N = mixture.sources_CN[one.channel, one.start_sample :][: one.num_samples // 4]
    spectrum_K = np.abs(np.fft.rfft(alone_N))
    heard_hz = np.fft.rfftfreq(len(alone_N), 1 / RATE)[spectrum_K.argmax()]
    pitch_hz = 200 + 150 * int(one.speaker.split()[1])
    assert heard_hz == pytest.approx(1.25 * pitch_hz, abs=10)


@pytest.mark.parametrize("speed", [0.8, 0.857, 1.0, 1.31])
def test_a_whole_recording_can_be_played_at_any_speed(speed):
    length = HUMS.lengths[0]
    whole = PlannedTurn(
        utterance_id="0-0",
        speaker="speaker 0",
        text="A",
        first_sample=0,
        num_samples=int(length / speed),
        start_sample=10,
        level_db=-20.0,
        speed=speed,
    )
    plan = MixturePlan(mixture_id="m", num_samples=2 * length, turns=(whole,))
    power = np.square(render(plan, HUMS).samples_N).sum() / whole.num_samples
    assert 10 * np.log10(power) == pytest.approx(-20.0, abs=0.1)


def turn(name: str, start: float, end: float, speaker: str = "") -> PlannedTurn:
    return PlannedTurn(
        utterance_id=name,
        speaker=speaker or name,
        text=name,
        first_sample=0,
        num_samples=round((end - start) * RATE),
        start_sample=round(start * RATE),
        level_db=-25.0,
    )


def test_the_two_assignments_differ_after_a_turn_alone_on_the_second_channel():
    turns = [turn("a", 0, 2), turn("b", 1, 3), turn("c", 4, 5)]
    assert [t.channel for t in assign_channels(turns, "overlap")] == [0, 1, 1]
    assert [t.channel for t in assign_channels(turns, "first-free")] == [0, 1, 0]


def test_a_third_voice_is_refused():
    with pytest.raises(ManifestError, match="At most two"):
        assign_channels([turn("a", 0, 3), turn("b", 1, 3), turn("c", 2, 4)], "first-free")


def test_activity_marks_every_frame_that_a_turn_touches():
    plan = plan_mixture(CLEAN, HUMS, seed=3, mixture_id="m")
    clock = FrameClock(hop=160, stride=3)
    active_CT = activity(plan, clock, plan.num_samples // 480 + 1)
    for one in plan.turns:
        middle = clock.frame_at((one.start_seconds + one.end_seconds) / 2)
        assert active_CT[one.channel, middle]
        assert active_CT[one.channel, one.start_sample // 480]
        assert active_CT[one.channel, (one.end_sample - 1) // 480]
    frames = sum((t.end_sample - 1) // 480 - t.start_sample // 480 + 1 for t in plan.turns)
    assert active_CT.sum() <= frames


def test_overlap_is_a_part_of_the_time_in_which_anybody_speaks():
    plan = plan_mixture(CLEAN, HUMS, seed=0, mixture_id="m")
    turns = assign_channels([turn("a", 0, 2), turn("b", 1, 3), turn("c", 4, 5)], "overlap")
    values = {**plan_to_json(plan), "turns": [t.__dict__ for t in turns]}
    assert overlap_ratio(plan_from_json(values)) == pytest.approx(1 / 4)


def test_a_conversation_needs_as_many_speakers_as_it_has():
    with pytest.raises(ConfigError, match="as many speakers"):
        plan_mixture(replace(CLEAN, num_turns=(2, 2)), Hums(speakers=1), seed=0, mixture_id="m")


def test_a_recording_that_is_not_there_is_named():
    plan = plan_mixture(replace(CLEAN, num_turns=(3, 3)), HUMS, seed=1, mixture_id="m")
    with pytest.raises(ManifestError, match="is not there"):
        render(plan, Hums(speakers=1, each=1))
    with pytest.raises(ManifestError, match="must be a planned"):
        plan_from_json({"turns": []})


def test_those_who_talk_to_each_other_were_recorded_alike():
    mixed = Hums(6)
    mixed.voices = [replace(v, corpus=str(int(v.speaker[-1]) // 3)) for v in mixed.voices]
    casts = set()
    for number in range(40):
        plan = plan_mixture(replace(CLEAN, num_turns=(2, 4)), mixed, seed=1, mixture_id=str(number))
        places = {int(turn.speaker[-1]) // 3 for turn in plan.turns}
        assert len(places) == 1
        casts |= places
    assert casts == {0, 1}


def test_a_corpus_of_one_speaker_borrows_from_another():
    mixed = Hums(3)
    mixed.voices = [replace(v, corpus=v.speaker) for v in mixed.voices]
    plan = plan_mixture(replace(CLEAN, num_turns=(2, 2)), mixed, seed=1, mixture_id="0")
    assert len({turn.speaker for turn in plan.turns}) == 2
