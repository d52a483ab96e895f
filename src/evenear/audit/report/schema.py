# SPDX-License-Identifier: Apache-2.0
"""A report as JSON: the same content as the page, in a versioned schema.

`AuditDocument` is the schema. Within a major version fields are only added; a field that is
renamed, removed or given another meaning starts the next major version. Rates and gaps are
fractions, not percent; what cannot be said is null, never NaN. docs/reference/audit-json.md
describes every field.
"""

import json
import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from evenear import __version__
from evenear.audit.report.confusions import CohortConfusions
from evenear.audit.report.contents import Report
from evenear.audit.report.findings import Finding
from evenear.audit.report.utterances import WorstUtterance
from evenear.audit.report.words import Headline
from evenear.audit.statistics.comparison import Change, Changes
from evenear.audit.statistics.confounds import Confound
from evenear.audit.statistics.results import Gap, Overall, Spread
from evenear.errors import TableError

__all__ = [
    "SCHEMA_VERSION",
    "AuditDocument",
    "Comparison",
    "json_schema",
    "parse_document",
    "to_document",
    "to_json",
]

SCHEMA_VERSION = "1.2"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The same cohorts under a second recognizer."""

    overall: Change
    cohorts: tuple[Change, ...]
    formula: str
    before: str
    after: str
    to: str
    level: float
    seed: int
    num_resamples: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AuditDocument:
    """An audit as JSON. The order of fields is the order in the file."""

    schema: Literal["evenear.audit"] = "evenear.audit"
    schema_version: str = SCHEMA_VERSION
    generator: str = f"evenear {__version__}"
    name: str
    headline: Headline
    overall: Overall
    cohorts: tuple[Gap, ...]
    formula: str
    spreads: tuple[Spread, ...] = ()
    comparison: Comparison | None = None
    more_comparisons: tuple[Comparison, ...] = ()
    findings: tuple[Finding, ...] = ()
    confounds: tuple[Confound, ...] = ()
    confusions: tuple[CohortConfusions, ...] = ()
    worst_utterances: tuple[WorstUtterance, ...] = ()
    to: str
    level: float
    seed: int
    num_resamples: int
    num_tried: int
    p_value_method: str
    confirm_fraction: float
    adjusted_for: tuple[str, ...] = ()
    strata: str | None = None
    min_speakers: int
    min_words: int
    without_values: tuple[str, ...] = ()
    normalizer: str
    warnings: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()


def to_document(report: Report) -> AuditDocument:
    """The report in the form in which it is written."""
    found = report.gaps
    return AuditDocument(
        name=found.name,
        headline=report.headline,
        overall=found.overall,
        cohorts=found.rows,
        formula=found.formula,
        spreads=found.spreads,
        comparison=None if report.changes is None else _comparison(report.changes),
        more_comparisons=tuple(_comparison(one) for one in report.more_changes),
        findings=report.findings,
        confounds=report.confounds,
        confusions=report.confusions,
        worst_utterances=report.worst_utterances,
        to=found.to,
        level=found.level,
        seed=found.seed,
        num_resamples=found.num_resamples,
        num_tried=found.num_tried,
        p_value_method=found.p_value_method,
        confirm_fraction=found.confirm_fraction,
        adjusted_for=found.adjusted_for,
        strata=found.strata,
        min_speakers=found.min_speakers,
        min_words=found.min_words,
        without_values=found.without_values,
        normalizer=found.normalizer,
        warnings=report.warnings,
        methods=report.methods,
        limits=report.limits,
    )


def to_json(report: Report) -> str:
    """The report as indented JSON text. The same report gives the same text."""
    values = _finite(asdict(to_document(report)))
    return json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def parse_document(text: str) -> AuditDocument:
    """Read a report back.

    Raises:
        TableError: It is not a report of this major version, or a field is missing or broken.
    """
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise TableError(f"A report must be JSON; line {error.lineno}: {error.msg}.") from None
    name = values.get("schema") if isinstance(values, dict) else None
    version = str(values.get("schema_version", "")) if isinstance(values, dict) else ""
    ours = SCHEMA_VERSION.split(".")[0]
    if name != "evenear.audit" or version.split(".")[0] != ours:
        raise TableError(
            f"Expected a report of schema evenear.audit, version {ours}.x; got schema {name!r}, "
            f"version {version!r}.",
            hint="Write it with `evenear audit RESULTS --json`.",
        )
    try:
        return TypeAdapter(AuditDocument).validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise TableError(f"The report's field {place!r} is broken: {first['msg']}.") from None


def json_schema() -> dict[str, Any]:
    """The schema as a JSON Schema document (draft 2020-12)."""
    schema = TypeAdapter(AuditDocument).json_schema(mode="serialization")
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "evenear.audit"}
    return {**head, "version": SCHEMA_VERSION, **{k: v for k, v in schema.items() if k != "title"}}


def _comparison(changes: Changes) -> Comparison:
    return Comparison(
        overall=changes.overall,
        cohorts=changes.rows,
        formula=changes.formula,
        before=changes.before,
        after=changes.after,
        to=changes.to,
        level=changes.level,
        seed=changes.seed,
        num_resamples=changes.num_resamples,
        warnings=changes.warnings,
    )


def _finite(value: Any) -> Any:
    """The value with null in the place of what JSON cannot write."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
