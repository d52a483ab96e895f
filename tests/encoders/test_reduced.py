# SPDX-License-Identifier: Apache-2.0
"""Front, groups, core: what a stream hears is what a padded utterance is, whatever the core."""

import pytest
import torch
from torch import Tensor

from evenear.encoders.reduced import ReducedEncoder, ReducedState


class Running(ReducedEncoder):
    """Doubles frames, joins them, adds up the groups; notes what it was told is real."""

    def __init__(self, reduction: int, *, at_once: bool = False) -> None:
        super().__init__(feature_dim=2, dim=2 * reduction, reduction=reduction)
        self.at_once = at_once
        self.heard: list[tuple[int, list[list[bool]] | None]] = []

    def front(self, x_BTF: Tensor, state: int, valid_BT: Tensor | None) -> tuple[Tensor, int]:
        return 2 * x_BTF, state

    def initial_core(self, batch_size: int) -> Tensor:
        return torch.zeros(batch_size, self.dim)

    def core(
        self, groups_BTF: Tensor, state: Tensor, valid_BT: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        self.heard.append((groups_BTF.shape[1], None if valid_BT is None else valid_BT.tolist()))
        sums_BTF = state[:, None] + groups_BTF.cumsum(dim=1)
        return sums_BTF, torch.cat([state[:, None], sums_BTF], dim=1)[:, -1]


def grouped(frames_TF: Tensor, reduction: int) -> Tensor:
    """What such an encoder computes, written out: double, fill up, join, add up."""
    missing = -len(frames_TF) % reduction
    filled_TF = torch.cat([2 * frames_TF, torch.zeros(missing, frames_TF.shape[1])])
    return filled_TF.reshape(-1, reduction * frames_TF.shape[1]).cumsum(dim=0)


def frames(*shape: int) -> Tensor:
    return torch.randint(-9, 9, shape, generator=torch.Generator().manual_seed(1)).float()


@pytest.mark.parametrize("reduction", [1, 2, 3])
@pytest.mark.parametrize("chunks", [(7,), (1,) * 7, (0, 4, 3), (2, 5, 0)])
def test_a_stream_is_doubled_joined_and_added_up(reduction, chunks):
    encoder = Running(reduction)
    x_BTF, state, parts = frames(2, 7, 2), encoder.initial_state(2), []
    for chunk_BTF in x_BTF.split(chunks, dim=1):
        encoded_BTD, state = encoder.step(chunk_BTF, state)
        parts.append(encoded_BTD)
    parts.append(encoder.flush(state))
    assert isinstance(state, ReducedState)
    assert torch.equal(torch.cat(parts, dim=1), torch.stack([grouped(x, reduction) for x in x_BTF]))


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("reduction", [1, 2, 3])
def test_padded_utterances_are_what_each_is_alone(reduction, at_once):
    encoder, x_BTF, lengths = Running(reduction, at_once=at_once), frames(3, 7, 2), [7, 4, 1]
    found = encoder(x_BTF, torch.tensor(lengths))
    for b, length in enumerate(lengths):
        alone_TD = grouped(x_BTF[b, :length], reduction)
        assert int(found.lengths_B[b]) == len(alone_TD)
        assert torch.equal(found.encoded_BTD[b, : len(alone_TD)], alone_TD)


def test_a_core_that_wants_utterances_whole_hears_them_in_one_piece():
    whole, parted = Running(2, at_once=True), Running(2)
    for encoder in (whole, parted):
        encoder(frames(2, 5, 2), torch.tensor([5, 2]))
    assert whole.heard == [(3, [[True, True, True], [True, False, False]])]
    assert parted.heard == [(2, [[True, True], [True, False]]), (1, [[True], [False]])]


@pytest.mark.parametrize("reduction", [1, 4])
def test_it_says_how_far_ahead_it_hears(reduction):
    encoder = Running(reduction)
    assert (encoder.stride, encoder.lookahead_frames) == (reduction, reduction - 1)
    assert (encoder.feature_dim, encoder.dim, encoder.block_frames) == (2, 2 * reduction, reduction)
