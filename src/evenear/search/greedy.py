# SPDX-License-Identifier: Apache-2.0
"""Greedy search: at each encoder frame take the most probable token until it is blank.

The joiner runs once a frame for the whole batch, and the predictor only for streams that emitted.

Legend: B streams, T encoder frames, D joiner width, V vocabulary.

Source: Graves 2012, arXiv:1211.3711, with a limit of tokens for each frame.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from evenear.encoders.base import Encoded
from evenear.models.transducer import Transducer
from evenear.search.hypotheses import Hypothesis, Search, read_tokens

__all__ = ["GreedySearch", "GreedyState", "greedy_search"]


class GreedyState(NamedTuple):
    """State of one stream."""

    predictor: Any
    """State of the predictor after the last token."""
    predicted_1D: Tensor
    """The predictor's projected output after the last token."""
    num_frames: int
    """Encoder frames heard."""
    hypothesis: Hypothesis


class GreedySearch(Search[GreedyState]):
    """Takes the best token at each step.

    Args:
        model: The transducer, in evaluation mode.
        max_symbols_per_frame: Tokens after which a frame is left even without blank.
    """

    def __init__(self, model: Transducer, *, max_symbols_per_frame: int = 4) -> None:
        self.model = model
        self.max_symbols_per_frame = max_symbols_per_frame

    @torch.inference_mode()
    def initial_state(self) -> GreedyState:
        """The state of one stream that has heard nothing."""
        start = self.model.predictor.initial_state(1)
        ((predictor, predicted_1D),) = read_tokens(self.model, [self.model.blank_id], [start])
        return GreedyState(predictor, predicted_1D, 0, _EMPTY)

    def best(self, state: GreedyState) -> Hypothesis:
        """The reading of a stream."""
        return state.hypothesis

    def num_shared(self, state: GreedyState) -> int:
        """All tokens: there is one reading."""
        return len(state.hypothesis.tokens)

    def commit(self, state: GreedyState, reading: Hypothesis, num_tokens: int) -> GreedyState:
        """Go on after the first tokens."""
        return state._replace(hypothesis=reading.without_first(num_tokens))

    def restart(self, state: GreedyState) -> GreedyState:
        """Begin a new reading at the frame that the stream is at."""
        return self.initial_state()._replace(num_frames=state.num_frames)

    @torch.inference_mode()
    def step(
        self,
        projected_BTD: Tensor,
        states: Sequence[GreedyState],
        lengths_B: Sequence[int] | None = None,
    ) -> list[GreedyState]:
        """Read frames; return the next state of each stream."""
        num_frames = projected_BTD.shape[1]
        if not states or not num_frames:
            return list(states)
        readings = [_Reading(state) for state in states]
        predicted_BD = torch.cat([state.predicted_1D for state in states])
        lengths = [num_frames] * len(states) if lengths_B is None else lengths_B
        for t in range(num_frames):
            active = [b for b, length in enumerate(lengths) if t < length]
            self._read_frame(projected_BTD[:, t], predicted_BD, active, readings)
        return [reading.state(predicted_BD[b : b + 1]) for b, reading in enumerate(readings)]

    def _read_frame(
        self,
        encoded_BD: Tensor,
        predicted_BD: Tensor,
        active: list[int],
        readings: list["_Reading"],
    ) -> None:
        """Read one frame of the active rows; `predicted_BD` and `readings` are the caller's own."""
        blank = self.model.blank_id
        for symbol in range(self.max_symbols_per_frame + 1):
            whole = len(active) == len(readings)
            rows = slice(None) if whole else active
            logits_BV = self.model.joiner(encoded_BD[rows], predicted_BD[rows])
            log_probs_BV = logits_BV.float().log_softmax(dim=1)
            best = log_probs_BV.max(dim=1)
            forced = symbol == self.max_symbols_per_frame
            scores = (log_probs_BV[:, blank] if forced else best.values).tolist()
            emitting = []
            for b, token, score in zip(active, best.indices.tolist(), scores, strict=True):
                if forced or token == blank:
                    readings[b].end_frame(score)
                else:
                    readings[b].emit(token, score)
                    emitting.append(b)
            if not emitting:
                return
            self._read_tokens(predicted_BD, emitting, readings)
            active = emitting

    def _read_tokens(
        self, predicted_BD: Tensor, rows: list[int], readings: list["_Reading"]
    ) -> None:
        """Let the predictor read the newest token of each of these rows."""
        tokens = [readings[b].tokens[-1] for b in rows]
        read = read_tokens(self.model, tokens, [readings[b].predictor for b in rows])
        for b, (predictor, _) in zip(rows, read, strict=True):
            readings[b].predictor = predictor
        predicted_BD[rows] = torch.cat([predicted_1D for _, predicted_1D in read])


def greedy_search(
    model: Transducer, encoded: Encoded, *, max_symbols_per_frame: int = 4
) -> list[Hypothesis]:
    """Read whole utterances, as `model.encode` returns them."""
    return GreedySearch(model, max_symbols_per_frame=max_symbols_per_frame).read(encoded)


class _Reading:
    """A hypothesis in the making."""

    def __init__(self, state: GreedyState) -> None:
        self.predictor = state.predictor
        self.before = state.hypothesis
        self.num_frames = state.num_frames
        self.log_prob = state.hypothesis.log_prob
        self.tokens: list[int] = []
        self.frames: list[int] = []
        self.log_probs: list[float] = []

    def emit(self, token: int, log_prob: float) -> None:
        self.tokens.append(token)
        self.frames.append(self.num_frames)
        self.log_probs.append(log_prob)
        self.log_prob += log_prob

    def end_frame(self, log_prob: float) -> None:
        self.num_frames += 1
        self.log_prob += log_prob

    def state(self, predicted_1D: Tensor) -> GreedyState:
        before = self.before
        hypothesis = Hypothesis(
            before.tokens + tuple(self.tokens),
            before.frames + tuple(self.frames),
            before.log_probs + tuple(self.log_probs),
            self.log_prob,
        )
        return GreedyState(self.predictor, predicted_1D.clone(), self.num_frames, hypothesis)


_EMPTY = Hypothesis((), (), (), 0.0)
