# SPDX-License-Identifier: Apache-2.0
"""Beam search: keep several readings, frame by frame, and add up equal ones.

Time-synchronous: all hypotheses of a stream have read the same frames. Within a frame each may emit
a few tokens; after each token the best `width` are kept of those that have ended the frame (with
blank) and those that have not. Hypotheses with equal tokens are one: their probabilities are added,
and the likelier one's token times are kept. With a width of 1 this is greedy search; with an
unlimited width, the exact sum over alignments of at most `max_symbols_per_frame` tokens a frame.

Tokens may be scored by more than the model: for a token k after tokens y

    score(k) = log P(k | t, y) + lm_weight log LM(k | y) - internal_lm_weight log ILM(k | y) + bonus

Legend: B streams, N hypotheses, T encoder frames, D joiner width, V vocabulary.

Source: Saon, Tüske and Audhkhasi 2020, "Alignment-length synchronous decoding for RNN transducer"
(its time-synchronous variant); internal language model with a silent encoder: Meng et al. 2021,
arXiv:2011.01991.
Departs from the papers: ended and open hypotheses share one beam, so that width 1 is greedy.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from pydantic import Field
from torch import Tensor

from evenear.config import config
from evenear.encoders.base import Encoded
from evenear.models.transducer import Transducer
from evenear.search.hypotheses import Hypothesis, Search, num_alike, read_tokens

__all__ = [
    "BeamConfig",
    "BeamHypothesis",
    "BeamSearch",
    "BeamState",
    "TokenScorer",
    "beam_search",
]


@config
class BeamConfig:
    """How many readings are kept, and what they are scored by."""

    width: int = Field(default=4, ge=1)
    """Hypotheses kept for each stream."""
    max_symbols_per_frame: int = Field(default=4, ge=1)
    max_gap: float = Field(default=15.0, gt=0)
    """Hypotheses that are this many nats behind the best are dropped."""
    lm_weight: float = Field(default=0.0, ge=0)
    """Weight of the language model's log-probabilities."""
    internal_lm_weight: float = Field(default=0.0, ge=0)
    """Weight of the transducer's own language model, which is taken away."""
    insertion_bonus: float = 0.0
    """Added for each token; language models favor short readings, this pays it back."""


class TokenScorer(Protocol):
    """What a language model must offer to score tokens while they are found."""

    def next_log_probs(self, tokens: Sequence[int]) -> Tensor:
        """Natural log of the probability of each next token, (V,); 0 for special tokens."""
        ...


class BeamHypothesis(NamedTuple):
    """One reading that is alive, and what is needed to go on."""

    reading: Hypothesis
    extra: float
    """Language model scores and bonuses of its tokens."""
    predictor: Any
    predicted_1D: Tensor
    extra_V: Tensor | None
    """What each next token would add to `extra`; None if nothing is added to any."""

    @property
    def score(self) -> float:
        """What hypotheses are ranked by."""
        return self.reading.log_prob + self.extra


class BeamState(NamedTuple):
    """State of one stream: its hypotheses, best first."""

    num_frames: int
    hypotheses: tuple[BeamHypothesis, ...]
    committed: tuple[int, ...] = ()
    """The last tokens that were handed out, which the language model still looks at."""


_CONTEXT_TOKENS = 32
"""Committed tokens that a language model may look at."""


