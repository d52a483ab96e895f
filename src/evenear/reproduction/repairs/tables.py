# SPDX-License-Identifier: Apache-2.0
"""Results of both experiments as what their page and file say."""

from collections.abc import Mapping

from evenear.reproduction.repairs import cohorts, geography
from evenear.reproduction.repairs.cohorts import CohortsResult
from evenear.reproduction.repairs.geography import MapResult
from evenear.reproduction.repairs.maps import NOTE
from evenear.reproduction.repairs.setting import Drawn, Written
from evenear.reproduction.statistics import Estimate

__all__ = ["cohorts_written", "geography_written"]

_LIMITS = (
    "One seed of everything: another seed may turn small differences around.",
    "Only the upper layers adapt; the lower ones are as they were.",
    "Whole utterances, a greedy search for tokens.",
)


def geography_written(found: Mapping[str, MapResult], command: str, weak: str) -> Written:
    """The experiment on regions."""
    tables, drawings = [], []
    for name, one in found.items():
        caption = f"{NOTE}, map {name}"
        drawings.append(Drawn(f"Map {name}: {NOTE.lower()}", one.marks, "worst region", caption))
        rows = [
            (
                row.outcome.method,
                _setting(row.outcome.chosen.setting),
                *(
                    _signed(e)
                    for e in (row.worst, row.overall, row.mean, row.maximum, row.variance)
                ),
            )
            for row in one.rows
        ]
        heads = ("method", "setting", "worst region", "everyone", "mean", "maximum", "variance")
        tables.append((f"Map {name} ({NOTE.lower()}), changes on test speakers, %", heads, rows))
        rates = [
            (region, str(count), f"{100 * one.before[region]:.1f}")
            for region, count in one.speakers.items()
        ]
        tables.append((f"Map {name}: regions before", ("region", "test speakers", "WER, %"), rates))
    notes = (
        f"{NOTE}: nobody in these data lives where the map says; speakers were assigned places so "
        f"that those of {weak} are more in one corner, and on the control map by chance alone.",
        *(
            f"Map {name}: {len(one.regions.regions)} regions; a permutation test would keep "
            f"{one.num_significant}. Worst among discovery speakers: {one.worst}."
            for name, one in found.items()
        ),
        *_LIMITS,
    )
    return Written(
        "geography",
        "Regions repaired by elastic weight consolidation and its rivals",
        command,
        geography.claims_of(found),
        {"maps": [one.to_dict() for one in found.values()]},
        drawings,
        tables,
        notes,
    )


def cohorts_written(found: CohortsResult, command: str, weak: str) -> Written:
    """The experiment on cohorts."""
    discovered = [
        (one.kind, one.what, _signed(one.gap), f"{100 * one.share:.1f}", str(len(one.bottom)))
        for one in (found.census, found.voices)
        if one
    ]
    rows = [
        (
            row.outcome.method,
            _setting(row.outcome.chosen.setting),
            f"{100 * row.gap_before:.1f}",
            f"{100 * row.gap_after:.1f}",
            *(_signed(e) for e in (row.gap_change, row.bottom, row.top, row.overall)),
        )
        for row in found.rows
    ]
    tables = (
        (
            "Found on discovery speakers, measured on test speakers",
            ("kind", "bottom cohort", "gap, %", "share, %", "test speakers"),
            discovered,
        ),
        (
            "Mitigations for the bottom of the voices",
            (
                "method", "setting", "gap before, %", "gap after, %", "difference", "bottom",
                "top", "everyone",
            ),
            rows,
        ),
    )  # fmt: skip
    notes = (
        f"{NOTE}: ZIP codes were assigned, so that speakers of {weak} live more often where "
        "incomes are low; voices are those of the recordings.",
        "gap = (WER(bottom) − WER(top)) / WER(top); for ZIP codes the top is all the rest.",
        *_LIMITS,
    )
    return Written(
        "cohorts",
        "Cohorts by ZIP code and by voice, and what narrows their gap",
        command,
        cohorts.claims_of(found),
        found.to_dict(),
        (),
        tables,
        notes,
    )


def _setting(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"


def _signed(one: Estimate) -> str:
    text = f"{100 * one.value:+.1f}"
    if one.low is not None and one.high is not None:
        text += f" ({100 * one.low:+.1f} to {100 * one.high:+.1f})"
    return text.replace("-", "−")
