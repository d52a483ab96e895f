# SPDX-License-Identifier: Apache-2.0
"""Readings judged as one tree are as likely as the decoder finds each alone; work is bounded.

Dimensions: T frames, F width of a frame, U pieces, V vocabulary.
"""

import math

import pytest
import torch

from evenear.search.rescoring import MAX_NODES, Rescoring
from tiny_rescorers import random_frames, tiny_rescorer

SPELLINGS = [(), (3,), (4, 5), (4, 6, 7), (8,), (9, 3, 3)]
READINGS = [(2, 1), (2, 4), (), (3, 3), (2,), (5, 2, 1), (1, 2)]  # 4 is shared by words 2 and 3
FRAMES_TF = random_frames(13)


def rescoring(**changes) -> Rescoring:
    return Rescoring(tiny_rescorer(**changes), SPELLINGS)


@torch.inference_mode()
def alone(judge: Rescoring, words, said=(), *, is_over: bool = True) -> float:
    """What the decoder says of one text, piece by piece."""
    config = judge.model.config
    before = [*config.start, *(p for word in said for p in SPELLINGS[word])]
    after = [p for word in words for p in SPELLINGS[word]] + [config.end_id] * is_over
    pieces_1U = torch.tensor([before + after])
    lengths_B = torch.tensor([len(FRAMES_TF)])
    logits_1UV = judge.model(pieces_1U, FRAMES_TF[None], lengths_B)
    log_probs_UV = logits_1UV[0].double().log_softmax(dim=1)
    first = len(before) - 1
    return math.fsum(float(log_probs_UV[first + k, piece]) for k, piece in enumerate(after))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("is_over", [True, False], ids=["over", "open"])
@pytest.mark.parametrize("said", [(), (5, 2)], ids=["nothing said", "something said"])
def test_a_reading_is_as_likely_as_the_decoder_finds_it_alone(said, is_over, seed):
    judge = rescoring(seed=seed)
    judged = judge.log_probs(FRAMES_TF, READINGS, said, is_over=is_over)
    expected = [alone(judge, words, said, is_over=is_over) for words in READINGS]
    assert judged == pytest.approx(expected, abs=1e-4)
    assert max(expected) - min(expected) > 1.0
    if not is_over:
        assert judged[READINGS.index(())] == 0.0


def test_company_changes_nothing():
    judge = rescoring()
    together = judge.log_probs(FRAMES_TF, READINGS, (1,))
    for words, judged in zip(READINGS, together, strict=True):
        (own,) = judge.log_probs(FRAMES_TF, [words], (1,))
        assert own == pytest.approx(judged, abs=1e-4)


def test_all_that_may_be_said_next_is_as_likely_as_what_goes_before():
    """Probabilities of one piece more, and of the end, add up to that of what they begin with."""
    judge = Rescoring(tiny_rescorer(), [(piece,) for piece in range(15)])
    longer = judge.log_probs(FRAMES_TF, [(4, piece) for piece in range(15)], is_over=False)
    (before,) = judge.log_probs(FRAMES_TF, [(4,)], is_over=False)
    (ended,) = judge.log_probs(FRAMES_TF, [(4,)], is_over=True)
    assert math.log(sum(map(math.exp, longer))) == pytest.approx(before, abs=1e-4)
    assert longer[judge.model.config.end_id] == pytest.approx(ended, abs=1e-4)


def test_words_become_pieces_by_their_spellings():
    assert rescoring().pieces((2, 5, 1)) == (4, 5, 9, 3, 3, 3)


@pytest.mark.parametrize(("most", "count"), [(1, 1), (4, 1), (5, 3), (7, 3), (10, 5), (99, 7)])
def test_of_too_many_readings_the_first_are_judged(most, count):
    """With the root, the tree grows by 3, 1, 0, 5 (of which 4 is known), 0, 6 and 3 nodes."""
    judge = rescoring()
    every = judge.log_probs(FRAMES_TF, READINGS)
    some = judge.log_probs(FRAMES_TF, READINGS, max_nodes=most)
    assert len(some) == count
    assert some == pytest.approx(every[:count], abs=1e-4)


def test_no_reading_behind_one_that_is_too_long_is_judged():
    """Two pieces begin a text and one ends it, so three of six are left."""
    judge = rescoring(max_pieces=6)
    readings = [(2, 1), (3,), (2, 2), (1,)]
    judged = judge.log_probs(FRAMES_TF, readings)
    assert judged == pytest.approx([alone(judge, words) for words in readings[:2]], abs=1e-4)
    assert judge.log_probs(FRAMES_TF, readings[2:]) == []


def test_nothing_is_judged_behind_more_than_a_text_may_hold():
    judge = rescoring(max_pieces=6)
    assert len(judge.log_probs(FRAMES_TF, [(1,)], (2,))) == 1
    assert judge.log_probs(FRAMES_TF, [(1,)], (2, 1)) == []
    assert judge.log_probs(FRAMES_TF, [()], (5, 5)) == []


def test_the_usual_bound_holds_many_long_readings():
    judge = rescoring(max_pieces=200)
    readings = [(1,) * 100, (4,) * (MAX_NODES - 101), (2,)]
    assert len(judge.log_probs(FRAMES_TF, readings)) == 2
