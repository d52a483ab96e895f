# SPDX-License-Identifier: Apache-2.0
"""Who is adapted to, who chooses the strength, and who judges: no speaker does two of these.

A cohort that was picked because it fared worst fares better on other speakers whatever is done, and
a strength that was picked on some speakers suits them best. So those who discovered the cohort
never test, and neither do those who tuned. Speakers are drawn within the cohort and within the rest
alike, in the order of a hash of seed and name, so a corpus that grows keeps nearly all of its
division.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from evenear.data.corpora.manifests import Utterance
from evenear.errors import CohortError

__all__ = ["Division", "divide_speakers", "parts_of"]


class Division(NamedTuple):
    """Speakers of each part; no name is in two of them."""

    adaptation: frozenset[str]
    tuning: frozenset[str]
    test: frozenset[str]


def divide_speakers(
    members: Mapping[str, bool | None],
    *,
    tuning_share: float,
    test_share: float,
    seed: int,
    discovered_on: Collection[str] = (),
    test: Collection[str] | None = None,
    tuning: Collection[str] | None = None,
) -> Division:
    """Divide speakers into those to adapt to, to tune on and to test on.

    Args:
        members: Each speaker, and whether in the cohort.
        tuning_share: Share of the speakers to tune on.
        test_share: Share of the speakers to test on; not used where `test` is given.
        seed: The same seed and names give the same division.
        discovered_on: Speakers whose errors led to the cohort: they may be adapted to only.
        test: Speakers to test on, where they are known; they are taken out of the rest.
        tuning: The same of those to tune on.

    Raises:
        CohortError: A part would have nobody of the cohort, or nobody else.
    """
    adaptation: set[str] = set()
    testing: set[str] = set(test or ()) & members.keys()
    choosing: set[str] = set(tuning or ()) & members.keys()
    burned = set(discovered_on)
    if test is not None and testing & burned:
        raise CohortError(
            f"Who tests must not have discovered the cohort; {len(testing & burned)} speakers did "
            "both.",
            hint="Test on other speakers.",
        )
    if testing & choosing:
        raise CohortError(
            f"Who tests must not tune; {len(testing & choosing)} speakers do both.",
            hint="Name other speakers.",
        )
    given = testing | choosing
    for side in (True, False, None):
        names = sorted(
            (name for name, held in members.items() if held is side and name not in given),
            key=lambda name: _draw(seed, name),
        )
        fresh = [name for name in names if name not in burned]
        num_tuning = 0 if tuning is not None else max(1, round(tuning_share * len(names)))
        num_tuning = min(num_tuning, len(fresh))
        num_test = 0 if test is not None else max(1, round(test_share * len(names)))
        num_test = min(num_test, len(fresh) - num_tuning)
        choosing.update(fresh[:num_tuning])
        testing.update(fresh[num_tuning : num_tuning + num_test])
        adaptation.update(set(names) - choosing - testing)
    division = Division(frozenset(adaptation), frozenset(choosing), frozenset(testing))
    for part, names in division._asdict().items():
        for side, what in ((True, "in the cohort"), (False, "outside of it")):
            if not any(members[name] is side for name in names):
                raise CohortError(
                    f"The {part} speakers need one {what} at least, and there is none among "
                    f"{len(names)}.",
                    hint="Give more speakers, or a cohort that more of them are in.",
                )
    return division


def parts_of(utterances: Sequence[Utterance], division: Division) -> dict[str, list[Utterance]]:
    """The utterances of each part, by its name."""
    return {
        part: [u for u in utterances if u.speaker in names]
        for part, names in division._asdict().items()
    }


def _draw(seed: int, name: str) -> bytes:
    return hashlib.blake2b(f"{seed}\x1frepair\x1f{name}".encode(), digest_size=16).digest()
