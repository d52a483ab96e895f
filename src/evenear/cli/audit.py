# SPDX-License-Identifier: Apache-2.0
"""`evenear audit`: who a recognizer fails, as text, as one offline page, and as a gate.

Exit codes: 0 done, 1 a `--fail-if` condition holds or the audit could not be done, 2 the command
was not understood.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evenear.cli.console import need, note, progress_bar
from evenear.cli.gates import any_holds, append_summary, summary_file
from evenear.cli.tables import Source, as_options, one_of, recognizer_names
from evenear.cli.trials import TrialPlan, audit_trials, refuse_for_trials
from evenear.errors import CohortError, ConfigError, TableError, nearest_names
from evenear.metrics.normalizing.named import NORMALIZER_HELP

if TYPE_CHECKING:
    from evenear.audit import Table
    from evenear.audit.report import Condition, Report

__all__ = ["WAYS", "audit"]

WAYS = ("geography", "census", "voice", "subgroups")
"""What cohorts can be found by."""

_PLACES = {"zip": "census", "latitude": "geography", "longitude": "geography"}
"""Columns that are no attributes, and the search that each is for."""


def audit(
    results: Annotated[
        Path,
        typer.Argument(
            help="Results of a recognizer: JSONL, CSV, TSV, Parquet, SegLST or kaldi text."
        ),
    ],
    by: Annotated[
        str | None,
        typer.Option(help="Columns that divide speakers, with commas; age*gender crosses two."),
    ] = None,
    discover: Annotated[
        str | None,
        typer.Option(help=f"Find cohorts by any of {', '.join(WAYS)}, with commas."),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(help="Results of a second recognizer: RESULTS is before, this is after."),
    ] = None,
    systems: Annotated[
        str | None,
        typer.Option(help="The column that names recognizers, if RESULTS holds several."),
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="The references, if RESULTS holds only hypotheses.")
    ] = None,
    attributes: Annotated[
        list[Path] | None,
        typer.Option(help="A table of columns by speaker or utterance; may be repeated."),
    ] = None,
    embeddings: Annotated[
        Path | None,
        typer.Option(help="Embeddings (.npz, .npy, .parquet) or a folder of sound, for voice."),
    ] = None,
    out: Annotated[
        list[Path] | None,
        typer.Option(help="Write the report to this .html, .json, .md or .csv; may be repeated."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(help='Exit with 1 if this holds: "gap(gender) > 0.1"; may be repeated.'),
    ] = None,
    job_summary: Annotated[
        bool,
        typer.Option("--job-summary", help="Append the report to the page of this GitHub job."),
    ] = False,
    trials: Annotated[
        bool,
        typer.Option("--trials", help="RESULTS are a verifier's trials: score,enrol,test,target."),
    ] = False,
    threshold: Annotated[
        str | None,
        typer.Option(
            help="The deployed threshold of --trials; with --compare that of both, or first,second."
        ),
    ] = None,
    to: Annotated[str, typer.Option(help="Compare each cohort with the rest or overall.")] = "rest",
    adjust_for: Annotated[
        str | None,
        typer.Option(help="Columns to hold fixed in adjusted ratios; also utterance_length."),
    ] = None,
    confounds: Annotated[
        str | None,
        typer.Option(
            help="Columns that may go with a cohort, such as device,site,snr; the gap is shown "
            "within them.  [default: all of few kinds, or of numbers]",
            show_default=False,
        ),
    ] = None,
    confirm_fraction: Annotated[
        float | None,
        typer.Option(
            help="Share of speakers that numbers come from; the others find cohorts and "
            "directions.  [default: 0.5 with --discover, else 0: all speakers]",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides the split and every draw.")] = 0,
    resamples: Annotated[int, typer.Option(help="Draws of speakers for each interval.")] = 1000,
    level: Annotated[float, typer.Option(help="Coverage of intervals.")] = 0.95,
    min_speakers: Annotated[
        int, typer.Option(help="Cohorts with fewer, or fewer in the rest, get no numbers.")
    ] = 10,
    min_words: Annotated[int, typer.Option(help="The same for reference words.")] = 500,
    worst: Annotated[
        int, typer.Option(help="Utterances to quote from each cohort; 0 leaves all texts out.")
    ] = 5,
    normalizer: Annotated[str, typer.Option(help=NORMALIZER_HELP)] = "basic",
    duplicates: Annotated[
        str, typer.Option(help="Repeated utterance ids: error, first or keep.")
    ] = "error",
    column: Annotated[
        list[str] | None,
        typer.Option(help="A column under another name: hypothesis=my_output; may be repeated."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="What to call this recognizer; with --compare: first,second.")
    ] = None,
) -> None:
    """Find who a recognizer fails, from any recognizer's results."""
    need("polars", extra="audit", purpose="An audit")
    need("jinja2", extra="audit", purpose="A report")
    source = Source(reference, tuple(attributes or ()), normalizer, duplicates, tuple(column or ()))
    settings = {
        "to": to,
        "adjust_for": _names(adjust_for),
        "confirm_fraction": (0.5 if discover else 0.0)
        if confirm_fraction is None
        else confirm_fraction,
        "seed": seed,
        "num_resamples": resamples,
        "level": level,
        "min_speakers": min_speakers,
        "min_words": min_words,
        "num_worst": worst,
        "confounds": None if confounds is None else _names(confounds),
    }
    plan = _Plan(results, compare, _names(by), _names(discover), embeddings, settings, systems)
    if trials:
        given = {
            "--systems": systems,
            "--discover": discover,
            "--embeddings": embeddings,
            "--reference": reference,
            "more than one --attributes": len(source.attributes) > 1,
            "--to": to != "rest",
            "--adjust-for": adjust_for,
            "--confounds": confounds,
            "--confirm-fraction": confirm_fraction,
            "--min-words": min_words != 500,
        }
        refuse_for_trials(given)
        how = TrialPlan(
            results, compare, plan.by, threshold, tuple(fail_if or ()), settings, job_summary
        )
        if audit_trials(how, source, tuple(out or ()), name=name, as_json=as_json):
            raise typer.Exit(1)
        return
    if threshold is not None:
        raise ConfigError("--threshold is for --trials, which was not asked for.")
    conditions = _check(plan, out or (), fail_if or ())
    summary = summary_file() if job_summary else None
    report = _report(plan, source, name)
    _print(report, out or (), as_json=as_json)
    if summary is not None:
        from evenear.audit.report import to_markdown

        append_summary(to_markdown(report), report, conditions, summary)
    if any_holds(report, conditions):
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Plan:
    """What to audit, and how."""

    results: Path
    compare: Path | None
    by: tuple[str, ...]
    discover: tuple[str, ...]
    embeddings: Path | None
    settings: dict[str, Any]
    systems: str | None = None


