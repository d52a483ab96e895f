# SPDX-License-Identifier: Apache-2.0
"""Two voices are told apart, at once and looking back, and keep their numbers.

Dimensions: N samples, V vectors, C talkers, D width.
"""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.seeding import rng_for
from evenear.streaming.twotalkers.voices import TalkerVoices, VoicesConfig, _smoothed

GROUP = 1280
VOICES = {"1": 1.0, "2": -1.0, ".": 0.0, "b": 0.0}


class Directions:
    """Vectors of sound whose samples say whose they are: two directions, and some noise."""

    def __init__(self, noise: float = 0.3) -> None:
        self._rng, self._noise, self.calls = rng_for(0, "voices"), noise, 0

    def __call__(self, samples_N):
        self.calls += 1
        first = float((samples_N > 0.5).mean())
        second = float((samples_N < -0.5).mean())
        vector_D = self._noise * self._rng.standard_normal(8) / np.sqrt(8)
        vector_D[:2] += first, second
        return vector_D


def listened(states: str, config: VoicesConfig | None = None, *, noise: float = 0.3):
    """Voices that heard groups, a letter each, and whose voice they heard at once."""
    voices = TalkerVoices(Directions(noise), config or VoicesConfig(), group_samples=GROUP)
    at_once = []
    for g, letter in enumerate(states):
        voices.hear(np.full(GROUP, VOICES[letter], np.float32))
        both = 0.9 if letter == "b" else 0.0
        voices.group(speaks=letter != ".", both=both, heard_samples=(g + 1) * GROUP)
        at_once.append("12"[voices.now])
    return voices, "".join(at_once)


def right(voices: TalkerVoices, states: str) -> float:
    """The part of groups with one talker for which looking back says who it was."""
    chances_CG = voices.talking(0)
    assert chances_CG.shape == (2, len(states))
    np.testing.assert_allclose(chances_CG.sum(axis=0), 1.0)
    found = ["12"[c] for c in chances_CG.argmax(axis=0)]
    own = [g for g, letter in enumerate(states) if letter in "12"]
    return float(np.mean([found[g] == states[g] for g in own]))


TALK = "".join(30 * letter + 8 * "." for letter in "12112212")


def test_two_voices_are_told_apart():
    voices, at_once = listened(TALK)
    assert right(voices, TALK) == 1.0
    own = [g for g, letter in enumerate(TALK) if letter in "12"]
    assert np.mean([at_once[g] == TALK[g] for g in own]) > 0.9


def test_a_change_without_a_pause_is_heard():
    states = 30 * "1" + 30 * "2" + 30 * "1"
    assert right(listened(states)[0], states) > 0.9


def test_one_voice_is_one_talker_and_a_moment_of_another_none():
    voices, at_once = listened(100 * "1" + 20 * "." + 60 * "1")
    assert (voices.talking(0)[0] == 1.0).all()
    assert set(at_once) == {"1"}
    voices, _ = listened(100 * "1" + "22" + 100 * "1")
    assert (voices.talking(0)[0] == 1.0).all()


def test_talkers_keep_their_numbers_when_one_is_silent_for_minutes():
    voices, _ = listened(30 * "1" + 10 * "." + 30 * "2")
    assert voices.talking(0)[0, 5] > 0.9
    voices.remember()
    more = 1500 * "2" + 10 * "." + 40 * "1"
    for letter in more:
        voices.hear(np.full(GROUP, VOICES[letter], np.float32))
        heard = (voices.num_groups + 1) * GROUP
        voices.group(speaks=letter != ".", both=0.0, heard_samples=heard)
    last_CG = voices.talking(voices.num_groups - 600)
    assert last_CG[1, :500].min() > 0.9
    assert last_CG[0, -30:].min() > 0.9
    assert len(voices._sound_N) <= 2 * 16_000
    assert len(voices._vectors) * 2 * GROUP <= 61 * 16_000


def test_to_ask_changes_nothing():
    """Else chunks would: what is shown meanwhile is asked for as often as there are chunks."""
    asked, _ = listened(TALK)
    silent, _ = listened(TALK)
    for first in (0, 50, 100):
        asked.talking(first)
    for one in (asked, silent):
        one.hear(np.full(GROUP, -1.0, np.float32))
        one.group(speaks=True, both=0.0, heard_samples=(len(TALK) + 1) * GROUP)
    assert asked.now == silent.now
    np.testing.assert_array_equal(asked.talking(0), silent.talking(0))


def test_sound_of_both_teaches_nobodys_voice():
    states = 20 * "1" + 15 * "b" + 20 * "2"
    voices, _ = listened(states)
    assert right(voices, states) > 0.9
    voices.remember()
    assert abs(float(voices._sums[0][1])) < 0.35 * float(voices._sums[0][0])


def test_before_the_first_vector_nobody_is_known():
    voices, _ = listened("...1")
    assert voices.is_unknown
    voices.hear(np.ones(GROUP, np.float32))
    voices.group(speaks=True, both=0.0, heard_samples=5 * GROUP)
    assert not voices.is_unknown
    assert voices.before == 1
    voices.group(speaks=True, both=0.0, heard_samples=5 * GROUP)
    assert voices.before == 0


def test_silence_is_nobodys_and_asks_for_no_vector():
    voices, _ = listened(50 * ".")
    assert voices.talking(40).tolist() == [[1.0] * 10, [0.0] * 10]
    assert voices.talking(50).shape == (2, 0)
    assert voices._embed.calls == 0


@settings(deadline=None, max_examples=12)
@given(st.integers(1, 7), st.sampled_from([0.0, 0.8, 4.0]), st.integers(0, 4))
def test_chances_count_every_way_through_the_talkers(num_vectors, cost, seed):
    scores_VC = 2.0 * rng_for(seed, "scores").standard_normal((num_vectors, 2))
    expected_VC = np.zeros((num_vectors, 2))
    for way in itertools.product(range(2), repeat=num_vectors):
        changes = sum(one != other for one, other in itertools.pairwise(way))
        weight = np.exp(sum(scores_VC[v, c] for v, c in enumerate(way)) - cost * changes)
        for v, c in enumerate(way):
            expected_VC[v, c] += weight
    expected_VC /= expected_VC.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(_smoothed(scores_VC, cost), expected_VC, rtol=1e-6)


def test_settings_out_of_range_are_refused():
    with pytest.raises(Exception, match="window_seconds"):
        VoicesConfig(window_seconds=0.0)
