# SPDX-License-Identifier: Apache-2.0
"""How likely a transducer finds each of a few readings of the same frames, computed together.

Readings that begin alike share what is alike: they are one tree of tokens, and each of its nodes is
a column of the lattice. With the blanks' running sum over the frames before t taken out, the
recursion over frames is a running sum of probabilities, so that a whole column is one call:

    alpha[t, n] = sum over s <= t of  alpha[s, parent] * label[s, n] * blank[s, n] … blank[t - 1, n]

The work is bounded: readings are taken, best first, as long as frames times nodes stay below a
limit. Nothing is compiled and nothing is differentiated; `losses.transducer` is for training.

Legend: R readings, M nodes of the tree, T frames, U tokens, D width, V vocabulary.

Source: Graves 2012, Sequence Transduction with Recurrent Neural Networks, arXiv 1211.3711.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evenear.models.transducer import Transducer
from evenear.nn.state import stack_states
from evenear.search.readings import ReadingTree

__all__ = ["MAX_CELLS", "TokenContext", "begin_context", "continued", "log_probs"]

MAX_CELLS = 12_000
"""Frames times nodes for which logits are computed at once."""

_Floats = NDArray[np.float64]


class TokenContext(NamedTuple):
    """What a predictor has read before a reading begins."""

    predictor: Any
    predicted_1D: Tensor
    """Its projected output."""


def begin_context(model: Transducer) -> TokenContext:
    """The context of a reading that nothing came before."""
    return _read(model, [model.blank_id], model.predictor.initial_state(1))


def continued(model: Transducer, context: TokenContext, tokens: Sequence[int]) -> TokenContext:
    """The context after a few tokens more."""
    return _read(model, tokens, context.predictor) if tokens else context


@torch.inference_mode()
def log_probs(
    model: Transducer,
    projected_TD: Tensor,
    readings: Sequence[tuple[int, ...]],
    context: TokenContext,
    *,
    max_cells: int = MAX_CELLS,
) -> list[float]:
    """Natural log of the probability that the frames are these tokens, whatever their timing.

    Args:
        model: The recognizer, in evaluation mode.
        projected_TD: Encoder frames, projected for the joiner; one at least.
        readings: The tokens of each reading, best first.
        context: What the predictor had read before.
        max_cells: Bound of frames times nodes.

    Returns:
        One for each of the first readings; less than there are readings where all are too many.
    """
    tree = ReadingTree.of(readings, max_nodes=max(1, max_cells // len(projected_TD)))
    predicted_MD = _predicted(model, readings[: len(tree.last_R)], tree, context)
    label_MT, blank_MT = _arcs(model, projected_TD, predicted_MD, tree)
    before_MT = np.cumsum(blank_MT, axis=1) - blank_MT
    alpha_MT = np.empty_like(before_MT)
    alpha_MT[0] = before_MT[0]
    for depth in range(1, int(tree.depths_M.max()) + 1):
        at = np.flatnonzero(tree.depths_M == depth)
        entered_MT = alpha_MT[tree.parents_M[at]] + label_MT[at] - before_MT[at]
        alpha_MT[at] = before_MT[at] + np.logaddexp.accumulate(entered_MT, axis=1)
    ends = np.array(tree.last_R)
    return (alpha_MT[ends, -1] + blank_MT[ends, -1]).tolist()


def _predicted(
    model: Transducer, readings: Sequence[tuple[int, ...]], tree: ReadingTree, context: TokenContext
) -> Tensor:
    """The predictor's projected output at each node, (M, D)."""
    longest = max(map(len, readings))
    if not longest:
        return context.predicted_1D
    tokens_RU = torch.zeros(len(readings), longest, dtype=torch.int64)
    for row_U, tokens in zip(tokens_RU, readings, strict=True):
        row_U[: len(tokens)] = torch.tensor(tokens, dtype=torch.int64)
    state: Any = stack_states([context.predictor] * len(readings))
    predicted_RUD, _ = model.predictor.step(tokens_RU, state)
    depths_M = torch.from_numpy(tree.depths_M[1:] - 1)
    owned_MD = predicted_RUD[torch.from_numpy(tree.owners_M[1:]), depths_M]
    return torch.cat([context.predicted_1D, model.joiner.predictor_proj(owned_MD)])


def _arcs(
    model: Transducer, projected_TD: Tensor, predicted_MD: Tensor, tree: ReadingTree
) -> tuple[_Floats, _Floats]:
    """Log-probabilities of entering each node at each frame, and of blank there, (M, T)."""
    logits_MTV = model.joiner(projected_TD[None], predicted_MD[:, None]).float()
    whole_MT = logits_MTV.logsumexp(dim=2)
    blank_MT = logits_MTV[:, :, model.blank_id] - whole_MT
    parents_M, tokens_M = torch.from_numpy(tree.parents_M), torch.from_numpy(tree.tokens_M)
    label_MT = logits_MTV[parents_M, :, tokens_M] - whole_MT[parents_M]
    return label_MT.double().numpy(), blank_MT.double().numpy()


def _read(model: Transducer, tokens: Sequence[int], state: Any) -> TokenContext:
    predicted_1UD, state = model.predictor.step(torch.tensor([tokens], dtype=torch.int64), state)
    return TokenContext(state, model.joiner.predictor_proj(predicted_1UD[:, -1]))
