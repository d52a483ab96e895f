# SPDX-License-Identifier: Apache-2.0
"""What a search finds, and the contract of every search.

    states = [search.initial_state() for _ in listeners]
    states = search.step(projected_BTD, states)          # encoder frames of any number, even zero
    hypothesis = search.best(states[0])

A search reads encoder frames one at a time and keeps no history outside its states. The state of a
stream is a value of its own, not a row of a batch: hypotheses differ in number and length, and
listeners come and go. So a batch is a list of states, and numbers in a state are its stream's own.
Tokens that all readings share can be committed: the search goes on after them, and forgets them.

Legend: B streams, N hypotheses, T encoder frames, D joiner width.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from evenear.encoders.base import Encoded
from evenear.models.transducer import Transducer
from evenear.nn.state import split_state, stack_states

__all__ = ["Hypothesis", "Search", "num_alike", "read_tokens"]

S = TypeVar("S")


class Hypothesis(NamedTuple):
    """One way of reading the audio so far."""

    tokens: tuple[int, ...]
    frames: tuple[int, ...]
    """Encoder frame at which each token was emitted."""
    log_probs: tuple[float, ...]
    """Natural log of each token's probability when it was emitted."""
    log_prob: float
    """Natural log of the probability of the whole reading, blanks included."""

    def without_first(self, num_tokens: int) -> "Hypothesis":
        """What is left after the first tokens; the probability stays that of the whole."""
        return Hypothesis(
            self.tokens[num_tokens:],
            self.frames[num_tokens:],
            self.log_probs[num_tokens:],
            self.log_prob,
        )


class Search(ABC, Generic[S]):
    """Turns projected encoder frames into hypotheses, for many streams at once."""

    model: Transducer

    @abstractmethod
    def initial_state(self) -> S:
        """The state of one stream that has heard nothing."""

    @abstractmethod
    def step(
        self, projected_BTD: Tensor, states: Sequence[S], lengths_B: Sequence[int] | None = None
    ) -> list[S]:
        """Read frames; return the next state of each stream.

        Args:
            projected_BTD: Encoder frames as `Transducer.step` returns them.
            states: One state for each row; they are not changed.
            lengths_B: How many frames of each row are real; None: all.
        """

    @abstractmethod
    def best(self, state: S) -> Hypothesis:
        """The most probable reading since the stream, or the last `restart`, began."""

    def finalized(self, state: S, *, is_over: bool = True) -> Hypothesis:  # noqa: ARG002
        """The reading to hand out; this may take longer.

        Args:
            state: The state.
            is_over: A stretch of speech is over; else words must become final though it goes on.
        """
        return self.best(state)

    @abstractmethod
    def num_shared(self, state: S) -> int:
        """How many of the best reading's tokens begin all readings: these cannot change."""

    @abstractmethod
    def commit(self, state: S, reading: Hypothesis, num_tokens: int) -> S:
        """Go on after the first tokens of a reading, which are handed out and never change.

        Readings that begin otherwise are dropped, and what `best` returns begins after them. So a
        state stays small however long somebody talks.
        """

    @abstractmethod
    def restart(self, state: S) -> S:
        """The state of a stream that begins a new reading at the frame it is at."""

    def without_stale(self, state: S, frame: int) -> S:
        """The state without readings whose last token came before a frame; an empty one stays.

        For a stream in silence: there each frame makes it likelier that some token came in one of
        them, until one that nobody said, and that long ago, would be the best.
        """
        del frame
        return state

    @torch.inference_mode()
    def read(self, encoded: Encoded) -> list[Hypothesis]:
        """The final reading of each whole, padded utterance (as `Transducer.encode` returns)."""
        projected_BTD = self.model.joiner.encoder_proj(encoded.encoded_BTD).float()
        states = [self.initial_state() for _ in range(len(projected_BTD))]
        states = self.step(projected_BTD, states, encoded.lengths_B.tolist())
        return [self.finalized(state) for state in states]


def num_alike(readings: Collection[tuple[int, ...]]) -> int:
    """The length of what all readings begin with."""
    first, last = min(readings), max(readings)  # all others lie between them
    for count, (one, other) in enumerate(zip(first, last, strict=False)):
        if one != other:
            return count
    return min(len(first), len(last))


def read_tokens(
    model: Transducer, tokens: Sequence[int], states: Sequence[Any]
) -> list[tuple[Any, Tensor]]:
    """Let the predictor read one token in each of some states.

    Returns:
        For each: the next predictor state, and the projected prediction of shape (1, D).
    """
    if len(states) == 1:
        predicted_11D, state = model.predictor.step(torch.tensor([[tokens[0]]]), states[0])
        return [(state, model.joiner.predictor_proj(predicted_11D)[0])]
    stacked: Any = stack_states(states)
    predicted_N1D, stacked = model.predictor.step(torch.tensor(tokens)[:, None], stacked)
    projected_ND = model.joiner.predictor_proj(predicted_N1D)[:, 0]
    parts = split_state(stacked, len(states))
    return [(part, projected_ND[i : i + 1]) for i, part in enumerate(parts)]
