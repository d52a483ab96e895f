# SPDX-License-Identifier: Apache-2.0
"""What the paper claims, and whether it holds here: a verdict for each claim, by its interval.

A claim is one or more parts, each a number that should lie on one side of a bound. A claim holds if
every part's interval lies on the claimed side, it does not hold if some part's interval lies on the
other side, and otherwise nothing can be told at this size. What is exact (counts, identity) has no
interval and is decided as it is.

Source: the claims are those of Radfar et al. 2022, ConvRNN-T, arXiv:2209.14868.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from evenear.reproduction.measures import Counts
from evenear.reproduction.paper import LABELS
from evenear.reproduction.statistics import Difference, Estimate

__all__ = ["STREAMING_TOLERANCE", "Claim", "Evidence", "Judgement", "Part", "judge"]

Judgement = Literal["holds", "does not hold", "cannot tell", "not measured"]

STREAMING_TOLERANCE = 1e-3
"""Largest difference of encoder outputs that is rounding, as streamed and as whole utterances."""

_LEAST_GAIN = -0.05
"""ConvRNN-T should make at least so many fewer errors than the RNN-T, relative to it."""


@dataclass(frozen=True)
class Part:
    """One number that a claim rests on."""

    what: str
    papers: str
    """What the paper says of it."""
    estimate: Estimate | None
    """None where it was not measured."""
    kind: Literal["relative", "points"]
    judgement: Judgement


@dataclass(frozen=True)
class Claim:
    """A claim of the paper and what became of it."""

    title: str
    parts: tuple[Part, ...]
    judgement: Judgement
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """All that claims are judged by."""

    differences: Mapping[tuple[str, str, str], Difference]
    """By (condition, variant, reference)."""
    change_of_gain: Estimate | None
    """How much more ConvRNN-T gains over the RNN-T with noise than without."""
    streaming_gaps: Mapping[str, float]
    """Largest difference between a stream and whole utterances, by variant."""
    trap_gap: float | None
    """The same of ConvRNN-T with the squeeze-and-excite of whole utterances."""
    counts: Counts
    """What the encoders cost at the paper's sizes."""
    real_time_factors: Mapping[str, float | None]
    """Measured, by variant."""


def judge(evidence: Evidence) -> tuple[Claim, ...]:
    """The verdict on each of the paper's claims."""
    return (
        _beats_the_rnnt(evidence),
        _gains_more_with_noise(evidence),
        _order_of_front_ends(evidence),
        _ranking(evidence),
        _streams(evidence),
        _computes_less(evidence),
    )


def _beats_the_rnnt(evidence: Evidence) -> Claim:
    parts = []
    for condition, papers in (("clean", "−13.4 % (clean)"), ("noisy", "−12.0 % (other)")):
        found = evidence.differences.get((condition, "convrnn", "lstm"))
        estimate = found.relative if found else None
        parts.append(
            Part(
                f"ConvRNN-T, against RNN-T, {condition}",
                papers,
                estimate,
                "relative",
                _is_large_gain(estimate),
            )
        )
    title = "ConvRNN-T makes at least 5 % fewer word errors than an RNN-T of equal size"
    return Claim(title, tuple(parts), _together(parts))


def _gains_more_with_noise(evidence: Evidence) -> Claim:
    part = Part(
        "More gained per 100 words with noise than without",
        "+1.10 (0.79 clean, 1.89 other)",
        evidence.change_of_gain,
        "points",
        _is_above(evidence.change_of_gain),
    )
    title = "The gain over the RNN-T, in words, is larger on harder audio"
    return Claim(title, (part,), part.judgement)


def _order_of_front_ends(evidence: Evidence) -> Claim:
    parts = [
        _relative(evidence, "convrnn-global-only", "convrnn-local-only", "+40.2 %", above=True),
        _relative(evidence, "convrnn", "convrnn-local-only", "−9.0 %", above=False),
    ]
    title = "Global convolutions alone are worse than local ones alone; both together are best"
    notes = (
        "Here the LSTM layers of the ablations are wider, so that all have equally many "
        "parameters; in the paper the smaller front ends stay smaller.",
    )
    return Claim(title, tuple(parts), _together(parts), notes)