def _check(plan: _Plan, out: Sequence[Path], fail_if: Sequence[str]) -> list["Condition"]:
    """Find mistakes in the command before any work is done."""
    from evenear.audit.report import parse_condition
    from evenear.audit.report.rendering.writing import check_report_path

    for way in plan.discover:
        one_of("--discover", way, WAYS)
    if plan.discover and not plan.settings["confirm_fraction"]:
        raise ConfigError(
            "Cohorts that are found must be confirmed on other speakers; got --confirm-fraction 0.",
            hint="Leave it at 0.5.",
        )
    if plan.embeddings and "voice" not in plan.discover:
        raise ConfigError("--embeddings are for --discover voice, which was not asked for.")
    for path in out:
        check_report_path(path)
    return [parse_condition(text) for text in fail_if]


def _report(plan: _Plan, source: Source, name: str | None) -> "Report":
    from evenear.audit import Cohorts, cohorts_by
    from evenear.audit.report import AuditSettings, audit
    from evenear.config import from_dict

    settings = from_dict(AuditSettings, plan.settings)
    table, *others = _tables(plan, source, name)
    _require(plan, table)
    cohorts, findings = cohorts_by(table, plan.by), ()
    if plan.discover:
        from evenear.audit.report.discovery import discover

        try:
            with progress_bar("utterances") as bar:
                listens = plan.embeddings is not None and plan.embeddings.is_dir()
                total = table.num_utterances
                task = bar.add_task("Listening", total=total, status="", visible=listens)
                found = discover(
                    table,
                    plan.discover,
                    settings,
                    embeddings=plan.embeddings,
                    progress=lambda heard: bar.advance(task, heard),
                )
        except (CohortError, TableError) as error:
            raise type(error)(error.message, hint=as_options(error.hint)) from None
        table, cohorts, findings = found.table, cohorts + found.cohorts, found.findings
    return audit(table, cohorts or Cohorts(), settings, findings=findings, other=others)


def _tables(plan: _Plan, source: Source, name: str | None) -> tuple["Table", ...]:
    """Results of all recognizers, the one to be audited first."""
    if plan.systems is None:
        names = recognizer_names(plan.results, plan.compare, name)
        table = source.read(plan.results, names[0])
        return (table, source.read(plan.compare, names[1])) if plan.compare else (table,)
    if plan.compare is not None:
        raise ConfigError("--systems finds recognizers in RESULTS; leave --compare out.")
    tables = source.read_systems(plan.results, plan.systems)
    if name is None:
        return tables
    first = [one for one in tables if one.name == name]
    if not first:
        raise ConfigError(
            f"--name chooses which recognizer the others are compared with; {name!r} is none.",
            hint=nearest_names(name, [one.name for one in tables]),
        )
    return (*first, *(one for one in tables if one.name != name))


def _require(plan: _Plan, table: "Table") -> None:
    """Check the names of columns, which are part of the command."""
    wanted = [part.strip() for name in plan.by for part in name.replace("×", "*").split("*")]
    adjust_for = plan.settings["adjust_for"]
    wanted += [one for one in adjust_for if one != "utterance_length"]
    wanted += plan.settings["confounds"] or ()
    for name in wanted:
        if name in _PLACES and name in table.frame.columns:
            raise ConfigError(
                f"{name} is no attribute that divides speakers; it is what cohorts are found by.",
                hint=f"Ask for --discover {_PLACES[name]}.",
            )
        if name not in table.attributes:
            raise ConfigError(
                f"There is no attribute {name!r} in {plan.results.name}.",
                hint=nearest_names(name, table.attributes)
                if table.attributes
                else "It has none: add columns, or join a table with --attributes.",
            )
    if not plan.by and not plan.discover:
        raise ConfigError(
            "Say what divides the speakers, with --by or --discover.",
            hint=f"This table has --by {','.join(table.attributes)}"
            if table.attributes
            else "This table has no attributes: join one with --attributes.",
        )


def _print(report: "Report", out: Sequence[Path], *, as_json: bool) -> None:
    from evenear.audit.report import to_json, to_text, write_report

    for line in report.warnings:
        note(f"note: {line}")
    typer.echo(to_json(report) if as_json else to_text(report), nl=False)
    sys.stdout.flush()
    for path in out:
        write_report(report, path)
        note(f"Report: {path}")


def _names(text: str | None) -> tuple[str, ...]:
    """Names between commas, each once."""
    parts = [part.strip() for part in (text or "").split(",")]
    return tuple(dict.fromkeys(part for part in parts if part))