class BeamSearch(Search[BeamState]):
    """Keeps the best readings.

    Args:
        model: The transducer, in evaluation mode.
        config: Width and weights.
        language_model: Scores tokens if `config.lm_weight` is not 0.
    """

    def __init__(
        self,
        model: Transducer,
        config: BeamConfig | None = None,
        language_model: TokenScorer | None = None,
    ) -> None:
        self.model = model
        self.config = config or BeamConfig()
        self.language_model = language_model

    @torch.inference_mode()
    def initial_state(self) -> BeamState:
        """The state of one stream that has heard nothing."""
        start = self.model.predictor.initial_state(1)
        ((predictor, predicted_1D),) = read_tokens(self.model, [self.model.blank_id], [start])
        (extra_V,) = self._extras([()], predicted_1D)
        empty = Hypothesis((), (), (), 0.0)
        return BeamState(0, (BeamHypothesis(empty, 0.0, predictor, predicted_1D, extra_V),))

    def best(self, state: BeamState) -> Hypothesis:
        """The reading with the best score."""
        return state.hypotheses[0].reading

    def n_best(self, state: BeamState) -> list[Hypothesis]:
        """All readings that are alive, best first."""
        return [hypothesis.reading for hypothesis in state.hypotheses]

    def num_shared(self, state: BeamState) -> int:
        """How many of the best reading's tokens begin all readings."""
        return num_alike([hypothesis.reading.tokens for hypothesis in state.hypotheses])

    def commit(self, state: BeamState, reading: Hypothesis, num_tokens: int) -> BeamState:
        """Go on after the first tokens of a reading, with the readings that begin with them."""
        tokens = reading.tokens[:num_tokens]
        kept = tuple(
            one._replace(reading=one.reading.without_first(num_tokens))
            for one in state.hypotheses
            if one.reading.tokens[:num_tokens] == tokens
        )
        committed = (*state.committed, *tokens)[-_CONTEXT_TOKENS:]
        return BeamState(state.num_frames, kept, committed)

    def restart(self, state: BeamState) -> BeamState:
        """Begin a new reading at the frame that the stream is at."""
        return self.initial_state()._replace(num_frames=state.num_frames)

    def without_stale(self, state: BeamState, frame: int) -> BeamState:
        """The state without readings whose last token came before a frame; an empty one stays."""
        kept = tuple(
            one
            for one in state.hypotheses
            if not one.reading.tokens or one.reading.frames[-1] >= frame
        )
        return state._replace(hypotheses=kept) if kept else state

    @torch.inference_mode()
    def step(
        self,
        projected_BTD: Tensor,
        states: Sequence[BeamState],
        lengths_B: Sequence[int] | None = None,
    ) -> list[BeamState]:
        """Read frames; return the next state of each stream."""
        states = list(states)
        num_frames = projected_BTD.shape[1]
        lengths = [num_frames] * len(states) if lengths_B is None else lengths_B
        for t in range(num_frames):
            active = [b for b, length in enumerate(lengths) if t < length]
            read = self._read_frame(projected_BTD[active, t], [states[b] for b in active])
            for b, state in zip(active, read, strict=True):
                states[b] = state
        return states

    def _read_frame(self, encoded_BD: Tensor, states: list[BeamState]) -> list[BeamState]:
        """Read one frame in every stream."""
        beams = [_FrameBeam(state, self.config) for state in states]
        for symbol in range(self.config.max_symbols_per_frame + 1):
            opened = [(b, h) for b, beam in enumerate(beams) for h in beam.opened]
            if not opened:
                break
            predicted_ND = torch.cat([h.predicted_1D for _, h in opened])
            logits_NV = self.model.joiner(encoded_BD[[b for b, _ in opened]], predicted_ND)
            log_probs_NV = logits_NV.float().log_softmax(dim=1)
            blanks = log_probs_NV[:, self.model.blank_id].tolist()
            for (b, hypothesis), log_prob in zip(opened, blanks, strict=True):
                beams[b].end_frame(hypothesis, log_prob)
            if symbol < self.config.max_symbols_per_frame:
                self._open(beams, opened, log_probs_NV)
            else:
                for beam in beams:
                    beam.opened = []
        return [beam.state() for beam in beams]

    def _open(
        self,
        beams: list["_FrameBeam"],
        opened: list[tuple[int, BeamHypothesis]],
        log_probs_NV: Tensor,
    ) -> None:
        """Replace each beam's open hypotheses by the best that have one token more."""
        scores_NV = log_probs_NV.clone()
        extras = [h.extra_V for _, h in opened]
        if extras[0] is not None:
            scores_NV += torch.stack([e for e in extras if e is not None])
        scores_NV[:, self.model.blank_id] = -torch.inf
        count = min(self.config.width, scores_NV.shape[1])
        best = scores_NV.topk(count, dim=1)
        log_probs = log_probs_NV.gather(1, best.indices).tolist()
        rows = zip(opened, best.values.tolist(), best.indices.tolist(), log_probs, strict=True)
        for (b, hypothesis), *candidates in rows:
            beams[b].propose(hypothesis, zip(*candidates, strict=True))
        chosen = [(b, c) for b, beam in enumerate(beams) for c in beam.choose()]
        if not chosen:
            return
        states = [c.parent.predictor for _, c in chosen]
        read = read_tokens(self.model, [c.token for _, c in chosen], states)
        readings = [c.reading(beams[b].num_frames) for b, c in chosen]
        predicted_ND = torch.cat([predicted_1D for _, predicted_1D in read])
        contexts = [
            (*beams[b].committed, *reading.tokens)
            for (b, _), reading in zip(chosen, readings, strict=True)
        ]
        extras = self._extras(contexts, predicted_ND)
        for (b, candidate), reading, (predictor, predicted_1D), extra_V in zip(
            chosen, readings, read, extras, strict=True
        ):
            extra = candidate.score - reading.log_prob
            beams[b].opened.append(BeamHypothesis(reading, extra, predictor, predicted_1D, extra_V))

    def _extras(
        self, tokens: Sequence[tuple[int, ...]], predicted_ND: Tensor
    ) -> Sequence[Tensor | None]:
        """What each token after each of N readings adds to the model's own score."""
        settings = self.config
        scorer = self.language_model if settings.lm_weight else None
        if not (scorer or settings.internal_lm_weight or settings.insertion_bonus):
            return [None] * len(tokens)
        size = (len(tokens), self.model.config.vocabulary_size)
        extra_NV = torch.full(size, settings.insertion_bonus)
        if scorer is not None:
            scored_NV = torch.stack([scorer.next_log_probs(each) for each in tokens])
            extra_NV += settings.lm_weight * scored_NV
        if settings.internal_lm_weight:
            silence_D = self.model.joiner.encoder_proj.bias
            logits_NV = self.model.joiner(silence_D, predicted_ND).float()
            logits_NV[:, self.model.blank_id] = -torch.inf
            extra_NV -= settings.internal_lm_weight * logits_NV.log_softmax(dim=1)
        return extra_NV.unbind()


