# SPDX-License-Identifier: Apache-2.0
"""Which recordings to compare with which: designs of trials, lists in files, and what is wrong.

All pairs of recordings are easy: most impostors differ in sex or age. Trials of the same gender
and age band are what a verifier meets when someone resembles you. A design can be flawed in ways
that no metric shows, and `check_design` says so in words: targets and non-targets of different
lengths, test recordings that are also enrolled, impostors who are not those that targets meet.

A VoxCeleb list has a line `1 path path` for each trial (1: the same speaker).

Legend: N trials.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evenear.errors import EvenearError

__all__ = ["Design", "Sample", "all_trials", "check_design", "hard_trials", "read_voxceleb_list"]

_MOST_EFFECT = 0.5
"""Difference of mean lengths in their spread, from which a design is doubted."""


@dataclass(frozen=True)
class Sample:
    """A recording, and whose it is."""

    path: str
    speaker: str
    seconds: float | None = None
    attributes: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Design:
    """Pairs of recordings by their number, and whether both are of one speaker."""

    samples: tuple[Sample, ...]
    first_N: np.ndarray
    second_N: np.ndarray
    is_target_N: np.ndarray


def all_trials(samples: Sequence[Sample]) -> Design:
    """Every pair of recordings once."""
    return _paired(samples, np.ones(len(samples) * (len(samples) - 1) // 2, bool))


def hard_trials(samples: Sequence[Sample], attributes: Sequence[str]) -> Design:
    """Pairs whose speakers are alike in all these attributes; who lacks one is in no trial.

    Raises:
        EvenearError: No recording has the attributes.
    """
    keys = []
    for sample in samples:
        known = sample.attributes or {}
        key = tuple(known.get(name) for name in attributes)
        keys.append(None if None in key else key)
    if not any(key is not None for key in keys):
        raise EvenearError(
            f"Trials of alike speakers need {', '.join(attributes)}; no recording has them."
        )
    first, second = np.triu_indices(len(samples), k=1)
    numbers: dict[object, int] = {}
    group = np.array([-1 if key is None else numbers.setdefault(key, len(numbers)) for key in keys])
    return _paired(samples, (group[first] == group[second]) & (group[first] >= 0))


def read_voxceleb_list(path: str | Path) -> Design:
    """Trials of a VoxCeleb list; the speaker is the first folder of a path.

    Raises:
        EvenearError: A line is none of a list, or its label contradicts its paths.
    """
    numbers: dict[str, int] = {}
    pairs = []
    text = Path(path).read_text(encoding="utf-8")
    for line, row in enumerate(text.splitlines(), start=1):
        if not row.strip():
            continue
        parts = row.split()
        if len(parts) != 3 or parts[0] not in ("0", "1"):
            raise EvenearError(
                f"{path}:{line}: a trial is written `1 path path` or `0 path path`, got {row!r}."
            )
        is_target = parts[0] == "1"
        speakers = [part.split("/")[0] for part in parts[1:]]
        if is_target != (speakers[0] == speakers[1]):
            raise EvenearError(
                f"{path}:{line}: the label {parts[0]} contradicts the speakers "
                f"{speakers[0]!r} and {speakers[1]!r}.",
                hint="The first folder of a path is the speaker.",
            )
        first, second = (numbers.setdefault(part, len(numbers)) for part in parts[1:])
        pairs.append((first, second, is_target))
    if not pairs:
        raise EvenearError(f"{path} must hold trials, but it is empty.")
    samples = tuple(Sample(name, name.split("/")[0]) for name in numbers)
    table = np.array(pairs)
    return Design(samples, table[:, 0], table[:, 1], table[:, 2].astype(bool))


def check_design(design: Design, *, attributes: Sequence[str] = ()) -> tuple[str, ...]:
    """What is wrong with a design, in words; nothing if nothing was found."""
    notes = [*_kinds(design), *_leaks(design), *_lengths(design)]
    for name in attributes:
        notes += _impostors(design, name)
    return tuple(notes)


def _paired(samples: Sequence[Sample], kept: np.ndarray) -> Design:
    first, second = np.triu_indices(len(samples), k=1)
    first, second = first[kept], second[kept]
    names = np.array([sample.speaker for sample in samples])
    return Design(tuple(samples), first, second, names[first] == names[second])


def _kinds(design: Design) -> list[str]:
    targets = int(design.is_target_N.sum())
    others = len(design.is_target_N) - targets
    if targets and others:
        return []
    return [f"There are {targets} targets and {others} non-targets; error rates need both."]


def _leaks(design: Design) -> list[str]:
    """The same recording on both sides, or trials that come twice."""
    notes = []
    paths = np.array([sample.path for sample in design.samples])
    same = int((paths[design.first_N] == paths[design.second_N]).sum())
    if same:
        notes.append(
            f"{same} trials compare a recording with itself: an enrolment leaks into the test."
        )
    pairs = np.sort(np.stack([design.first_N, design.second_N]), axis=0)
    twice = pairs.shape[1] - np.unique(pairs, axis=1).shape[1]
    if twice:
        notes.append(f"{twice} trials come more than once and count more than once.")
    return notes


def _lengths(design: Design) -> list[str]:
    """Whether length alone tells targets from non-targets."""
    seconds = np.array([np.nan if s.seconds is None else s.seconds for s in design.samples])
    shorter_N = np.minimum(seconds[design.first_N], seconds[design.second_N])
    known_N = np.isfinite(shorter_N)
    targets = shorter_N[known_N & design.is_target_N]
    others = shorter_N[known_N & ~design.is_target_N]
    if len(targets) < 2 or len(others) < 2:
        return []
    spread = np.sqrt(0.5 * (targets.var() + others.var()))
    gap = abs(targets.mean() - others.mean())
    if gap <= _MOST_EFFECT * spread or gap < 0.1:
        return []
    return [
        f"Targets and non-targets differ in length (shorter side {targets.mean():.1f} s and "
        f"{others.mean():.1f} s on average): scores that follow length look better than they are."
    ]


def _impostors(design: Design, name: str) -> list[str]:
    """Whether impostors are drawn from other people than those they are compared with."""
    values = np.array([(s.attributes or {}).get(name) or "" for s in design.samples])
    known_N = (values[design.first_N] != "") & (values[design.second_N] != "")
    others_N = known_N & ~design.is_target_N
    if not others_N.any():
        return []
    alike = float((values[design.first_N] == values[design.second_N])[others_N].mean())
    if alike > 0.99:
        return []
    return [
        f"{100 * (1 - alike):.0f} % of non-targets differ in {name}: these are easy to tell apart. "
        f"Trials of the same {name} are the hard case."
    ]
