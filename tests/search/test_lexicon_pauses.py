# SPDX-License-Identifier: Apache-2.0
"""After a pause one hypothesis begins a sentence, and another goes on with the last one."""

import numpy as np

from evenear.config import replace
from laws import random_projected
from search.test_lexicon import WIDE, search


def test_after_a_pause_both_contexts_are_tried():
    searching = search(replace(WIDE, width=50))
    (state,) = searching.step(random_projected(searching.model, 30), [searching.initial_state()])
    assert searching.best(state).tokens, "nothing was said"
    after = searching.restart(state)
    place = int((state.beam.nodes_N == 0).argmax())
    begins = searching.initial_state().beam.contexts_NK[0]
    contexts = after.beam.contexts_NK.tolist()
    assert contexts == [begins.tolist(), state.beam.contexts_NK[place].tolist()]
    assert np.array_equal(after.beam.scores_N, np.zeros(2))
    assert after.num_frames == state.num_frames
    assert searching.best(after).tokens == ()
    (again,) = searching.step(random_projected(searching.model, 30, seed=5), [after])
    assert searching.best(again).frames[0] >= state.num_frames


def test_where_nothing_was_said_there_is_nothing_to_go_on_with():
    searching = search(WIDE)
    assert len(searching.restart(searching.initial_state()).beam.scores_N) == 1
