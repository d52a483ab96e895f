# SPDX-License-Identifier: Apache-2.0
"""Regions found by a tree, the worst repaired by every method, and the paper's claims judged.

The tree sees discovery speakers only (those who are adapted to); the strength is chosen on tuning
speakers; every number is of test speakers, whom both models hear. As in the paper every split of
the tree is kept; how many a permutation test would keep is said beside it. On the control map
places are chance, so its repair shows what picking a worst region gains by itself.

With several seeds everything is done once for each: places, regions, who is adapted to and who
tunes, order of batches. The test speakers are the same if they are given.

Legend: R resamples, G regions.

Source: Trinh et al. 2022, arXiv:2207.07850.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from evenear.audit import Table
from evenear.audit.discovery.geography.regions import Regions, find_regions
from evenear.audit.discovery.geography.tree import TreeSettings
from evenear.reproduction.claims import Claim, Judgement, Part
from evenear.reproduction.repairs.bench import Bench, Outcome
from evenear.reproduction.repairs.changes import Groups, Sampled, judged, pooled
from evenear.reproduction.repairs.maps import NOTE, assigned_places
from evenear.reproduction.statistics import Estimate
from evenear.training.mitigation.judgement.frontier import Mark, undominated
from evenear.training.mitigation.plan import MethodName

__all__ = ["CONTROL", "MAPS", "MapResult", "MapSummary", "Row", "claims_of", "repair_map"]

CONTROL = "control"
"""The map on which places are chance."""
MAPS: Mapping[str, float] = {"corner": 0.8, CONTROL: 0.0}
"""Each map, and how strongly the weak cohort is drawn to its corner."""

_OVERALL_MARGIN = 0.005
_WORST, _REST, _ALL = "worst region", "other regions", "everyone"


_NUMBERS = {
    "worst": "relative change of errors in the worst region",
    "overall": "relative change of everyone's errors",
    "specific": "the first, less the same of all other regions",
    "mean": "relative change of the mean of regional rates",
    "maximum": "relative change of the highest regional rate",
    "variance": "relative change of the variance of regional rates, noise and all",
    "corrected_variance": "difference of that variance without what chance adds to it",
    "worst_to_ewc": "errors in the worst region relative to those after ewc, less 1",
    "overall_to_ewc": "everyone's errors relative to those after ewc, less 1",
}
"""What is measured of a method, on test speakers."""


@dataclass(frozen=True)
class Row:
    """What one method came to on the map of one seed."""

    outcome: Outcome
    samples: Mapping[str, Sampled]
    """Each of `_NUMBERS`."""
    rates: dict[str, float]

    @property
    def method(self) -> MethodName:
        """The method."""
        return self.outcome.method


@dataclass(frozen=True)
class MapResult:
    """The map of one seed: its regions, and what repairs of the worst came to."""

    name: str
    seed: int
    num_regions: int
    num_significant: int
    worst: str
    speakers: dict[str, int]
    """Test speakers of each region."""
    before: dict[str, float]
    rows: tuple[Row, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "seed": self.seed,
            "regions": self.num_regions,
            "regions_beyond_chance": self.num_significant,
            "worst": self.worst,
            "test_speakers": self.speakers,
            "before": self.before,
            "methods": [
                {
                    **row.outcome.to_dict(),
                    "changes": {n: asdict(one.estimate) for n, one in row.samples.items()},
                    "wer": row.rates,
                }
                for row in self.rows
            ],
        }


@dataclass(frozen=True)
class MapSummary:
    """One map over all seeds."""

    name: str
    seeds: tuple[MapResult, ...]

    @property
    def methods(self) -> tuple[MethodName, ...]:
        """The methods that were tried with every seed."""
        tried: list[list[MethodName]] = [[row.method for row in one.rows] for one in self.seeds]
        return tuple(m for m in tried[0] if all(m in others for others in tried))

    def estimate(self, method: MethodName, number: str) -> Estimate | None:
        """A number of a method; None if it was not tried."""
        if method not in self.methods:
            return None
        rows = self._rows(method)
        if any(number not in row.samples for row in rows):
            return None
        return pooled([row.samples[number] for row in rows]).estimate

    def rates(self, method: MethodName | None) -> dict[str, float]:
        """Mean rates of everyone and of the worst region; None is the recognizer before."""
        tables = (
            [one.before for one in self.seeds]
            if method is None
            else [row.rates for row in self._rows(method)]
        )
        return {name: float(np.mean([one[name] for one in tables])) for name in (_ALL, _WORST)}

    @property
    def marks(self) -> list[Mark]:
        """The frontier on test speakers: everyone against the worst region."""
        before = self.rates(None)
        marks = [Mark("before", before[_ALL], before[_WORST], "before")]
        for method in self.methods:
            rates = self.rates(method)
            kind = "chosen" if method == "ewc" else "own"
            marks.append(Mark(method, rates[_ALL], rates[_WORST], kind))
        return marks

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "map": self.name,
            "note": NOTE,
            "numbers": _NUMBERS,
            "before": self.rates(None),
            "methods": [
                {
                    "method": method,
                    "wer": self.rates(method),
                    "changes": {
                        number: asdict(found)
                        for number in _NUMBERS
                        if (found := self.estimate(method, number)) is not None
                    },
                }
                for method in self.methods
            ],
            "seeds": [one.to_dict() for one in self.seeds],
        }

    def _rows(self, method: MethodName) -> list[Row]:
        return [row for one in self.seeds for row in one.rows if row.method == method]


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
    found = bench.before("discovery").with_attributes(places)
    how = TreeSettings(min_speakers=min_speakers, min_words=0, max_leaves=max_leaves, level=None)
    regions = find_regions(found, how, seed=seed)
    tested = TreeSettings(min_speakers=min_speakers, min_words=0, max_leaves=max_leaves)
    significant = len(find_regions(found, tested, seed=seed).regions)
    tables = {part: bench.before(part) for part in ("discovery", "tuning", "test")}
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
        _REST: [s for s, is_member in members.items() if not is_member],
        **{region: [s for s in region_of if region_of[s] == region] for region in names},
    }
    outcomes = bench.attempts(name, methods, members)
    ewc = next((one for one in outcomes if one.method == "ewc"), None)
    rows = [_row(bench, outcome, ewc, groups, names) for outcome in outcomes]
    before = Groups([tables["test"]], groups, seed=seed).rates(0)
    tests = set(tables["test"].speakers["speaker"])
    speakers = {region: len(tests & set(groups[region])) for region in names}
    return MapResult(
        name, seed, len(regions.regions), significant, worst, speakers, before, tuple(rows)
    )


def claims_of(maps: Mapping[str, MapSummary]) -> tuple[Claim, ...]:
    """Judge the paper's claims on the map with an effect, and two of ours beside them."""
    real = next((one for name, one in maps.items() if name != CONTROL), None)

    def ewc(number: str) -> Estimate | None:
        return real.estimate("ewc", number) if real else None

    found = [
        _claim(
            "Elastic weight consolidation lowers the errors of the worst region",
            "−3.2 %",
            ewc("worst"),
        ),
        _claim(
            "It does not raise the errors of everyone (by more than 0.5 %)",
            "−1.3 %",
            ewc("overall"),
            below=_OVERALL_MARGIN,
        ),
        _claim("It lowers the variance between regions", "−7.9 %", ewc("variance")),
        _claim(
            "It lowers that variance also without what chance adds to it",
            "not in the paper",
            ewc("corrected_variance"),
            kind="points",
        ),
        _claim(
            "It lowers the errors of the worst region more than those of the others",
            "not in the paper",
            ewc("specific"),
            kind="points",
        ),
        _dominated(real),
        _language_side(real),
        _control(maps.get(CONTROL)),
    ]
    return tuple(found)


