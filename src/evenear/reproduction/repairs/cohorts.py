# SPDX-License-Identifier: Apache-2.0
"""Cohorts found by ZIP code and by voice, and the gap before and after each mitigation.

    gap = (WER(bottom) - WER(top)) / WER(top)

Both searches see discovery speakers only, and end in a rule that assigns everybody. ZIP codes are
synthetic: assigned so that one cohort more often lives where a condition of the census holds.
Voices are real. The bottom of the voices is what mitigations are told to help.

Source: Dheram et al. 2022, arXiv:2207.11345.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evenear.audit import Cohorts, Table
from evenear.audit.discovery.census.partitions import CensusSettings, find_census_partitions
from evenear.audit.discovery.census.zipconditions import census_conditions
from evenear.audit.discovery.voice.embeddings import embed_audio
from evenear.audit.discovery.voice.voices import VoiceSettings, find_voices
from evenear.reproduction.claims import Claim, Judgement, Part
from evenear.reproduction.repairs.bench import Bench, Outcome
from evenear.reproduction.repairs.changes import Groups, judged
from evenear.reproduction.repairs.maps import NOTE, assigned_zips
from evenear.reproduction.statistics import Estimate
from evenear.training.mitigation.plan import MethodName

__all__ = ["CohortsResult", "Discovery", "MitigationRow", "claims_of", "compare_cohorts"]

_BOTTOM, _TOP, _ALL = "bottom", "top", "everyone"
_PULL = 0.6
_HEARD = 4
"""Utterances of a speaker that make the embedding."""


@dataclass(frozen=True)
class Discovery:
    """What one search found, as test speakers confirm it."""

    kind: str
    what: str
    gap: Estimate
    share: float
    """Of test speakers in the bottom cohort."""
    bottom: tuple[str, ...]
    top: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, without names of speakers."""
        return {
            "kind": self.kind,
            "what": self.what,
            "gap": asdict(self.gap),
            "share": self.share,
        }


@dataclass(frozen=True)
class MitigationRow:
    """What one method came to for the bottom of the voices."""

    outcome: Outcome
    gap_before: float
    gap_after: float
    gap_change: Estimate
    """Difference of gaps, after less before."""
    bottom: Estimate
    top: Estimate
    overall: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        names = ("gap_change", "bottom", "top", "overall")
        return {
            **self.outcome.to_dict(),
            "gap_before": self.gap_before,
            "gap_after": self.gap_after,
            **{name: asdict(getattr(self, name)) for name in names},
        }


@dataclass(frozen=True)
class CohortsResult:
    """Both searches, and every mitigation."""

    census: Discovery | None
    voices: Discovery | None
    difference: Estimate | None
    """Gap of the voices less that of the ZIP codes, on test speakers."""
    rows: tuple[MitigationRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "note": f"{NOTE}: ZIP codes are assigned, voices are real.",
            "discoveries": [one.to_dict() for one in (self.census, self.voices) if one],
            "difference_of_gaps": asdict(self.difference) if self.difference else None,
            "methods": [row.to_dict() for row in self.rows],
        }

    def row(self, method: MethodName) -> MitigationRow | None:
        """The row of a method, if it was tried."""
        return next((row for row in self.rows if row.outcome.method == method), None)


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
    for part in ("adaptation", "tuning", "test"):
        table = bench.before(part).with_attributes(zips)
        tables[part] = embed_audio(table, _some(table, audio))
    settings = CensusSettings(
        max_conditions=1, min_speakers=min_speakers, min_words=100, min_zips=3, num_permutations=99
    )
    partitions = find_census_partitions(tables["adaptation"], settings, seed=seed)
    voices = find_voices(
        tables["adaptation"],
        VoiceSettings(num_cohorts=4, min_speakers=min_speakers, num_permutations=99),
        seed=seed,
    )
    census = voice = None
    if partitions.partitions:
        cohorts = partitions.assign(tables["test"])
        best = partitions.partitions[0]
        census = _discovery("census", best.value, tables["test"], cohorts, best.value, None, seed)
    difference, rows = None, []
    if len(voices.cohorts) > 1:
        hardest, easiest = voices.cohorts[0].value, voices.cohorts[-1].value
        assigned = {part: voices.assign(table) for part, table in tables.items()}
        voice = _discovery(
            "voice", hardest, tables["test"], assigned["test"], hardest, easiest, seed
        )
        members: dict[str, bool | None] = dict.fromkeys(weak, None)
        for cohorts in assigned.values():
            members |= {s: value == hardest for s, value in _values(cohorts).items()}
        rows = [
            _row(bench, outcome, voice) for outcome in bench.attempts("voices", methods, members)
        ]
        if census is not None:
            difference = _difference(tables["test"], voice, census, seed)
    return CohortsResult(census, voice, difference, tuple(rows))


def claims_of(found: CohortsResult) -> tuple[Claim, ...]:
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
    claims.append(_reduces("Oversampling reduces the gap", found.row("oversample")))
    claims.append(_reduces("A cohort embedding reduces the gap", found.row("cohort-embedding")))
    claims += [_unharmed(found), _no_further(found)]
    return tuple(claims)


