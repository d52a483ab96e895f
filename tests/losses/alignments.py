# SPDX-License-Identifier: Apache-2.0
"""The transducer loss in its simplest form: walk every alignment, arc by arc. And random batches.

Dimensions: B utterances, T frames, U tokens (a lattice has U + 1 columns), V vocabulary.
"""

import itertools

import torch
from torch import Tensor

from evenear.seeding import torch_rng_for

LATTICES = ["torch", "numba"]


def walked_loss(blank_TU: Tensor, label_TU: Tensor) -> Tensor:
    """Minus log of the summed probability of all alignments, given each arc's log-probability."""
    num_frames, num_columns = blank_TU.shape
    num_arcs = num_frames - 1 + num_columns - 1
    scores = []
    for label_arcs in itertools.combinations(range(num_arcs), num_columns - 1):
        t = u = 0
        score = blank_TU.new_zeros(())
        for arc in range(num_arcs):
            if arc in label_arcs:
                score, u = score + label_TU[t, u], u + 1
            else:
                score, t = score + blank_TU[t, u], t + 1
        scores.append(score + blank_TU[t, u])
    return -torch.logsumexp(torch.stack(scores), 0)


def arcs_of(
    logits_BTUV: Tensor, targets_BU: Tensor, sizes: list[tuple[int, int]], blank_id: int
) -> list[tuple[Tensor, Tensor]]:
    """The log-probabilities of blank and label arcs of each utterance, cut to its size."""
    arcs = []
    for logits_TUV, targets_U, (t, u) in zip(logits_BTUV, targets_BU, sizes, strict=True):
        log_probs_TUV = logits_TUV[:t, : u + 1].log_softmax(-1)
        label_TU = log_probs_TUV[:, range(u), targets_U[:u]]
        arcs.append((log_probs_TUV[..., blank_id], label_TU))
    return arcs


def random_batch(
    sizes: list[tuple[int, int]], vocabulary: int, blank_id: int, *, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Logits, targets and lengths, padded by one frame and one column more than needed."""
    frames, tokens = zip(*sizes, strict=True)
    rng = torch_rng_for(seed, "transducer-test", (sizes, vocabulary))
    shape = (len(sizes), max(frames) + 1, max(tokens) + 2, vocabulary)
    logits_BTUV = torch.randn(shape, generator=rng, dtype=torch.float64) * 2
    offsets = torch.randint(1, vocabulary, (len(sizes), max(tokens) + 1), generator=rng)
    targets_BU = (blank_id + offsets) % vocabulary
    return logits_BTUV, targets_BU, torch.tensor(frames), torch.tensor(tokens)


def gradient_of(loss_B: Tensor, values: Tensor) -> Tensor:
    """The gradient of a sum in which each utterance has a weight of its own."""
    weights_B = torch.arange(1.0, len(loss_B) + 1, dtype=loss_B.dtype)
    return torch.autograd.grad((loss_B * weights_B).sum(), values, retain_graph=True)[0]
