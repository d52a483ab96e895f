# SPDX-License-Identifier: Apache-2.0
"""Results that nobody trained for: errors with planted differences, made-up times and curves."""

from collections.abc import Mapping
from types import MappingProxyType

from evenear.reproduction.measures import Costs, Counts
from evenear.reproduction.results import Curve, Delay, Measured, Results, Setting, gather
from evenear.reproduction.scoring import Score
from evenear.seeding import rng_for

__all__ = ["COUNTS", "PAPERS_ORDER", "measured", "results", "scores"]

CONDITIONS: Mapping[str, float] = MappingProxyType(
    {"clean": 1.0, "20 dB": 1.1, "10 dB": 1.5, "5 dB": 2.0}
)
PAPERS_ORDER: Mapping[str, float] = MappingProxyType(
    {
        "lstm": 0.20,
        "convrnn": 0.16,
        "conformer": 0.19,
        "contextnet": 0.24,
        "convrnn-local-only": 0.18,
        "convrnn-global-only": 0.26,
        "convrnn-no-se": 0.17,
        "convrnn-fastemit": 0.165,
    }
)
"""Word error rates under which every claim on errors holds."""
COUNTS = Counts(
    num_frames=(200, 800),
    papers_convrnn=(8.8e9, 35e9),
    papers_conformer=(9.1e9, 43e9),
    true_macs={"lstm-8": 0.8e9, "convrnn": 4.1e9, "conformer": 0.2e9, "conformer-full-rate": 0.7e9},
)


def scores(rate: float, variant: str, seed: int, *, speakers: int = 40) -> list[Score]:
    """What a recognizer with about this error rate read: two utterances of each speaker."""
    found = []
    for s in range(speakers):
        hard = rng_for(0, "speaker", s).lognormal(0.0, 0.4)
        for condition, noise in CONDITIONS.items():
            for k in range(2):
                rng = rng_for(seed, variant, (s, condition, k))
                errors = int(rng.binomial(50, min(0.95, rate * hard * noise)))
                where = {"utterance_id": f"u{s}-{k}", "speaker": f"s{s}"}
                found.append(Score(condition, **where, errors=errors, words=50, hypothesis="",
                                   tokens=(), frames=()))  # fmt: skip
    return found


def measured(*, streaming_gap: float = 1e-6, trap_gap: float | None = None) -> Measured:
    """Made-up costs."""
    return Measured(
        costs=Costs(2_500_000, 50e6, 60e6, 40_000),
        real_time_factor=0.012,
        chunk_p95_milliseconds=3.0,
        streaming_gap=streaming_gap,
        trap_gap=trap_gap,
        delay=Delay(20.0, 0.0, 120.0, 900, 0.8),
    )


def results(rates: Mapping[str, float] = PAPERS_ORDER, *, seeds: int = 2) -> Results:
    """Results of variants with these error rates."""
    setting = Setting(
        command="evenear reproduce convrnnt --data corpus --test corpus --out out",
        data=("corpus <one>",),
        test="other",
        hours=12.5,
        num_updates=100,
        num_seeds=seeds,
        num_utterances=80,
        num_words=4000,
        num_speakers=40,
        test_hours=0.2,
        shared_speakers=0,
        shared_sentences=0,
    )
    curves = {
        name: [Curve(seed, (50, 100), (0.9, rate), (40.0, 20.0)) for seed in range(seeds)]
        for name, rate in rates.items()
    }
    return gather(
        setting,
        {name: [scores(rate, name, seed) for seed in range(seeds)] for name, rate in rates.items()},
        curves,
        {name: measured(trap_gap=0.5 if name == "convrnn" else None) for name in rates},
        COUNTS,
        "conformer-1",
    )
