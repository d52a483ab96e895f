# SPDX-License-Identifier: Apache-2.0
"""Errors form one tree, say what to do, and name the nearest known names."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenear import errors
from evenear.errors import AudioError, EvenearError, nearest_names

KINDS = [getattr(errors, name) for name in errors.__all__ if name.endswith("Error")]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_can_be_caught_as_one_kind(kind):
    assert issubclass(kind, EvenearError)
    assert not issubclass(kind, OSError | ValueError)


@pytest.mark.parametrize("kind", KINDS)
def test_the_module_describes_every_error_in_its_tree(kind):
    assert kind.__name__ in (errors.__doc__ or "")


def test_an_error_shows_its_message_and_then_its_hint():
    error = AudioError("Audio must be mono, got 8 channels.", hint="Mix it down.")
    assert str(error) == "Audio must be mono, got 8 channels. Mix it down."
    assert (error.message, error.hint) == ("Audio must be mono, got 8 channels.", "Mix it down.")


def test_an_error_without_a_hint_shows_its_message_alone():
    assert str(AudioError("No sound.")) == "No sound."


def test_an_error_crosses_processes_whole():
    # Stores are built by worker processes, whose errors are pickled on their way back.
    error = pickle.loads(pickle.dumps(AudioError("No sound.", hint="Speak up.")))
    assert type(error) is AudioError
    assert str(error) == "No sound. Speak up."


def test_a_slip_of_the_pen_gets_the_names_that_were_meant():
    assert nearest_names("encodr", ["encoder", "joiner"]) == "Did you mean 'encoder'?"


def test_a_name_like_no_other_gets_all_that_are_known_in_order():
    assert nearest_names("zzz", ["joiner", "encoder"]) == "Known: 'encoder', 'joiner'."


@given(st.sets(st.text(min_size=1, max_size=8), min_size=1, max_size=6), st.data())
def test_a_known_name_is_always_the_first_that_is_offered(known, data):
    wanted = data.draw(st.sampled_from(sorted(known)))
    assert nearest_names(wanted, known).startswith(f"Did you mean {wanted!r}")
