# SPDX-License-Identifier: Apache-2.0
"""What became of each group under each variant, and of each published claim.

EERs are at each group's own threshold, of trials with both speakers in the group, and the spread is
the unweighted standard deviation of the population of groups, as in the paper. Changes are relative
to the control of the same loss and mean weight, as means over seeds; their intervals draw speakers
(on both sides jointly, the same for both systems) and seeds.

A claim holds if the interval lies on its side of zero, does not hold if it lies on the other side,
and cannot be told otherwise; then `detectable` says how large a change would have been seen in four
of five such studies.

Legend: R draws, S speakers, G groups, V seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from evenear.metrics.trialscores import TrialSet, draws_of_speakers
from evenear.reproduction.reweighting.learning import CONTROLS, LABELS
from evenear.reproduction.reweighting.voices import DescribedVoices
from evenear.seeding import rng_for

__all__ = [
    "OVERALL",
    "PAPER",
    "Change",
    "Claim",
    "Measured",
    "as_json",
    "change",
    "claims",
    "measure",
]

OVERALL = "all"
_SEEN = 1.96 + 0.84
"""Standard errors that a change must have to be seen in four of five studies."""

PAPER: Mapping[str, float] = {
    "overall": -0.077,
    "worse gender": -0.101,
    "better gender": -0.030,
    "gender gap": -0.17,
    "spread": -0.095,
}
"""Relative changes that the paper reports for PW."""


@dataclass(frozen=True, eq=False)
class Measured:
    """EERs of one variant: of each seed (V, G), and of each draw of speakers (V, R, G)."""

    groups: tuple[str, ...]
    eers_VG: NDArray[np.float64]
    draws_VRG: NDArray[np.float64]

    def of(self, group: str) -> float:
        """Mean over seeds."""
        return float(self.eers_VG[:, self.groups.index(group)].mean())


@dataclass(frozen=True)
class Change:
    """A relative change against a control, with its interval."""

    value: float
    low: float
    high: float
    detectable: float


@dataclass(frozen=True)
class Claim:
    """A published claim, and what became of it here."""

    title: str
    paper: float | None
    found: Change | None
    judgement: Literal["holds", "does not hold", "cannot tell"]


def measure(
    embedded: Sequence[NDArray[np.float32]],
    voices: DescribedVoices,
    *,
    attributes: Sequence[str],
    num_draws: int,
    seed: int,
) -> Measured:
    """EERs of all trials and of each group.

    Args:
        embedded: Unit vectors of the test utterances, for each seed of training.
        voices: The test utterances.
        attributes: By which to group speakers.
        num_draws: Draws of speakers; the same for every variant of a seed.
        seed: Decides the draws.
    """
    speakers = list(voices.speakers)
    names = sorted(set(speakers))
    known = dict(zip(voices.speakers, voices.attributes, strict=True))
    members: dict[str, NDArray[np.bool_]] = {OVERALL: np.ones(len(names), bool)}
    for attribute in attributes:
        values = [known[name].get(attribute) for name in names]
        for value in sorted({value for value in values if value is not None}):
            members[f"{attribute}: {value}"] = np.array([v == value for v in values])
    draws_RS = draws_of_speakers(len(names), num_draws, rng_for(seed, "draws"))
    rows, drawn = [], []
    for vectors in embedded:
        whole = TrialSet(vectors, speakers)
        parts = [
            whole if group == OVERALL else whole.only(is_in) for group, is_in in members.items()
        ]
        rows.append([part.eer() for part in parts])
        drawn.append(np.stack([part.eers(draws_RS, num_bins=200) for part in parts], axis=1))
    return Measured(tuple(members), np.array(rows), np.stack(drawn))


def change(of: Measured, control: Measured, what: str, *, seed: int = 0) -> Change | None:
    """The relative change of a group's EER, of the gender gap or of the spread over groups.

    Args:
        of: The variant.
        control: What it is compared with.
        what: A group; "gap: A | B" (absolute difference) or "spread: A | B | C".
        seed: Decides which seeds a draw takes.

    Returns:
        The change; None where the control makes no errors to compare with.
    """
    base = float(_statistic(control, control.eers_VG, what).mean())
    num_seeds, num_draws, _ = of.draws_VRG.shape
    taken_RV = rng_for(seed, "seeds").integers(num_seeds, size=(num_draws, num_seeds))
    draws_R = np.arange(num_draws)[:, None]
    mine_R = _statistic(of, of.draws_VRG, what)[taken_RV, draws_R].mean(axis=1)
    theirs_R = _statistic(control, control.draws_VRG, what)[taken_RV, draws_R].mean(axis=1)
    usable_R = np.isfinite(mine_R) & (theirs_R > 0.0)
    if base <= 0.0 or usable_R.sum() < 2:
        return None
    ratio_R = mine_R[usable_R] / theirs_R[usable_R] - 1.0
    low, high = np.quantile(ratio_R, [0.025, 0.975])
    value = float(_statistic(of, of.eers_VG, what).mean()) / base - 1.0
    return Change(value, float(low), float(high), float(_SEEN * ratio_R.std()))


def claims(measured: Mapping[str, Measured]) -> list[Claim]:
    """The claims of the paper, for the form of PW of the same kind of loss as the baseline's."""
    variant = "pw-row"
    of, control = measured[variant], measured[CONTROLS[variant]]
    genders = [group for group in of.groups if group.startswith("gender: ")]
    bands = [group for group in of.groups if group.startswith("age: ")]
    found = [_lower("PW lowers the overall EER", "overall", change(of, control, OVERALL))]
    if len(genders) == 2:
        worse, better = sorted(genders, key=control.of, reverse=True)
        found += [
            _lower(
                f"PW lowers the worse gender's ({worse})",
                "worse gender",
                change(of, control, worse),
            ),
            _lower(
                f"PW lowers the better gender's ({better})",
                "better gender",
                change(of, control, better),
            ),
            _lower(
                "PW narrows the gap between genders",
                "gender gap",
                change(of, control, "gap: " + " | ".join(genders)),
            ),
        ]
    if len(bands) > 1:
        found.append(
            _lower(
                "PW narrows the spread over groups (age bands here, nationalities there)",
                "spread",
                change(of, control, "spread: " + " | ".join(bands)),
            )
        )
    for other in ("pl", "aps"):
        if other in measured:
            found.append(
                _lower(
                    f"PW has a lower overall EER than {LABELS[other]}",
                    None,
                    change(of, measured[other], OVERALL),
                )
            )
    return found


