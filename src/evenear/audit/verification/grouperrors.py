# SPDX-License-Identifier: Apache-2.0
"""What an audit of a speaker verifier says: of each group, between groups, and how it was measured.

Everything is frozen, and plain JSON values with `to_dict`.
"""

from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

__all__ = ["GroupErrors", "Measured", "VerificationAudit", "VerificationSpread"]

_SIZES = ("attribute", "value", "speakers", "target_trials", "nontarget_trials", "confirmed")
_MEASURES = ("eer", "false_reject", "false_accept", "min_dcf")
_FORMULA = (
    "difference = rate(group) - rate(others); trials of a group have both speakers in it; "
    "EER and minDCF at own thresholds, false rejects and accepts at the shared one"
)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One measure of a group: its value, and the difference to all other speakers."""

    value: float
    low: float
    high: float
    difference: float
    difference_low: float
    difference_high: float
    p_adjusted: float | None = None
    """Of the difference, among all groups and measures; None for minDCF."""


@dataclass(frozen=True, kw_only=True)
class GroupErrors:
    """One group of speakers. Measures of a suppressed group are None."""

    attribute: str
    value: str
    speakers: int
    target_trials: int
    nontarget_trials: int
    eer: Measured | None = None
    min_dcf: Measured | None = None
    false_reject: Measured | None = None
    """Share of target trials below the shared threshold."""
    false_accept: Measured | None = None
    """Share of non-target trials at or above the shared threshold."""
    confirmed: bool = False
    """Whether EER, false rejects or false accepts differ; the chance that any group of the audit is
    called so by luck is at most 1 - level."""
    suppressed: bool = False
    """Whether the group is too small to say anything about."""


@dataclass(frozen=True, kw_only=True)
class VerificationSpread:
    """How unevenly the groups of one attribute are served."""

    attribute: str
    groups: int
    eer_deviation: float
    """Standard deviation of the groups' EERs (ddof 0)."""
    eer_deviation_low: float
    eer_deviation_high: float
    discrepancy_rate: float
    """Fairness discrepancy rate at the shared threshold: 1 is even."""
    discrepancy_rate_low: float
    discrepancy_rate_high: float


@dataclass(frozen=True, kw_only=True)
class VerificationAudit:
    """Error rates of all groups, and how they were measured."""

    overall: GroupErrors
    rows: tuple[GroupErrors, ...]
    spreads: tuple[VerificationSpread, ...]
    threshold: float
    """The shared threshold."""
    threshold_from: str
    """Where it comes from, in words."""
    p_target: float
    level: float
    seed: int
    num_resamples: int
    min_speakers: int
    name: str = "scores"
    warnings: tuple[str, ...] = ()

    @property
    def formula(self) -> str:
        """What the differences are, to be shown beside them."""
        return _FORMULA

    def to_frame(self) -> pl.DataFrame:
        """The groups as a polars frame: value, difference and p-value of each measure."""
        rows = []
        for row in self.rows:
            cells: dict[str, Any] = {name: getattr(row, name) for name in _SIZES}
            for name in _MEASURES:
                one = getattr(row, name)
                for part in ("value", "difference", "difference_low", "difference_high"):
                    label = name if part == "value" else f"{name}_{part}"
                    cells[label] = None if one is None else getattr(one, part)
                cells[f"{name}_p_adjusted"] = None if one is None else one.p_adjusted
            rows.append(cells)
        return pl.DataFrame(rows, infer_schema_length=None)

    def _repr_html_(self) -> str:
        """A table of the groups, for a notebook."""
        shown = [f"{name}{part}" for name in _MEASURES[:3] for part in ("", "_difference")]
        if not self.rows:
            return ""
        return self.to_frame().select("attribute", "value", "speakers", *shown)._repr_html_()

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON values, `overall` and `cohorts` first."""
        values = asdict(self)
        overall, rows = values.pop("overall"), values.pop("rows")
        return {"overall": overall, "cohorts": list(rows), "formula": self.formula, **values}
