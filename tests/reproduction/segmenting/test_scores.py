# SPDX-License-Identifier: Apache-2.0
"""Turns and delays come out of tokens and frames as the paper counts them."""

import pytest

from evenear.data.conversations.mixtures import MixturePlan, PlannedTurn
from evenear.features import FeatureConfig
from evenear.reproduction.segmenting.scores import MixtureScore, condition_of, said_turns
from evenear.search import Hypothesis
from laws import tiny_tokenizer

TOKENIZER = tiny_tokenizer()
SOT, EOT = TOKENIZER.sot_id, TOKENIZER.eot_id
WORD = TOKENIZER.encode("A")[0]
CLOCK = FeatureConfig().clock


def reading(*pairs: tuple[int, int]) -> Hypothesis:
    tokens, frames = zip(*pairs, strict=True) if pairs else ((), ())
    return Hypothesis(tokens, frames, (0.0,) * len(tokens), 0.0)


def test_turns_are_between_marks_and_have_words():
    found = said_turns(
        reading(
            (SOT, 1), (WORD, 4), (WORD, 6), (EOT, 9), (SOT, 12), (EOT, 13), (SOT, 20), (WORD, 22)
        ),
        TOKENIZER,
        CLOCK,
    )
    assert len(found) == 2
    first, second = found
    assert first.start_seconds == pytest.approx(0.06)
    assert first.first_word_seconds == pytest.approx(0.15)
    assert first.last_word_seconds == pytest.approx(0.21)
    assert first.end_seconds == pytest.approx(0.30)
    assert second.end_seconds is None


def test_ends_alone_part_turns_too():
    found = said_turns(reading((WORD, 4), (EOT, 9), (WORD, 12)), TOKENIZER, CLOCK)
    assert [turn.start_seconds for turn in found] == [None, None]
    assert said_turns(reading(), TOKENIZER, CLOCK) == []


def plan(*turns: tuple[float, float]) -> MixturePlan:
    planned = [
        PlannedTurn(
            utterance_id=str(number),
            speaker=str(number),
            text="A",
            first_sample=0,
            num_samples=round(16_000 * (end - start)),
            start_sample=round(16_000 * start),
            level_db=-20.0,
        )
        for number, (start, end) in enumerate(turns)
    ]
    return MixturePlan(mixture_id="m", num_samples=160_000, turns=tuple(planned))


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        ([(0, 1), (1, 2)], "no overlap"),
        ([(0, 2), (1.8, 4)], "overlap up to 20 %"),
        ([(0, 2), (1, 3)], "overlap 20 to 40 %"),
        ([(0, 2), (0.5, 2.5)], "overlap over 40 %"),
    ],
)
def test_conditions_follow_the_overlap(turns, expected):
    assert condition_of(plan(*turns)) == expected


def test_counts_survive_json():
    score = MixtureScore("m", "no overlap", 3, 5, 1, 0, 1, 3, (0.1,), (), (0.2, 0.3), (), 2.0, None)
    assert MixtureScore.from_dict({**score.to_dict(), "end_of_turn": [0.1]}) == score
