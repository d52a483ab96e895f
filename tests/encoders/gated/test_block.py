# SPDX-License-Identifier: Apache-2.0
"""One block of one stream: the numbers, costs and memories of the general way.

Legend: B streams, T frames, F feature width.
"""

import pytest
import torch

from evenear.encoders.gated.block import BlockRun
from evenear.encoders.gated.encoder import GatedState, GatedTransformer
from evenear.encoders.gated.run import GatedRun
from evenear.nn.state import state_tensors
from laws import random_features, tiny_transducer


def encoder(name: str) -> GatedTransformer:
    found = tiny_transducer(name).encoder
    assert isinstance(found, GatedTransformer)
    return found


def heard(gated: GatedTransformer, seed: int, general: bool) -> tuple[torch.Tensor, GatedState]:
    """A stream, block by block; and what it remembers."""
    state, said = gated.initial_state(1), []
    runs = []
    for chunk_BTF in random_features(64, seed=seed).split(gated.block_frames, dim=1):
        kind = GatedRun if general else BlockRun
        run = kind(gated, state.asked_B, state.present_BLPH, state.memories)
        said_BTD, backbone = gated.backbone.step(chunk_BTF, state.backbone, run)
        spent, dense = run.totals()
        state = GatedState(
            backbone,
            tuple(run.memories),
            run.present(state.present_BLPH.shape[2]),
            state.asked_B,
            state.spent_B + spent,
            state.dense_B + dense,
        )
        said.append(said_BTD)
        runs.append(run)
    return torch.cat(said, dim=1), state


@pytest.mark.parametrize("name", ["gated-blocks", "gated-thrifty"])
def test_it_says_costs_and_remembers_what_the_general_way_does(name):
    gated = encoder(name)
    some, missing = 0, 0
    with torch.no_grad():
        for seed in range(6):
            (block_BTD, block), (all_BTD, every) = (
                heard(gated, seed, general) for general in (False, True)
            )
            torch.testing.assert_close(block_BTD, all_BTD)
            for one, other in zip(state_tensors(block), state_tensors(every), strict=True):
                torch.testing.assert_close(one, other)
            some += int(block.present_BLPH.any())
            missing += int((~block.present_BLPH).any())
    assert some > 3
    assert missing > 3


def test_live_streams_take_it_and_batches_do_not(monkeypatch):
    gated, taken = encoder("gated-thrifty"), []
    plain = BlockRun.__call__
    monkeypatch.setattr(BlockRun, "__call__", lambda *a: taken.append(1) or plain(*a))
    with torch.no_grad():
        gated.step(random_features(gated.block_frames), gated.initial_state(1))
        assert len(taken) == gated.config.backbone.num_layers
        gated.step(random_features(2 * gated.block_frames), gated.initial_state(1))
        gated.step(random_features(gated.block_frames, batch_size=2), gated.initial_state(2))
        gated.step(random_features(8), gated.ask(gated.initial_state(1), 1.0))
    assert len(taken) == gated.config.backbone.num_layers
