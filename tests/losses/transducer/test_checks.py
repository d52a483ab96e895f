# SPDX-License-Identifier: Apache-2.0
"""What is refused, and what the messages say."""

import pytest
import torch

from evenear.errors import ConfigError
from evenear.losses.transducer.checks import check_batch, check_penalty, require

GOOD = {
    "logits": torch.zeros(2, 5),
    "targets_BU": torch.tensor([[1, 2, -1], [4, -1, -1]]),
    "frame_lengths_B": torch.tensor([4, 2]),
    "target_lengths_B": torch.tensor([2, 1]),
    "blank_id": 0,
}


def test_a_good_batch_comes_back_with_blanks_in_its_padding():
    batch = check_batch(**GOOD)
    assert batch.targets_BU.tolist() == [[1, 2, 0], [4, 0, 0]]
    assert batch.num_frames == [4, 2]
    assert batch.num_tokens == [2, 1]
    assert GOOD["targets_BU"].tolist() == [[1, 2, -1], [4, -1, -1]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": torch.zeros(2, 5, dtype=torch.int64)}, "Logits must be floating-point"),
        ({"targets_BU": torch.tensor([1, 2])}, "Targets must be .utterances, tokens."),
        ({"targets_BU": torch.zeros(0, 3, dtype=torch.int64)}, "Targets must be .utterances, tok"),
        ({"targets_BU": torch.ones(2, 3)}, "Targets must be integers, got torch.float32"),
        ({"frame_lengths_B": torch.tensor([4])}, "Frame lengths must be one for each of 2 targets"),
        ({"target_lengths_B": torch.tensor([[2, 1]])}, "Target lengths must be one for each"),
        ({"frame_lengths_B": torch.tensor([1.0, 0.5])}, "Frame lengths must be integers"),
        ({"frame_lengths_B": torch.tensor([4, 0])}, "at least 1 frame, got 0"),
        ({"target_lengths_B": torch.tensor([2, -1])}, "must not be negative, got -1"),
        ({"target_lengths_B": torch.tensor([4, 1])}, "at most 3, as targets go, got 4"),
        ({"blank_id": 5}, "must be below 5, got 5"),
        ({"blank_id": -1}, "must be below 5, got -1"),
        ({"targets_BU": torch.tensor([[1, 5], [4, 0]])}, r"Tokens must be in 0 to 4, got \[5\]"),
        ({"targets_BU": torch.tensor([[1, -7], [4, 0]])}, r"Tokens must be in 0 to 4, got \[-7\]"),
        ({"targets_BU": torch.tensor([[1, 0], [4, 0]])}, "must not hold the blank's id 0"),
    ],
)
def test_a_bad_batch_is_refused_with_what_came(change, message):
    with pytest.raises(ConfigError, match=message):
        check_batch(**(GOOD | change))


def test_penalties_are_cut_to_the_batch_and_refused_when_too_few():
    batch = check_batch(**GOOD)
    assert check_penalty(None, batch) is None
    penalty_BTU = torch.arange(2 * 5 * 4.0).view(2, 5, 4)
    cut_BTU = check_penalty(penalty_BTU, batch)
    assert cut_BTU is not None
    assert torch.equal(cut_BTU, penalty_BTU[:, :4, :2])
    for shape in [(2, 3, 2), (2, 4, 1), (3, 4, 2), (4, 2)]:
        with pytest.raises(ConfigError, match=r"at least \(2, 4, 2\): utterances, frames, tokens"):
            check_penalty(torch.zeros(shape), batch)


def test_a_requirement_says_what_came_and_what_to_do():
    require(True, "One is one", 1)
    with pytest.raises(ConfigError, match=r"^One must be two, got 1\. Count again\.$"):
        require(False, "One must be two", 1, hint="Count again.")