def _ranking(evidence: Evidence) -> Claim:
    parts = [
        _relative(evidence, "convrnn", "conformer", "−10.4 %", above=False),
        _relative(evidence, "convrnn", "contextnet", "−15.1 %", above=False),
        _relative(evidence, "contextnet", "lstm", "+2.0 %", above=True),
    ]
    title = "On clean speech ConvRNN-T beats Conformer and ContextNet, and ContextNet is the last"
    return Claim(title, tuple(parts), _together(parts))


def _streams(evidence: Evidence) -> Claim:
    title = "A stream gives what whole utterances give, and the future is not heard"
    if not evidence.streaming_gaps:
        return Claim(title, (), "not measured")
    worst = max(evidence.streaming_gaps.values())
    notes = [
        "Largest difference of encoder outputs, on trained weights, of "
        f"{len(evidence.streaming_gaps)} recognizers: {worst:.2g} (rounding: below "
        f"{STREAMING_TOLERANCE:g})."
    ]
    if evidence.trap_gap is not None:
        notes.append(
            "With the same weights and a squeeze over the whole utterance instead of the past, "
            f"ConvRNN-T would be off by {evidence.trap_gap:.2g}."
        )
    holds = worst <= STREAMING_TOLERANCE
    return Claim(title, (), "holds" if holds else "does not hold", tuple(notes))


def _computes_less(evidence: Evidence) -> Claim:
    counts = evidence.counts
    shares = [a / b for a, b in zip(counts.papers_convrnn, counts.papers_conformer, strict=True)]
    frames = [f"{n:,}" for n in counts.num_frames]
    own, other = counts.true_macs["convrnn"], counts.true_macs["conformer-full-rate"]
    said = ", ".join(f"{share:.2f} ({n} frames)" for share, n in zip(shares, frames, strict=True))
    notes = [
        f"By the paper's count, which fits its figure only without the frequency axis, ConvRNN-T "
        f"costs this part of a full-rate Conformer: {said}.",
        f"Counted truly, at the paper's sizes: ConvRNN-T {own / 1e9:.2f}, Conformer at full rate "
        f"{other / 1e9:.2f}, Conformer that joins 4 frames "
        f"{counts.true_macs['conformer'] / 1e9:.2f}, RNN-T of 8 layers "
        f"{counts.true_macs['lstm-8'] / 1e9:.2f} billion multiply-accumulates for each second.",
    ]
    measured = {n: rtf for n, rtf in evidence.real_time_factors.items() if rtf is not None}
    if {"convrnn", "conformer"} <= measured.keys():
        notes.append(
            f"Measured here at small sizes: ConvRNN-T takes {measured['convrnn']:.4f} and "
            f"Conformer {measured['conformer']:.4f} seconds for each second of speech."
        )
    title = "ConvRNN-T computes less than Conformer, and the more so the longer the utterance"
    return Claim(title, (), "holds" if own < other else "does not hold", tuple(notes))


def _relative(evidence: Evidence, variant: str, other: str, papers: str, *, above: bool) -> Part:
    found = evidence.differences.get(("clean", variant, other))
    estimate = found.relative if found else None
    judgement = _is_above(estimate) if above else _is_below(estimate)
    what = f"{LABELS[variant]}, against {LABELS[other]}, clean"
    return Part(what, papers, estimate, "relative", judgement)


def _is_above(estimate: Estimate | None) -> Judgement:
    if estimate is None:
        return "not measured"
    if estimate.low is None or estimate.high is None:
        return "cannot tell"
    if estimate.low > 0:
        return "holds"
    return "does not hold" if estimate.high < 0 else "cannot tell"


def _is_below(estimate: Estimate | None) -> Judgement:
    opposite: dict[Judgement, Judgement] = {"holds": "does not hold", "does not hold": "holds"}
    above = _is_above(estimate)
    return opposite.get(above, above)


def _is_large_gain(estimate: Estimate | None) -> Judgement:
    """At least 5 % fewer errors, and surely fewer; or surely less than that."""
    if estimate is None:
        return "not measured"
    if estimate.low is None or estimate.high is None:
        return "cannot tell"
    if estimate.value <= _LEAST_GAIN and estimate.high < 0:
        return "holds"
    return "does not hold" if estimate.low > _LEAST_GAIN else "cannot tell"


def _together(parts: Sequence[Part]) -> Judgement:
    """One part that does not hold refutes the whole; all must hold for it to hold."""
    found = {part.judgement for part in parts}
    for decisive in ("does not hold", "not measured", "cannot tell"):
        if decisive in found:
            return decisive
    return "holds"
