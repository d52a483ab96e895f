# SPDX-License-Identifier: Apache-2.0
"""Results of both experiments as what their page and file say."""

from collections.abc import Mapping

from evenear.reproduction.repairs import cohorts, geography
from evenear.reproduction.repairs.cohorts import CohortsSummary
from evenear.reproduction.repairs.geography import MapSummary
from evenear.reproduction.repairs.maps import NOTE
from evenear.reproduction.repairs.setting import Drawn, Written
from evenear.reproduction.statistics import Estimate

__all__ = ["cohorts_written", "geography_written"]

_LIMITS = (
    "Only the upper layers adapt; the lower ones are as they were.",
    "Whole utterances, a greedy search for tokens.",
    "Intervals hold with 95 %; they draw test speakers and seeds. The recognizer before is the "
    "same for all seeds.",
)
_HEADS = {
    "worst": "worst region",
    "overall": "everyone",
    "specific": "worst less others",
    "mean": "mean",
    "maximum": "maximum",
    "variance": "variance",
}


def geography_written(found: Mapping[str, MapSummary], command: str, weak: str) -> Written:
    """The experiment on regions."""
    tables, drawings, notes = [], [], []
    for name, one in found.items():
        caption = f"{NOTE}, map {name}"
        title = f"Map {name}: {NOTE.lower()}"
        drawings.append(Drawn(title, one.marks, "worst region", caption))
        rows = [
            (
                method,
                *(_rate(one.rates(method)[group]) for group in one.rates(method)),
                *(_signed(one.estimate(method, number)) for number in _HEADS),
            )
            for method in one.methods
        ]
        before = one.rates(None)
        rows.insert(0, ("before", *(_rate(rate) for rate in before.values()), *[""] * len(_HEADS)))
        heads = ("method", *(f"{group}, WER %" for group in before), *_HEADS.values())
        title = f"Map {name} ({NOTE.lower()}), mean of {len(one.seeds)} seeds, changes in %"
        tables.append((title, heads, rows))
        rates = [
            (f"seed {each.seed}, {region}", str(count), _rate(each.before[region]))
            for each in one.seeds
            for region, count in each.speakers.items()
        ]
        tables.append(
            (f"Map {name} ({NOTE.lower()}): regions before", ("region", "test speakers", "WER, %"),
             rates)
        )  # fmt: skip
        notes += [
            f"Map {name}, seed {each.seed}: {each.num_regions} regions; a permutation test would "
            f"keep {each.num_significant}. Worst among discovery speakers: {each.worst}."
            for each in one.seeds
        ]
    return Written(
        "geography",
        "Regions repaired by elastic weight consolidation and its rivals",
        command,
        geography.claims_of(found),
        {"maps": [one.to_dict() for one in found.values()]},
        drawings,
        tables,
        (
            f"{NOTE}: nobody in these data lives where the map says; speakers were assigned places "
            f"so that those of {weak} are more in one corner, and on the control map by chance "
            "alone.",
            *notes,
            *_LIMITS,
        ),
    )


def cohorts_written(found: CohortsSummary, command: str, weak: str) -> Written:
    """The experiment on cohorts."""
    discovered = [
        (
            f"seed {one.seed}, {each.kind}",
            each.what,
            _signed(each.gap.estimate),
            f"{100 * each.share:.1f}",
            str(len(each.bottom)),
        )
        for one in found.seeds
        for each in (one.census, one.voices)
        if each
    ]
    rows = [
        (
            method,
            *(f"{100 * gap:.1f}" for gap in found.gaps(method)),
            *(
                _signed(found.estimate(method, number))
                for number in ("gap_change", "bottom", "top", "overall")
            ),
        )
        for method in found.methods
    ]
    tables = (
        (
            f"Found on discovery speakers, measured on test speakers ({NOTE.lower()}: ZIP codes)",
            ("kind", "bottom cohort", "gap, %", "share, %", "test speakers"),
            discovered,
        ),
        (
            f"Mitigations for the bottom of the voices, mean of {len(found.seeds)} seeds",
            (
                "method", "gap before, %", "gap after, %", "difference, points", "bottom, %",
                "top, %", "everyone, %",
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


def _rate(value: float) -> str:
    return f"{100 * value:.1f}"


def _signed(one: Estimate | None) -> str:
    if one is None:
        return "–"
    text = f"{100 * one.value:+.1f}"
    if one.low is not None and one.high is not None:
        text += f" ({100 * one.low:+.1f} to {100 * one.high:+.1f})"
    return text.replace("-", "−")
