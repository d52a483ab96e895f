# SPDX-License-Identifier: Apache-2.0
"""What a two-channel model makes of test mixtures, counted mixture by mixture.

Turns are counted as in the paper: from the tokens of both channels, parted at the marks, those
without words left out. A model without tokens marks no turns, so its turns are not counted.

Legend: B mixtures, S channels of all mixtures, T encoder frames.

Source: Sklyar, Piunova, Osendorfer 2022, arXiv:2205.05199, section 3.3.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from evenear.data.conversations.batches import MixtureBatch, MixtureBatchMaker
from evenear.data.conversations.mixtures import MixturePlan, overlap_ratio
from evenear.metrics.emission import TrueTurn, TurnMoments, emission_latencies
from evenear.metrics.turns import orc_errors
from evenear.metrics.words import normalize
from evenear.models.separator import NUM_CHANNELS
from evenear.models.twotalkers import SeparatorTransducer
from evenear.search import Hypothesis, greedy_search
from evenear.tokenizer import Tokenizer
from evenear.units import FrameClock, Seconds

__all__ = ["MixtureScore", "condition_of", "said_turns", "score_mixtures"]


@dataclass(frozen=True)
class MixtureScore:
    """Counts of one mixture."""

    mixture_id: str
    condition: str
    turns: int
    words: int
    errors: int
    insertions: int
    deletions: int
    counted: int | None
    """Turns that were counted; None without turn tokens."""
    end_of_turn: tuple[Seconds, ...]
    """Latencies, where the number of turns is right and there are more than two."""
    last_word: tuple[Seconds, ...]
    start_of_turn: tuple[Seconds, ...]
    first_word: tuple[Seconds, ...]
    active_norm: float
    """Mean norm of encoder frames in which somebody speaks on the channel."""
    silent_norm: float | None
    """The same of frames in which nobody does."""

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "MixtureScore":
        """The inverse of `to_dict`."""
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return cls(**{**values, **lists})


def condition_of(plan: MixturePlan) -> str:
    """The test condition that a mixture belongs to, by how much of its speech is overlapped."""
    ratio = overlap_ratio(plan)
    if ratio == 0:
        return "no overlap"
    if ratio <= 0.2:
        return "overlap up to 20 %"
    return "overlap 20 to 40 %" if ratio <= 0.4 else "overlap over 40 %"


@torch.no_grad()
def score_mixtures(
    model: SeparatorTransducer, maker: MixtureBatchMaker, groups: Sequence[Sequence[str]]
) -> list[MixtureScore]:
    """Read mixtures greedily and count. The model is in evaluation mode."""
    scores = []
    for group in groups:
        batch = maker.batch(group, 0)
        encoded = model.encode(batch.features_BTF, batch.lengths_B)
        readings = greedy_search(model.transducer, encoded)
        norms_ST = encoded.encoded_BTD.norm(dim=2)
        for b, name in enumerate(batch.mixture_ids):
            plan = maker.plan_of(name)
            own = [readings[c * len(group) + b] for c in range(NUM_CHANNELS)]
            active, silent = _norms(batch, norms_ST, b, len(group))
            scores.append(_score(plan, own, maker, active, silent))
    return scores


def said_turns(reading: Hypothesis, tokenizer: Tokenizer, clock: FrameClock) -> list[TurnMoments]:
    """The moments of each turn with words of one channel, known from when its frame was heard."""
    turns: list[TurnMoments] = []
    start: Seconds | None = None
    words: list[Seconds] = []
    for token, frame in zip(reading.tokens, reading.frames, strict=True):
        known = clock.seconds_at(frame + 1)
        if token == tokenizer.sot_id:
            _add(turns, start, words, None)
            start, words = known, []
        elif token == tokenizer.eot_id:
            _add(turns, start, words, known)
            start, words = None, []
        else:
            words.append(known)
    _add(turns, start, words, None)
    return turns


def _add(
    turns: list[TurnMoments], start: Seconds | None, words: list[Seconds], end: Seconds | None
) -> None:
    if words:
        turns.append(TurnMoments(start, words[0], words[-1], end))


def _score(
    plan: MixturePlan,
    readings: Sequence[Hypothesis],
    maker: MixtureBatchMaker,
    active: float,
    silent: float | None,
) -> MixtureScore:
    tokenizer = maker.tokenizer
    ordered = sorted(plan.turns, key=lambda turn: turn.start_sample)
    marks = (tokenizer.sot_id, tokenizer.eot_id)
    texts = [
        normalize(tokenizer.decode([t for t in one.tokens if t not in marks])) for one in readings
    ]
    words = orc_errors([normalize(turn.text) for turn in ordered], texts)
    counted = None
    moments: list[TurnMoments] = []
    if maker.marks != "none":
        moments = [turn for one in readings for turn in said_turns(one, tokenizer, maker.clock)]
        counted = len(moments)
    truth = [TrueTurn(turn.start_seconds, turn.end_seconds) for turn in ordered]
    latencies = emission_latencies(truth if len(truth) > 2 else (), moments)
    return MixtureScore(
        mixture_id=plan.mixture_id,
        condition=condition_of(plan),
        turns=len(ordered),
        words=words.reference_words,
        errors=words.errors,
        insertions=words.insertions,
        deletions=words.deletions,
        counted=counted,
        end_of_turn=latencies.end_of_turn,
        last_word=latencies.last_word,
        start_of_turn=latencies.start_of_turn,
        first_word=latencies.first_word,
        active_norm=active,
        silent_norm=silent,
    )


def _norms(
    batch: MixtureBatch, norms_ST: torch.Tensor, b: int, size: int
) -> tuple[float, float | None]:
    """Mean norms of a mixture's frames with and without speech on their channel."""
    length = int(batch.lengths_B[b])
    rows = [c * size + b for c in range(NUM_CHANNELS)]
    norms = torch.cat([norms_ST[row, :length] for row in rows])
    silent = torch.cat([batch.silent_ST[row, :length] for row in rows])
    quiet = float(norms[silent].mean()) if bool(silent.any()) else None
    return float(norms[~silent].mean()), quiet