def _row(
    bench: Bench,
    outcome: Outcome,
    ewc: Outcome | None,
    groups: Mapping[str, Sequence[str]],
    regions: list[str],
) -> Row:
    tables = [bench.before("test"), outcome.table, *([ewc.table] if ewc else [])]
    both = Groups(tables, groups)  # the same draws of speakers for all seeds
    places = [both.names.index(region) for region in regions]
    worst, rest, everyone = (both.names.index(name) for name in (_WORST, _REST, _ALL))

    def change(statistic: Callable[[np.ndarray], np.ndarray], to: int = 0) -> Sampled:
        def relative(rates: list[np.ndarray]) -> np.ndarray:
            with np.errstate(divide="ignore", invalid="ignore"):  # such draws are left out
                return statistic(rates[1]) / statistic(rates[to]) - 1.0

        return both.sample(relative)

    def specific(rates: list[np.ndarray]) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            changes_RG = rates[1] / rates[0]
        return changes_RG[:, worst] - changes_RG[:, rest]

    samples = {
        "worst": change(lambda rates_RG: rates_RG[:, worst]),
        "overall": change(lambda rates_RG: rates_RG[:, everyone]),
        "specific": both.sample(specific),
        "mean": change(lambda rates_RG: rates_RG[:, places].mean(axis=1)),
        "maximum": change(lambda rates_RG: rates_RG[:, places].max(axis=1)),
        "variance": change(lambda rates_RG: rates_RG[:, places].var(axis=1)),
        "corrected_variance": both.variance_change(regions),
    }
    if ewc is not None and outcome.method != "ewc":
        samples["worst_to_ewc"] = change(lambda rates_RG: rates_RG[:, worst], to=2)
        samples["overall_to_ewc"] = change(lambda rates_RG: rates_RG[:, everyone], to=2)
    return Row(outcome, samples, both.rates(1))


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