def _some(table: Table, audio: Mapping[str, Path]) -> dict[str, Path]:
    """The sound of a few utterances of each speaker."""
    taken: dict[str, int] = {}
    chosen = {}
    for name, speaker in table.frame.select("utterance_id", "speaker").iter_rows():
        taken[speaker] = taken.get(speaker, 0) + 1
        if taken[speaker] <= _HEARD and name in audio:
            chosen[name] = audio[name]
    return chosen


def _values(cohorts: Cohorts) -> dict[str, str]:
    frame = cohorts.assignments[0].frame.drop_nulls("value")
    return dict(zip(frame["speaker"].to_list(), frame["value"].to_list(), strict=True))


def _discovery(
    kind: str, what: str, test: Table, cohorts: Cohorts, bottom: str, top: str | None, seed: int
) -> Discovery:
    """Confirm on test speakers; without a top cohort all the rest is it."""
    values = _values(cohorts)
    low = tuple(s for s, value in values.items() if value == bottom)
    high = tuple(
        s for s, value in values.items() if (value != bottom if top is None else value == top)
    )
    groups = Groups([test], {_BOTTOM: low, _TOP: high}, seed=seed)
    gap = groups.estimate(lambda rates: rates[0][:, 0] / rates[0][:, 1] - 1.0)
    return Discovery(kind, what, gap, len(low) / max(1, test.num_speakers), low, high)


def _difference(test: Table, voice: Discovery, census: Discovery, seed: int) -> Estimate:
    groups = Groups(
        [test],
        {"a": voice.bottom, "b": voice.top, "c": census.bottom, "d": census.top},
        seed=seed,
    )
    return groups.estimate(
        lambda rates: rates[0][:, 0] / rates[0][:, 1] - rates[0][:, 2] / rates[0][:, 3]
    )


def _row(bench: Bench, outcome: Outcome, voice: Discovery) -> MitigationRow:
    before = bench.before("test")
    everyone = before.speakers["speaker"].to_list()
    names = {_BOTTOM: voice.bottom, _TOP: voice.top, _ALL: everyone}
    both = Groups([before, outcome.table], names, seed=bench.effort.seed)
    gaps = [both.rates(model)[_BOTTOM] / both.rates(model)[_TOP] - 1.0 for model in (0, 1)]
    change = both.estimate(
        lambda rates: rates[1][:, 0] / rates[1][:, 1] - rates[0][:, 0] / rates[0][:, 1]
    )
    return MitigationRow(
        outcome, gaps[0], gaps[1], change, *(both.change(name) for name in (_BOTTOM, _TOP, _ALL))
    )


def _shares(found: CohortsResult) -> Claim:
    title = "Voices show a larger share of speakers in the bottom cohort than ZIP codes"
    if found.census is None or found.voices is None:
        return Claim(title, (), "not measured")
    holds = found.voices.share > found.census.share
    notes = (
        f"{100 * found.voices.share:.1f} % against {100 * found.census.share:.1f} % of test "
        "speakers (paper: 10.0 against 0.8 %). With so few speakers the smallest cohort that can "
        "be found decides both.",
    )
    return Claim(title, (), "holds" if holds else "does not hold", notes)


def _reduces(title: str, row: MitigationRow | None) -> Claim:
    if row is None:
        return Claim(title, (), "not measured")
    verdict = judged(row.gap_change)
    part = Part("gap after less gap before", "56 → 40 %", row.gap_change, "points", verdict)
    note = f"From {100 * row.gap_before:.1f} to {100 * row.gap_after:.1f} %."
    return Claim(title, (part,), verdict, (note,))


def _unharmed(found: CohortsResult) -> Claim:
    title = "Neither hurts the top cohort or everyone"
    parts = []
    rows = (found.row("oversample"), found.row("cohort-embedding"))
    for label, row in zip(("oversampling", "cohort embedding"), rows, strict=True):
        for name in ("top", "overall"):
            one = getattr(row, name) if row else None
            part = Part(f"{label}, {name}", "minimal", one, "relative", judged(one))
            parts.append(part)
    return Claim(title, tuple(parts), _all([part.judgement for part in parts]))


def _no_further(found: CohortsResult) -> Claim:
    title = "Both together reduce the gap no further than either"
    both, alone = (
        found.row("oversample-embedding"),
        [row for row in (found.row("oversample"), found.row("cohort-embedding")) if row],
    )
    if both is None or not alone:
        return Claim(title, (), "not measured")
    best = min(row.gap_after for row in alone)
    verdict: Judgement = "cannot tell" if both.gap_after < best else "holds"
    note = f"{100 * both.gap_after:.1f} % against {100 * best:.1f} %, as points."
    return Claim(title, (), verdict, (note,))


def _all(verdicts: list[Judgement]) -> Judgement:
    for one in ("not measured", "does not hold", "cannot tell"):
        if one in verdicts:
            return one
    return "holds"
