# SPDX-License-Identifier: Apache-2.0
"""The frames of a known text are those of its most probable alignment, by enumeration.

Dimensions: T frames, D width.
"""

import pytest
import torch

from evenear.search import emission_frames
from laws import random_projected
from search.test_beam import all_alignments, small_model


@pytest.mark.parametrize("seed", [0, 1, 2])
@torch.no_grad()
def test_tokens_are_emitted_where_the_best_alignment_has_them(seed):
    model = small_model(seed=seed)
    projected_TD = random_projected(model, 4, seed=seed)[0]
    alignments = all_alignments(model, projected_TD, 2)
    for tokens, found in alignments.items():
        if 1 <= len(tokens) <= 2:
            assert emission_frames(model, projected_TD, tokens) == max(found)[1]


def test_no_tokens_have_no_frames():
    model = small_model()
    assert emission_frames(model, random_projected(model, 3)[0].detach(), []) == ()