def as_json(measured: Mapping[str, Measured], judged: Sequence[Claim]) -> dict[str, Any]:
    """Numbers of variants and claims as plain values."""
    variants = {
        name: {
            "label": LABELS[name],
            "eer": {group: one.of(group) for group in one.groups},
            "eer_by_seed": {
                group: one.eers_VG[:, g].tolist() for g, group in enumerate(one.groups)
            },
            "interval": {
                group: np.nanquantile(one.draws_VRG[:, :, g].mean(axis=0), [0.025, 0.975]).tolist()
                for g, group in enumerate(one.groups)
            },
            "overall_against_control": _against(name, measured),
        }
        for name, one in measured.items()
    }
    return {"variants": variants, "claims": [asdict(claim) for claim in judged]}


def _against(name: str, measured: Mapping[str, Measured]) -> dict[str, float] | None:
    control = CONTROLS.get(name)
    if control is None or control not in measured:
        return None
    found = change(measured[name], measured[control], OVERALL)
    return None if found is None else asdict(found)


def _statistic(one: Measured, eers: NDArray[np.float64], what: str) -> NDArray[np.float64]:
    """A group's EERs, or the gap or spread of several; over the last axis of `eers`."""
    kind, colon, names = what.partition(": ")
    if not colon or kind not in ("gap", "spread"):
        return eers[..., one.groups.index(what)]
    chosen = eers[..., [one.groups.index(name) for name in names.split(" | ")]]
    if kind == "gap":
        return np.abs(chosen[..., 0] - chosen[..., 1])
    return chosen.std(axis=-1)


def _lower(title: str, published: str | None, found: Change | None) -> Claim:
    judgement: Literal["holds", "does not hold", "cannot tell"] = "cannot tell"
    if found is not None and found.high < 0:
        judgement = "holds"
    elif found is not None and found.low > 0:
        judgement = "does not hold"
    return Claim(title, PAPER[published] if published else None, found, judgement)
