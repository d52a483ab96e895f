# SPDX-License-Identifier: Apache-2.0
"""Who spoke in the last minute, as sure as everything heard since makes it.

Turns must be told at once, but words wait for their own recognizer anyway. So whose they are is
asked of the probabilities of the four states given all groups so far, not of what was decided when
they came: a hidden Markov model's forward and backward passes, the backward one only as far back as
the words reach.

Legend: G groups of frames, A states of who speaks, R states before, C channels.

Source: Rabiner 1989, section III (forward-backward). Its transitions are the costs of
`models.activity`, which are no probabilities: our reading.
"""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from evenear.errors import StateError
from evenear.models.activity import BOTH, FIRST, NOBODY, SECOND, ActivityConfig, ActivityDecoder

__all__ = ["SpeakingHistory"]


class SpeakingHistory:
    """Remembers so many groups of one stream.

    Args:
        costs: Its `switch_cost` and `odd_cost` are asked for each change of state, in nats.
        kept_groups: Groups that are remembered.
    """

    def __init__(self, costs: ActivityConfig, kept_groups: int) -> None:
        self._costs_RA = ActivityDecoder(costs).costs_RA.numpy().astype(np.float64)
        self._forward = deque[NDArray[np.float64]](maxlen=kept_groups)
        self._heard = deque[tuple[NDArray[np.float64], float]](maxlen=kept_groups)
        self.num_groups = 0

    def add(self, logits_A: NDArray[np.float32], shares_C: NDArray[np.float32]) -> None:
        """Take the next group: logits of who speaks, and whose the sound is where both do."""
        heard_A = logits_A.astype(np.float64) - _log_sum(logits_A.astype(np.float64), 0)
        before_R = self._forward[-1] if self._forward else _ONLY_NOBODY
        forward_A = heard_A + _log_sum(before_R[:, None] - self._costs_RA, 0)
        self._forward.append(forward_A - forward_A.max())
        first_share = float(shares_C[0]) / max(float(shares_C.sum()), 1e-6)
        self._heard.append((heard_A, first_share))
        self.num_groups += 1

    @property
    def first_group(self) -> int:
        """The first group that is remembered."""
        return self.num_groups - len(self._forward)

    def speaking(self, first: int) -> NDArray[np.float64]:
        """How much each channel is heard in the groups from `first` on, (C, G).

        The probability that its talker speaks alone, and its share of that both speak.

        Raises:
            StateError: The first of them was forgotten.
        """
        forgotten = self.first_group
        if first < forgotten:
            raise StateError(f"Groups from {forgotten} on are remembered, not from {first}.")
        found: list[list[float]] = []
        backward_A = np.zeros(len(self._costs_RA))
        for g in range(self.num_groups - 1, first - 1, -1):
            place = g - forgotten
            heard_A, share = self._heard[place]
            joint_A = self._forward[place] + backward_A
            chance_A = np.exp(joint_A - _log_sum(joint_A, 0))
            both = chance_A[BOTH]
            alone = chance_A[FIRST], chance_A[SECOND]
            found.append([alone[0] + both * share, alone[1] + both * (1.0 - share)])
            backward_A = _log_sum(heard_A + backward_A - self._costs_RA, 1)
        return np.array(found[::-1]).reshape(-1, 2).T


_ONLY_NOBODY = np.where(np.arange(4) == NOBODY, 0.0, -np.inf)


def _log_sum(x: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    most = x.max(axis=axis, keepdims=True)
    return (most + np.log(np.exp(x - most).sum(axis=axis, keepdims=True))).squeeze(axis)