def beam_search(
    model: Transducer,
    encoded: Encoded,
    config: BeamConfig | None = None,
    language_model: TokenScorer | None = None,
) -> list[Hypothesis]:
    """Read whole utterances, as `model.encode` returns them."""
    return BeamSearch(model, config, language_model).read(encoded)


class _Candidate(NamedTuple):
    """A hypothesis with one token more, whose predictor has not read it yet."""

    score: float
    parent: BeamHypothesis
    token: int
    log_prob: float

    def reading(self, frame: int) -> Hypothesis:
        before = self.parent.reading
        return Hypothesis(
            (*before.tokens, self.token),
            (*before.frames, frame),
            (*before.log_probs, self.log_prob),
            before.log_prob + self.log_prob,
        )


class _FrameBeam:
    """The hypotheses of one stream while it reads one frame."""

    def __init__(self, state: BeamState, settings: BeamConfig) -> None:
        self.num_frames, self.committed = state.num_frames, state.committed
        self.settings = settings
        self.opened = list(state.hypotheses)
        self.ended: dict[tuple[int, ...], BeamHypothesis] = {}
        self.candidates: list[_Candidate] = []

    def end_frame(self, hypothesis: BeamHypothesis, log_prob: float) -> None:
        """Let a hypothesis leave the frame, adding it to its equal if there is one."""
        own = hypothesis.reading
        total = own.log_prob + log_prob
        equal = self.ended.get(own.tokens)
        if equal is not None:
            other = equal.reading
            own = other if other.log_prob > total else own
            total = _log_add(total, other.log_prob)
        reading = own._replace(log_prob=total)
        self.ended[own.tokens] = hypothesis._replace(reading=reading)

    def propose(self, parent: BeamHypothesis, tokens: Any) -> None:
        """Add candidates, given best first as (added score, token, log-probability)."""
        floor = self._floor()
        for added, token, log_prob in tokens:
            score = parent.score + added
            if not score > floor:
                return
            self.candidates.append(_Candidate(score, parent, token, log_prob))

    def choose(self) -> list[_Candidate]:
        """Keep the best of ended hypotheses and candidates; return the candidates among them."""
        ended = [(h.score, h) for h in self.ended.values()]
        pool = sorted([*ended, *((c.score, c) for c in self.candidates)], key=_first, reverse=True)
        best = pool[0][0]
        kept = [x for score, x in pool[: self.settings.width] if score > best - self._gap]
        self.ended = {h.reading.tokens: h for h in kept if isinstance(h, BeamHypothesis)}
        self.candidates, self.opened = [], []
        return [c for c in kept if isinstance(c, _Candidate)]

    def state(self) -> BeamState:
        """The stream after this frame."""
        ranked = sorted(self.ended.values(), key=lambda h: h.score, reverse=True)
        floor = ranked[0].score - self._gap
        kept = [h for h in ranked[: self.settings.width] if h.score > floor]
        return BeamState(self.num_frames + 1, tuple(kept), self.committed)

    @property
    def _gap(self) -> float:
        return self.settings.max_gap

    def _floor(self) -> float:
        """A score that candidates must exceed to have a place."""
        if len(self.ended) < self.settings.width:
            return -math.inf
        return sorted((h.score for h in self.ended.values()), reverse=True)[self.settings.width - 1]


def _first(pair: tuple[float, Any]) -> float:
    return pair[0]


def _log_add(a: float, b: float) -> float:
    high, low = max(a, b), min(a, b)
    return high + math.log1p(math.exp(low - high))
