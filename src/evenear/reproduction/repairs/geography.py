# SPDX-License-Identifier: Apache-2.0
"""Regions found by a tree, the worst repaired by every method, and the paper's claims judged.

The tree sees discovery speakers only (those who are adapted to); the strength is chosen on tuning
speakers; every number is of test speakers, whom both models hear. As in the paper every split of
the tree is kept; how many a permutation test would keep is said beside it. On the control map
places are chance, so its repair shows what picking a worst region gains by itself.

Legend: R resamples, G regions.

Source: Trinh et al. 2022, arXiv:2207.07850.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from evenear.audit import Table
from evenear.audit.discovery.geography.regions import Regions, find_regions
from evenear.audit.discovery.geography.tree import TreeSettings
from evenear.reproduction.claims import Claim, Judgement, Part
from evenear.reproduction.repairs.bench import Bench, Outcome
from evenear.reproduction.repairs.changes import Groups, judged
from evenear.reproduction.repairs.maps import NOTE, assigned_places
from evenear.reproduction.statistics import Estimate
from evenear.training.mitigation.judgement.frontier import Mark, undominated
from evenear.training.mitigation.plan import MethodName

__all__ = ["CONTROL", "MAPS", "MapResult", "Row", "claims_of", "repair_map"]

CONTROL = "control"
"""The map on which places are chance."""
MAPS: Mapping[str, float] = {"corner": 0.8, CONTROL: 0.0}
"""Each map, and how strongly the weak cohort is drawn to its corner."""

_OVERALL_MARGIN = 0.005
_REGION, _WORST, _ALL = "region", "worst region", "everyone"


@dataclass(frozen=True)
class Row:
    """What one method came to, on test speakers; relative changes against the model before."""

    outcome: Outcome
    worst: Estimate
    overall: Estimate
    mean: Estimate
    """Change of the mean of regional rates."""
    maximum: Estimate
    variance: Estimate
    """Change of the variance of regional rates, noise and all."""
    rates: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        numbers = ("worst", "overall", "mean", "maximum", "variance")
        return {
            **self.outcome.to_dict(),
            "changes": {name: asdict(getattr(self, name)) for name in numbers},
            "wer": self.rates,
        }


@dataclass(frozen=True)
class MapResult:
    """One map: its regions, and what repairs of the worst came to."""

    name: str
    regions: Regions
    num_significant: int
    worst: str
    speakers: dict[str, int]
    """Test speakers of each region."""
    before: dict[str, float]
    rows: tuple[Row, ...]

    @property
    def marks(self) -> list[Mark]:
        """The frontier on test speakers: everyone against the worst region."""
        first = Mark("before", self.before[_ALL], self.before[_WORST], "before")
        rest = [
            Mark(
                row.outcome.method,
                row.rates[_ALL],
                row.rates[_WORST],
                "chosen" if row.outcome.method == "ewc" else "own",
            )
            for row in self.rows
        ]
        return [first, *rest]

    def row(self, method: MethodName) -> Row | None:
        """The row of a method, if it was tried."""
        return next((row for row in self.rows if row.outcome.method == method), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "map": self.name,
            "note": NOTE,
            "regions": len(self.regions.regions),
            "regions_beyond_chance": self.num_significant,
            "worst": self.worst,
            "test_speakers": self.speakers,
            "before": self.before,
            "methods": [row.to_dict() for row in self.rows],
        }


def repair_map(
    bench: Bench,
    name: str,
    weak: Mapping[str, bool],
    methods: Sequence[MethodName],
    *,
    min_speakers: int = 8,
    max_leaves: int = 4,
) -> MapResult:
    """Find the regions of one map and repair the worst by each method.

    Args:
        bench: Where methods are tried.
        name: One of `MAPS`.
        weak: Each speaker, and whether of the cohort that the map draws to its corner.
        methods: The methods.
        min_speakers: Discovery speakers of a region at least.
        max_leaves: Regions at most.
    """
    seed = bench.effort.seed
    places = assigned_places(weak, pull=MAPS[name], seed=seed, name=name)
    found = bench.before("adaptation").with_attributes(places)
    how = TreeSettings(min_speakers=min_speakers, min_words=0, max_leaves=max_leaves, level=None)
    regions = find_regions(found, how, seed=seed)
    tested = TreeSettings(min_speakers=min_speakers, min_words=0, max_leaves=max_leaves)
    significant = len(find_regions(found, tested, seed=seed).regions)
    tables = {part: bench.before(part) for part in ("adaptation", "tuning", "test")}
    region_of = {
        speaker: region
        for table in tables.values()
        for speaker, region in _assigned(regions, table.with_attributes(places)).items()
    }
    worst = _worst(found, region_of)
    members = {speaker: region == worst for speaker, region in region_of.items()}
    names = sorted({region_of[s] for s in tables["test"].speakers["speaker"]})
    groups = {
        _ALL: list(region_of),
        _WORST: [s for s, is_member in members.items() if is_member],
        **{region: [s for s in region_of if region_of[s] == region] for region in names},
    }
    rows = [
        _row(bench, outcome, groups, names) for outcome in bench.attempts(name, methods, members)
    ]
    before = Groups([tables["test"]], groups, seed=seed).rates(0)
    tests = set(tables["test"].speakers["speaker"])
    speakers = {region: len(tests & set(groups[region])) for region in names}
    return MapResult(name, regions, significant, worst, speakers, before, tuple(rows))


def claims_of(maps: Mapping[str, MapResult]) -> tuple[Claim, ...]:
    """Judge the paper's claims on the map with an effect, and one of ours on the control map."""
    real = next((one for name, one in maps.items() if name != CONTROL), None)
    ewc = real.row("ewc") if real else None
    found = [
        _claim(
            "Elastic weight consolidation lowers the errors of the worst region",
            "−3.2 %",
            ewc.worst if ewc else None,
        ),
        _claim(
            "It does not raise the errors of everyone (by more than 0.5 %)",
            "−1.3 %",
            ewc.overall if ewc else None,
            below=_OVERALL_MARGIN,
        ),
        _claim("It lowers the variance between regions", "−7.9 %", ewc.variance if ewc else None),
        _dominated(real),
        _language_side(real),
        _control(maps.get(CONTROL)),
    ]
    return tuple(found)


