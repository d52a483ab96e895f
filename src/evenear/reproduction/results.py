# SPDX-License-Identifier: Apache-2.0
"""From scores and curves of all runs to one table: rates, differences, costs, claims.

Everything here is a value that is written to one JSON file; the page is drawn from nothing else.

Legend: S speakers.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from evenear import __version__
from evenear.reproduction.claims import Claim, Evidence, judge
from evenear.reproduction.measures import Costs, Counts
from evenear.reproduction.paper import LABELS
from evenear.reproduction.scoring import CLEAN, Score
from evenear.reproduction.statistics import (
    Difference,
    Estimate,
    SpeakerErrors,
    Speakers,
    by_speaker,
)

__all__ = [
    "NOISY",
    "REFERENCE",
    "Curve",
    "Delay",
    "Measured",
    "Pair",
    "Rate",
    "Results",
    "Setting",
    "Variant",
    "gather",
    "to_json",
]

REFERENCE = "lstm"
"""The recognizer that all others are compared with."""
NOISY = "noisy"
"""All conditions with noise as one."""
_COMPARED = (
    ("convrnn", "conformer"),
    ("convrnn", "contextnet"),
    ("contextnet", "conformer"),
    ("convrnn-global-only", "convrnn-local-only"),
    ("convrnn", "convrnn-local-only"),
    ("convrnn", "convrnn-global-only"),
    ("convrnn", "convrnn-no-se"),
    ("convrnn-fastemit", "convrnn"),
    ("convrnn-two-blocks", "convrnn"),
    ("convrnn-two-blocks", "convrnn-local-only"),
    ("convrnn-long-past", "convrnn"),
    ("convrnn-layer-norm", "convrnn"),
)
"""Pairs that are compared beside those with the reference."""


@dataclass(frozen=True)
class Setting:
    """What was done, as far as the numbers depend on it."""

    command: str
    data: tuple[str, ...]
    test: str
    hours: float
    """Hours of training sound that is stored, copies counted."""
    num_updates: int
    num_seeds: int
    num_utterances: int
    num_words: int
    num_speakers: int
    test_hours: float
    shared_speakers: int
    """Speakers of the test who are also in the training corpora; 0 is what it should be."""
    shared_sentences: int
    """Utterances of the test whose words somebody says in the training corpora, too."""


@dataclass(frozen=True)
class Curve:
    """Word error rate on held-out speakers as a run went on."""

    seed: int
    updates: tuple[int, ...]
    dev_wers: tuple[float, ...]
    losses: tuple[float, ...]


@dataclass(frozen=True)
class Delay:
    """How late a recognizer emits, in milliseconds after the aligning recognizer."""

    mean: float | None
    p50: float | None
    p90: float | None
    num_tokens: int
    share_right: float
    """Part of the reference tokens that were read right, and so measured."""


@dataclass(frozen=True)
class Measured:
    """What was measured of a variant beside its errors."""

    costs: Costs
    real_time_factor: float | None
    chunk_p95_milliseconds: float | None
    streaming_gap: float
    trap_gap: float | None
    delay: Delay


@dataclass(frozen=True)
class Rate:
    """Word error rate of a variant under one condition, over its seeds."""

    condition: str
    wer: Estimate
    by_seed: tuple[float, ...]


@dataclass(frozen=True)
class Variant:
    """Everything known of one variant."""

    name: str
    label: str
    rates: tuple[Rate, ...]
    measured: Measured
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class Pair:
    """One variant against another under one condition."""

    condition: str
    variant: str
    reference: str
    difference: Difference


@dataclass(frozen=True)
class Results:
    """The whole reproduction."""

    setting: Setting
    aligner: str
    """The run whose alignment delays are measured against."""
    variants: tuple[Variant, ...]
    pairs: tuple[Pair, ...]
    counts: Counts
    claims: tuple[Claim, ...]

    def difference(self, condition: str, variant: str, reference: str) -> Difference | None:
        """How two variants differ, if both were trained."""
        for pair in self.pairs:
            if (pair.condition, pair.variant, pair.reference) == (condition, variant, reference):
                return pair.difference
        return None

    @property
    def conditions(self) -> tuple[str, ...]:
        """Conditions in the order of the tables; the noisy ones as one come last."""
        return tuple(rate.condition for rate in self.variants[0].rates) if self.variants else ()


def gather(
    setting: Setting,
    scores: Mapping[str, Sequence[Sequence[Score]]],
    curves: Mapping[str, Sequence[Curve]],
    measured: Mapping[str, Measured],
    counts: Counts,
    aligner: str,
) -> Results:
    """Compare all variants and judge the paper's claims.

    Args:
        setting: What was done.
        scores: What each seed of each variant read.
        curves: How each seed of each variant learned.
        measured: What else is known of each variant.
        counts: Costs at the paper's sizes.
        aligner: The run whose alignment delays are measured against.
    """
    speakers = sorted({one.speaker for runs in scores.values() for one in runs[0]})
    draws = Speakers(len(speakers))
    errors = {name: _conditions(runs, speakers) for name, runs in scores.items()}
    pairs = _pairs(errors, draws)
    evidence = Evidence(
        differences={(p.condition, p.variant, p.reference): p.difference for p in pairs},
        change_of_gain=_change_of_gain(errors, draws),
        streaming_gaps={name: one.streaming_gap for name, one in measured.items()},
        trap_gap=measured["convrnn"].trap_gap if "convrnn" in measured else None,
        counts=counts,
        real_time_factors={name: one.real_time_factor for name, one in measured.items()},
    )
    variants = tuple(
        Variant(
            name=name,
            label=LABELS[name],
            rates=tuple(
                Rate(condition, draws.rate(one), one.rates)
                for condition, one in errors[name].items()
            ),
            measured=measured[name],
            curves=tuple(curves[name]),
        )
        for name in LABELS
        if name in scores
    )
    return Results(setting, aligner, variants, tuple(pairs), counts, judge(evidence))


def to_json(results: Results) -> str:
    """The results as JSON text; what is not a number becomes null."""
    content = {"format": 1, "evenear": __version__, **asdict(results)}
    content["counts"]["true_macs"] = dict(results.counts.true_macs)
    return json.dumps(_plain(content), indent=1, ensure_ascii=False) + "\n"


def _conditions(
    runs: Sequence[Sequence[Score]], speakers: Sequence[str]
) -> dict[str, SpeakerErrors]:
    """Errors of a variant by condition: clean first, then falling ratios, then all noise as one."""
    names = sorted({one.condition for one in runs[0]}, key=_order)
    found = {}
    for name in names:
        sums = [
            by_speaker(
                ((s.speaker, s.errors, s.words) for s in run if s.condition == name), speakers
            )
            for run in runs
        ]
        found[name] = SpeakerErrors(tuple(errors_S for errors_S, _ in sums), sums[0][1])
    noisy = [one for name, one in found.items() if name != CLEAN]
    return {**found, NOISY: SpeakerErrors.pooled(noisy)} if noisy else found


def _order(condition: str) -> float:
    return -math.inf if condition == CLEAN else -float(condition.removesuffix(" dB"))


def _pairs(errors: Mapping[str, Mapping[str, SpeakerErrors]], draws: Speakers) -> list[Pair]:
    wanted = [(name, REFERENCE) for name in errors if name != REFERENCE]
    wanted += _COMPARED
    return [
        Pair(
            condition,
            name,
            other,
            draws.difference(errors[name][condition], errors[other][condition]),
        )
        for name, other in wanted
        if name in errors and other in errors
        for condition in errors[name]
    ]


def _change_of_gain(
    errors: Mapping[str, Mapping[str, SpeakerErrors]], draws: Speakers
) -> Estimate | None:
    if "convrnn" not in errors or REFERENCE not in errors or NOISY not in errors[REFERENCE]:
        return None
    one, other = errors["convrnn"], errors[REFERENCE]
    return draws.change_of_gain(one[CLEAN], other[CLEAN], one[NOISY], other[NOISY])


def _plain(value: Any) -> Any:
    """JSON has no NaN; tuples are lists there."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
