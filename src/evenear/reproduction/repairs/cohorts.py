# SPDX-License-Identifier: Apache-2.0
"""Cohorts found by ZIP code and by voice, and the gap before and after each mitigation.

    gap = (WER(bottom) - WER(top)) / WER(top)

Both searches see discovery speakers only, and end in a rule that assigns everybody. ZIP codes are
synthetic: assigned so that one cohort more often lives where a condition of the census holds.
Voices are real. The bottom of the voices is what mitigations are told to help.

Legend: R resamples.

Source: Dheram et al. 2022, arXiv:2207.11345.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from evenear.audit import Cohorts, Table
from evenear.audit.discovery.census.partitions import CensusSettings, find_census_partitions
from evenear.audit.discovery.census.zipconditions import census_conditions
from evenear.audit.discovery.voice.voices import VoiceSettings, find_voices
from evenear.reproduction.claims import Claim, Judgement, Part
from evenear.reproduction.repairs.bench import Bench, Outcome
from evenear.reproduction.repairs.changes import Groups, Sampled, judged, pooled
from evenear.reproduction.repairs.maps import NOTE, assigned_zips
from evenear.reproduction.repairs.voices import with_voices
from evenear.reproduction.statistics import Estimate
from evenear.training.mitigation.plan import MethodName

__all__ = [
    "CohortsResult",
    "CohortsSummary",
    "Discovery",
    "MitigationRow",
    "claims_of",
    "compare_cohorts",
]

_BOTTOM, _TOP, _ALL = "bottom", "top", "everyone"
_PULL = 0.6
_MARGIN = 0.005
_NUMBERS = ("gap_change", "bottom", "top", "overall")


@dataclass(frozen=True)
class Discovery:
    """What one search found with one seed, as test speakers confirm it."""

    kind: str
    what: str
    gap: Sampled
    share: float
    """Of test speakers in the bottom cohort."""
    bottom: tuple[str, ...]
    top: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, without names of speakers."""
        return {
            "kind": self.kind,
            "what": self.what,
            "gap": asdict(self.gap.estimate),
            "share": self.share,
        }


@dataclass(frozen=True)
class MitigationRow:
    """What one method came to for the bottom of the voices, with one seed."""

    outcome: Outcome
    gap_before: float
    gap_after: float
    samples: Mapping[str, Sampled]
    """Of gaps after less before (`gap_change`); relative changes of `bottom`, `top`, `overall`."""

    @property
    def method(self) -> MethodName:
        """The method."""
        return self.outcome.method

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            **self.outcome.to_dict(),
            "gap_before": self.gap_before,
            "gap_after": self.gap_after,
            **{name: asdict(one.estimate) for name, one in self.samples.items()},
        }


@dataclass(frozen=True)
class CohortsResult:
    """Both searches with one seed, and every mitigation."""

    seed: int
    census: Discovery | None
    voices: Discovery | None
    difference: Sampled | None
    """Gap of the voices less that of the ZIP codes, on test speakers."""
    rows: tuple[MitigationRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "seed": self.seed,
            "discoveries": [one.to_dict() for one in (self.census, self.voices) if one],
            "difference_of_gaps": asdict(self.difference.estimate) if self.difference else None,
            "methods": [row.to_dict() for row in self.rows],
        }


@dataclass(frozen=True)
class CohortsSummary:
    """All seeds."""

    seeds: tuple[CohortsResult, ...]

    @property
    def methods(self) -> tuple[MethodName, ...]:
        """The methods that were tried with every seed."""
        tried: list[list[MethodName]] = [[row.method for row in one.rows] for one in self.seeds]
        return tuple(m for m in tried[0] if all(m in others for others in tried)) if tried else ()

    @property
    def difference(self) -> Estimate | None:
        """Gap of the voices less that of the ZIP codes; None if a seed lacks one of them."""
        return _mean([one.difference for one in self.seeds])

    def gap(self, kind: Literal["census", "voices"]) -> Estimate | None:
        """The confirmed gap of one search; None if a seed found none."""
        found: list[Discovery | None] = [getattr(one, kind) for one in self.seeds]
        return _mean([one.gap if one else None for one in found])

    def share(self, kind: Literal["census", "voices"]) -> float | None:
        """Mean share of test speakers in the bottom cohort."""
        found: list[Discovery | None] = [getattr(one, kind) for one in self.seeds]
        shares = [one.share for one in found if one is not None]
        return sum(shares) / len(shares) if shares and len(shares) == len(found) else None

    def estimate(self, method: MethodName, number: str) -> Estimate | None:
        """A number of a method; None if it was not tried."""
        return _mean([row.samples[number] for row in self._rows(method)])

    def gaps(self, method: MethodName) -> tuple[float, float]:
        """Mean gap of the voices before and after a method."""
        rows = self._rows(method)
        before, after = ([getattr(r, name) for r in rows] for name in ("gap_before", "gap_after"))
        return sum(before) / len(before), sum(after) / len(after)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "note": f"{NOTE}: ZIP codes are assigned, voices are real.",
            "discoveries": [
                {"kind": kind, "gap": asdict(gap), "share": self.share(kind)}
                for kind in ("census", "voices")
                if (gap := self.gap(kind)) is not None
            ],
            "difference_of_gaps": asdict(self.difference) if self.difference else None,
            "methods": [
                {
                    "method": method,
                    "gap_before": self.gaps(method)[0],
                    "gap_after": self.gaps(method)[1],
                    **{
                        number: asdict(one)
                        for number in _NUMBERS
                        if (one := self.estimate(method, number)) is not None
                    },
                }
                for method in self.methods
            ],
            "seeds": [one.to_dict() for one in self.seeds],
        }

    def _rows(self, method: MethodName) -> list[MitigationRow]:
        return [row for one in self.seeds for row in one.rows if row.method == method]