def _row(
    bench: Bench, outcome: Outcome, groups: Mapping[str, Sequence[str]], regions: list[str]
) -> Row:
    both = Groups([bench.before("test"), outcome.table], groups, seed=bench.effort.seed)
    places = [both.names.index(region) for region in regions]

    def change(statistic: Callable[[np.ndarray], np.ndarray]) -> Estimate:
        def relative(rates: list[np.ndarray]) -> np.ndarray:
            with np.errstate(divide="ignore", invalid="ignore"):  # such draws are left out
                return statistic(rates[1][:, places]) / statistic(rates[0][:, places]) - 1.0

        return both.estimate(relative)

    return Row(
        outcome=outcome,
        worst=both.change(_WORST),
        overall=both.change(_ALL),
        mean=change(lambda rates_RG: rates_RG.mean(axis=1)),
        maximum=change(lambda rates_RG: rates_RG.max(axis=1)),
        variance=change(lambda rates_RG: rates_RG.var(axis=1)),
        rates=both.rates(1),
    )


def _assigned(regions: Regions, table: Table) -> dict[str, str]:
    """The region of each speaker; one for all if the tree found no border."""
    assignments = regions.assign(table).assignments
    if not assignments:
        return dict.fromkeys(table.speakers["speaker"], "region 1")
    frame = assignments[0].frame
    return dict(zip(frame["speaker"].to_list(), frame["value"].to_list(), strict=True))


def _worst(found: Table, region_of: Mapping[str, str]) -> str:
    """The region with the highest rate among discovery speakers."""
    groups: dict[str, list[str]] = {}
    for speaker in found.speakers["speaker"]:
        groups.setdefault(region_of[speaker], []).append(speaker)
    rates = Groups([found], groups).rates(0)
    return max(sorted(rates), key=lambda region: rates[region])


def _claim(title: str, papers: str, found: Estimate | None, *, below: float = 0.0) -> Claim:
    verdict = judged(found, below=below)
    part = Part("relative change of word errors", papers, found, "relative", verdict)
    return Claim(title, (part,), verdict)


def _dominated(real: MapResult | None) -> Claim:
    """Whether a rival is better for the worst region without being worse for everyone."""
    title = "No rival is better for both the worst region and everyone"
    ewc = real.row("ewc") if real else None
    if real is None or ewc is None:
        return Claim(title, (), "not measured")
    best = [mark.label for mark in undominated(real.marks)]
    rates = ewc.rates
    rivals = [
        row
        for row in real.rows
        if row.rates[_ALL] <= rates[_ALL]
        and row.rates[_WORST] <= rates[_WORST]
        and row.outcome.method != "ewc"
    ]
    verdict: Judgement = "does not hold" if rivals else "holds"
    notes = [f"Undominated, as points: {', '.join(best)}."]
    notes += [
        f"{row.outcome.method} is better by {100 * (rates[_WORST] - row.rates[_WORST]):.2f} points "
        f"in the worst region and {100 * (rates[_ALL] - row.rates[_ALL]):.2f} overall."
        for row in rivals
    ]
    notes.append("Judged by points, not by intervals: rivals this close cannot be told apart.")
    return Claim(title, (), verdict, tuple(notes))


def _language_side(real: MapResult | None) -> Claim:
    """Whether adapting predictor and joiner alone helps the worst region."""
    row = real.row("freeze-encoder") if real else None
    return _claim(
        "Adapting predictor and joiner alone lowers the errors of the worst region",
        "a significant part of the gain",
        row.worst if row else None,
    )


def _control(control: MapResult | None) -> Claim:
    """Whether a repair on the control map gains for its region more than for everyone."""
    title = "On the control map the repair gains nothing for its region beyond chance"
    row = control.row("ewc") if control else None
    if row is None:
        return Claim(title, (), "not measured")
    sure = row.worst.high is not None and row.worst.high < 0.0
    verdict: Judgement = "does not hold" if sure else "holds"
    part = Part(
        "relative change of word errors", "not in the paper", row.worst, "relative", verdict
    )
    return Claim(title, (part,), verdict, ("It holds if no gain is sure.",))
