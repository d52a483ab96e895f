# SPDX-License-Identifier: Apache-2.0
"""Small audits with texts, searches and a second recognizer, for tests of reports."""

from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl

from audit.planted import planted
from evenear.audit import Assignment, Cohorts, Table, cohorts_by
from evenear.audit.report import (
    AuditSettings,
    Candidate,
    Cell,
    Dot,
    Finding,
    Report,
    Shape,
    audit,
)

__all__ = ["WORDS", "findings", "report", "rich_report", "spoken", "with_texts"]

WORDS = ["alpha", "bravo", "delta", "hotel", "india", "juliett", "lima", "oscar", "tango", "zulu"]
QUICK = AuditSettings(seed=1, num_resamples=200)


def with_texts(table: Table, *, seed: int = 0) -> Table:
    """The table with texts that have exactly its errors: that many words are replaced or added."""
    rng = np.random.default_rng(seed)
    references, hypotheses = [], []
    for words, errors in table.frame.select("words", "errors").iter_rows():
        said = [str(word) for word in rng.choice(WORDS, words)]
        wrong = min(words, errors)
        heard = ["wrong"] * wrong + said[wrong:] + ["extra"] * (errors - wrong)
        references.append(" ".join(said))
        hypotheses.append(" ".join(heard))
    texts = [pl.Series("reference", references), pl.Series("hypothesis", hypotheses)]
    return replace(table, frame=table.frame.with_columns(texts))


@cache
def spoken(seed: int = 0, wer: float = 0.12, name: str = "first") -> Table:
    """A corpus with texts in which one gender fares worse."""
    table = planted(120, seed=seed, wer=wer, effects={("gender", "female"): 1.8})
    return replace(with_texts(table), name=name)


@cache
def report() -> Report:
    """One recognizer, given attributes."""
    table = spoken()
    return audit(table, cohorts_by(table, ["age", "gender"]), QUICK)


def findings(table: Table) -> tuple[Cohorts, tuple[Finding, ...]]:
    """A made-up map, plane of voices and census partition, for drawing."""
    names = table.speakers["speaker"].to_list()
    rng = np.random.default_rng(5)
    region = {name: f"region {1 + k % 3}" for k, name in enumerate(names)}
    voice = {name: f"voices {1 + k % 4}" for k, name in enumerate(names)}
    census = {name: "yes" if k % 3 else "no" for k, name in enumerate(names)}
    boxes = {"region 1": (-120, -100), "region 2": (-100, -90), "region 3": (-90, -75)}
    regions = tuple(
        Shape(value=name, outlines=(((a, 30), (b, 30), (b, 45), (a, 45)),))
        for name, (a, b) in boxes.items()
    )
    dots = tuple(
        Dot(x=float(rng.normal(int(value[-1]))), y=float(rng.normal()), value=value)
        for value in voice.values()
    )
    return (
        Cohorts(
            (
                Assignment.of_speakers("region", region, found_by="geography"),
                Assignment.of_speakers("voice", voice, found_by="voice"),
                Assignment.of_speakers("income", census, found_by="census"),
            )
        ),
        (
            Finding(
                attribute="region",
                kind="geography",
                summary="A tree.",
                descriptions={"region 1": "around 110°W, 38°N"},
                shapes=regions,
                cells=(Cell(outline=((-110, 35), (-100, 35), (-100, 40)), speakers=12, wer=0.2),),
            ),
            Finding(attribute="voice", kind="voice", summary="Clusters.", dots=dots),
            Finding(
                attribute="income",
                kind="census",
                summary="One of two partitions.",
                notes=("A gap between places is not a gap between groups of people.",),
                candidates=(
                    Candidate(name="low", attribute="income", speakers=9, gap=0.2, p_adjusted=0.1),
                    Candidate(name="high", attribute=None, speakers=9, gap=None, p_adjusted=None),
                ),
            ),
        ),
    )


@cache
def rich_report() -> Report:
    """Two recognizers, given and found cohorts, adjusted ratios, a split of speakers."""
    first, second = spoken(), replace(spoken(name="second"))
    better = second.frame.with_columns(errors=(pl.col("errors") - 1).clip(0))
    second = replace(second, frame=better)
    found, drawn = findings(first)
    settings = AuditSettings(
        seed=1,
        num_resamples=200,
        confirm_fraction=0.5,
        adjust_for=("noise",),
        min_speakers=5,
        min_words=100,
    )
    cohorts = cohorts_by(first, ["age", "gender"]) + found
    return audit(first, cohorts, settings, findings=drawn, other=second)