def compare_cohorts(
    bench: Bench,
    weak: Mapping[str, bool],
    audio: Mapping[str, Path],
    methods: Sequence[MethodName],
    *,
    min_speakers: int = 6,
) -> CohortsResult:
    """Find cohorts both ways, confirm them, and mitigate the bottom of the voices.

    Args:
        bench: Where methods are tried.
        weak: Each speaker, and whether of the cohort that synthetic ZIP codes go with.
        audio: The sound of each utterance.
        methods: The methods.
        min_speakers: Discovery speakers of a cohort at least.
    """
    seed = bench.effort.seed
    condition = next(c for c in census_conditions() if c.column == "median_household_income")
    zips = assigned_zips(weak, condition, pull=_PULL, seed=seed)
    tables = {}
    for part in ("discovery", "tuning", "test"):
        table = bench.before(part).with_attributes(zips)
        tables[part] = with_voices(table, audio, bench.folder.parent / "voices.npz")
    settings = CensusSettings(
        max_conditions=1, min_speakers=min_speakers, min_words=100, min_zips=3, num_permutations=99
    )
    partitions = find_census_partitions(tables["discovery"], settings, seed=seed)
    voices = find_voices(
        tables["discovery"],
        VoiceSettings(num_cohorts=4, min_speakers=min_speakers, num_permutations=99),
        seed=seed,
    )
    census = voice = None
    if partitions.partitions:
        cohorts = partitions.assign(tables["test"])
        best = partitions.partitions[0]
        census = _discovery("census", best.value, tables["test"], cohorts, best.value, None)
    difference, rows = None, []
    if len(voices.cohorts) > 1:
        hardest, easiest = voices.cohorts[0].value, voices.cohorts[-1].value
        assigned = {part: voices.assign(table) for part, table in tables.items()}
        voice = _discovery("voice", hardest, tables["test"], assigned["test"], hardest, easiest)
        members: dict[str, bool | None] = dict.fromkeys(weak, None)
        for cohorts in assigned.values():
            members |= {s: value == hardest for s, value in _values(cohorts).items()}
        rows = [
            _row(bench, outcome, voice) for outcome in bench.attempts("voices", methods, members)
        ]
        if census is not None:
            difference = _difference(tables["test"], voice, census)
    return CohortsResult(seed, census, voice, difference, tuple(rows))


def claims_of(found: CohortsSummary) -> tuple[Claim, ...]:
    """Judge the paper's claims."""
    larger = found.difference
    flipped = (
        Estimate(
            -larger.value,
            None if larger.high is None else -larger.high,
            None if larger.low is None else -larger.low,
        )
        if larger
        else None
    )
    verdict = judged(flipped)
    gap = Part("gap of voices less that of ZIP codes", "65.0 − 41.7 %", larger, "points", verdict)
    claims = [
        Claim("Voices show a larger gap than ZIP codes", (gap,) if larger else (), verdict),
        _shares(found),
    ]
    claims.append(_reduces("Oversampling reduces the gap", found, "oversample"))
    claims.append(_reduces("A cohort embedding reduces the gap", found, "cohort-embedding"))
    claims += [_unharmed(found), _no_further(found)]
    return tuple(claims)


def _values(cohorts: Cohorts) -> dict[str, str]:
    frame = cohorts.assignments[0].frame.drop_nulls("value")
    return dict(zip(frame["speaker"].to_list(), frame["value"].to_list(), strict=True))


