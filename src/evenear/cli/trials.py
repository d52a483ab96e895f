# SPDX-License-Identifier: Apache-2.0
"""`evenear audit --trials`: whom a speaker verifier fails, alone or beside a second one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from evenear.cli.console import note
from evenear.cli.gates import any_holds, append_summary, summary_file
from evenear.cli.tables import Source, as_options, recognizer_names
from evenear.errors import ConfigError, TableError, nearest_names

if TYPE_CHECKING:
    from evenear.audit.verification.trials import Trials

__all__ = ["TrialPlan", "audit_trials", "refuse_for_trials"]


@dataclass(frozen=True)
class TrialPlan:
    """Which trials to audit, and how."""

    results: Path
    compare: Path | None
    by: tuple[str, ...]
    threshold: str | None
    fail_if: tuple[str, ...]
    settings: Mapping[str, Any]
    job_summary: bool = False


def refuse_for_trials(given: Mapping[str, Any]) -> None:
    """Refuse what an audit of trials would pass over.

    Raises:
        ConfigError: An option was given that is for recognizers.
    """
    refused = [option for option, value in given.items() if value]
    if refused:
        raise ConfigError(f"--trials does not go with {', '.join(refused)}.", hint="Leave it out.")


def audit_trials(
    plan: TrialPlan, source: Source, out: Sequence[Path], *, name: str | None, as_json: bool
) -> bool:
    """Audit, print and write; return whether any condition of the gate holds."""
    from evenear.audit.report import AuditSettings
    from evenear.audit.report.gates.verifiers import AuditedTrials, parse_trial_condition
    from evenear.audit.report.rendering.writing import check_report_path
    from evenear.audit.report.verification import verification_json, verification_text
    from evenear.audit.report.verificationfiles import (
        verification_markdown,
        write_verification_report,
    )
    from evenear.audit.verification.comparison import compare_verification
    from evenear.audit.verification.groups import audit_verification
    from evenear.config import from_dict

    from_dict(AuditSettings, dict(plan.settings))
    thresholds = _thresholds(plan.threshold, is_compared=plan.compare is not None)
    conditions = [parse_trial_condition(text) for text in plan.fail_if]
    for path in out:
        check_report_path(path)
    summary = summary_file() if plan.job_summary else None
    names = recognizer_names(plan.results, plan.compare, name)
    first = _read(plan.results, source, names[0])
    _require_of_speakers(plan.by, first)
    settings = {
        name: plan.settings[name] for name in ("seed", "num_resamples", "level", "min_speakers")
    }
    threshold = None if thresholds is None else thresholds[0]
    found = audit_verification(first, plan.by, threshold=threshold, **settings)
    changes = None
    if plan.compare is not None:
        second = _read(plan.compare, source, names[1])
        changes = compare_verification(first, second, plan.by, thresholds=thresholds, **settings)
    for line in dict.fromkeys((*found.warnings, *(changes.warnings if changes else ()))):
        note(f"note: {line}")
    text = verification_json if as_json else verification_text
    typer.echo(text(found, changes), nl=False)
    for path in out:
        write_verification_report(found, path, changes)
        note(f"Report: {path}")
    audited = AuditedTrials(found, changes)
    if summary is not None:
        append_summary(verification_markdown(found, changes), audited, conditions, summary)
    return any_holds(audited, conditions)


def _read(path: Path, source: Source, name: str) -> "Trials":
    from evenear.audit.verification.trials import read_trials

    speakers = source.attributes[0] if source.attributes else None
    try:
        return read_trials(path, speakers=speakers, columns=source.renamed, name=name)
    except TableError as error:
        raise TableError(error.message, hint=as_options(error.hint)) from None


def _thresholds(text: str | None, *, is_compared: bool) -> tuple[float, float] | None:
    """The thresholds of both verifiers; None if they are to be found."""
    if text is None:
        return None
    parts = text.split(",")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= (2 if is_compared else 1):
        raise ConfigError(
            f"--threshold takes a number{', or two with a comma' if is_compared else ''}, "
            f"got {text!r}.",
            hint="Write it like --threshold 0.35"
            + (" or --threshold 0.35,0.41." if is_compared else "."),
        )
    return numbers[0], numbers[-1]


def _require_of_speakers(by: Sequence[str], found: "Trials") -> None:
    parts = [part.strip() for name in by for part in name.replace("×", "*").split("*")]
    for name in parts:
        if name in found.attributes:
            continue
        for line in found.warnings:
            note(f"note: {line}")
        raise ConfigError(
            f"There is no attribute {name!r} of speakers.",
            hint=nearest_names(name, found.attributes)
            if found.attributes
            else "Give a table of speakers with --attributes, or columns enrol_… and test_….",
        )