def _claim(
    title: str,
    papers: str,
    found: Estimate | None,
    *,
    below: float = 0.0,
    kind: Literal["relative", "points"] = "relative",
) -> Claim:
    verdict = judged(found, below=below)
    part = Part("change of word errors", papers, found, kind, verdict)
    return Claim(title, (part,), verdict)


def _dominated(real: MapSummary | None) -> Claim:
    """Whether a rival is surely better in the worst region or overall, and not worse in the other.

    A rival that is better in both as a point, but not surely so in either, leaves it open.
    """
    title = "No rival is better for both the worst region and everyone"
    if real is None or "ewc" not in real.methods:
        return Claim(title, (), "not measured")
    notes = [f"Undominated, as points: {', '.join(m.label for m in undominated(real.marks))}."]
    verdict: Judgement = "holds"
    for method in real.methods:
        worst = real.estimate(method, "worst_to_ewc")
        overall = real.estimate(method, "overall_to_ewc")
        if worst is None or overall is None or worst.value > 0.0 or overall.value > 0.0:
            continue
        sure = any(one.high is not None and one.high < 0.0 for one in (worst, overall))
        verdict = "does not hold" if sure or verdict == "does not hold" else "cannot tell"
        notes.append(
            f"{method} has {_percent(worst)} errors of ewc's in the worst region and "
            f"{_percent(overall)} overall{'' if sure else '; neither is sure'}."
        )
    return Claim(title, (), verdict, tuple(notes))


def _percent(one: Estimate) -> str:
    if one.low is None or one.high is None:
        return f"{100 * one.value:+.1f} %"
    return f"{100 * one.value:+.1f} % ({100 * one.low:+.1f} to {100 * one.high:+.1f})"


def _language_side(real: MapSummary | None) -> Claim:
    """Whether adapting predictor and joiner alone helps the worst region."""
    return _claim(
        "Adapting predictor and joiner alone lowers the errors of the worst region",
        "a significant part of the gain",
        real.estimate("freeze-encoder", "worst") if real else None,
    )


def _control(control: MapSummary | None) -> Claim:
    """Whether a repair on the control map gains for its region more than for everyone else."""
    title = "On the control map the repair gains no more for its region than for others"
    found = control.estimate("ewc", "specific") if control else None
    if found is None:
        return Claim(title, (), "not measured")
    sure = found.high is not None and found.high < 0.0
    verdict: Judgement = "does not hold" if sure else "holds"
    part = Part("change of word errors", "not in the paper", found, "points", verdict)
    return Claim(title, (part,), verdict, ("It holds if no such gain is sure.",))