def _discovery(
    kind: str, what: str, test: Table, cohorts: Cohorts, bottom: str, top: str | None
) -> Discovery:
    """Confirm on test speakers; without a top cohort all the rest is it."""
    values = _values(cohorts)
    low = tuple(s for s, value in values.items() if value == bottom)
    high = tuple(
        s for s, value in values.items() if (value != bottom if top is None else value == top)
    )
    groups = Groups([test], {_BOTTOM: low, _TOP: high})
    gap = groups.sample(lambda rates: _ratio(rates[0][:, 0], rates[0][:, 1]) - 1.0)
    return Discovery(kind, what, gap, len(low) / max(1, test.num_speakers), low, high)


def _difference(test: Table, voice: Discovery, census: Discovery) -> Sampled:
    groups = Groups(
        [test],
        {"a": voice.bottom, "b": voice.top, "c": census.bottom, "d": census.top},
    )
    return groups.sample(
        lambda rates: (
            _ratio(rates[0][:, 0], rates[0][:, 1]) - _ratio(rates[0][:, 2], rates[0][:, 3])
        )
    )


def _row(bench: Bench, outcome: Outcome, voice: Discovery) -> MitigationRow:
    before = bench.before("test")
    everyone = before.speakers["speaker"].to_list()
    names = {_BOTTOM: voice.bottom, _TOP: voice.top, _ALL: everyone}
    both = Groups([before, outcome.table], names)
    gaps = [both.rates(model)[_BOTTOM] / both.rates(model)[_TOP] - 1.0 for model in (0, 1)]
    change = both.sample(
        lambda rates: (
            _ratio(rates[1][:, 0], rates[1][:, 1]) - _ratio(rates[0][:, 0], rates[0][:, 1])
        )
    )
    changes = {"bottom": _BOTTOM, "top": _TOP, "overall": _ALL}
    samples = {"gap_change": change} | {n: both.change(group) for n, group in changes.items()}
    return MitigationRow(outcome, gaps[0], gaps[1], samples)


def _ratio(one_R: np.ndarray, other_R: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):  # such draws are left out
        return one_R / other_R


def _mean(seeds: Sequence[Sampled | None]) -> Estimate | None:
    known = [one for one in seeds if one is not None]
    return pooled(known).estimate if known and len(known) == len(seeds) else None


def _shares(found: CohortsSummary) -> Claim:
    title = "Voices show a larger share of speakers in the bottom cohort than ZIP codes"
    census, voices = found.share("census"), found.share("voices")
    if census is None or voices is None:
        return Claim(title, (), "not measured")
    holds = voices > census
    notes = (
        f"{100 * voices:.1f} % against {100 * census:.1f} % of test "
        "speakers (paper: 10.0 against 0.8 %). With so few speakers the smallest cohort that can "
        "be found decides both.",
    )
    return Claim(title, (), "holds" if holds else "does not hold", notes)


def _reduces(title: str, found: CohortsSummary, method: MethodName) -> Claim:
    change = found.estimate(method, "gap_change")
    if change is None:
        return Claim(title, (), "not measured")
    verdict = judged(change)
    part = Part("gap after less gap before", "56 → 40 %", change, "points", verdict)
    before, after = found.gaps(method)
    note = f"From {100 * before:.1f} to {100 * after:.1f} %."
    return Claim(title, (part,), verdict, (note,))


def _unharmed(found: CohortsSummary) -> Claim:
    title = "Neither hurts the top cohort or everyone (by more than 0.5 %)"
    parts = []
    methods: tuple[MethodName, ...] = ("oversample", "cohort-embedding")
    for method in methods:
        for name in ("top", "overall"):
            one = found.estimate(method, name)
            verdict = judged(one, below=_MARGIN)
            parts.append(Part(f"{method}, {name}", "minimal", one, "relative", verdict))
    return Claim(title, tuple(parts), _all([part.judgement for part in parts]))


def _no_further(found: CohortsSummary) -> Claim:
    title = "Both together reduce the gap no further than either"
    singles: tuple[MethodName, ...] = ("oversample", "cohort-embedding")
    alone: list[MethodName] = [method for method in singles if method in found.methods]
    if "oversample-embedding" not in found.methods or not alone:
        return Claim(title, (), "not measured")
    both = found.gaps("oversample-embedding")[1]
    best = min(found.gaps(method)[1] for method in alone)
    verdict: Judgement = "cannot tell" if both < best else "holds"
    note = f"{100 * both:.1f} % against {100 * best:.1f} %, as points."
    return Claim(title, (), verdict, (note,))


def _all(verdicts: list[Judgement]) -> Judgement:
    for one in ("not measured", "does not hold", "cannot tell"):
        if one in verdicts:
            return one
    return "holds"
