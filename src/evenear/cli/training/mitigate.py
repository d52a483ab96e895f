# SPDX-License-Identifier: Apache-2.0
"""`evenear mitigate`: repair a recognizer for a cohort, and judge the repair on everyone.

Exit codes: 0 the gate passed, 1 it did not or the repair could not be done, 2 the command was not
understood.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evenear.cli.console import expect_to_read, need, note, progress_bar
from evenear.errors import ConfigError, nearest_names

if TYPE_CHECKING:
    from evenear.training.mitigation.judgement.results import Result
    from evenear.training.mitigation.plan import MitigationConfig

__all__ = ["mitigate"]


def mitigate(
    model: Annotated[str, typer.Argument(help="The model to repair: its folder or name.")],
    data: Annotated[
        Path, typer.Option(help="Speech with transcripts of speakers that the model never heard.")
    ],
    cohort: Annotated[str, typer.Option(help="Whom to repair it for, as 'age<18'.")],
    out: Annotated[Path, typer.Option(help="A new folder; the same command goes on there.")],
    method: Annotated[
        str,
        typer.Option(help="How: ewc, l2sp, fine-tune, replay, adapters, average, oversample, …"),
    ] = "ewc",
    dial: Annotated[
        str | None,
        typer.Option(help="Settings of the method to try, with commas, instead of the usual."),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Only utterances of this split.")] = None,
    test: Annotated[
        Path | None, typer.Option(help="Speech of the speakers to test on; else some of --data.")
    ] = None,
    test_split: Annotated[
        str | None, typer.Option(help="Only utterances of this split of --test.")
    ] = None,
    tuning_speakers: Annotated[
        Path | None,
        typer.Option(help="Names, one a line, of speakers of --data who choose the setting."),
    ] = None,
    by: Annotated[
        str | None, typer.Option(help="Judge cohorts by these attributes, with commas.")
    ] = None,
    discovered_on: Annotated[
        Path | None,
        typer.Option(help="Results that the cohort was found in: their speakers never test."),
    ] = None,
    unlabeled: Annotated[
        Path | None,
        typer.Option(help="More speech, without transcripts: the model writes the cohort's down."),
    ] = None,
    keep: Annotated[
        float, typer.Option(help="Share of such transcripts to keep, the surest first.")
    ] = 0.5,
    layers: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Adapt only so many encoder layers, from the last on, and the heads, over what "
            "the others heard once: much quicker. With 0, the heads alone: a dial stays.",
        ),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(help="Arithmetic while adapting: float32, or bfloat16 where that is quick."),
    ] = "float32",
    updates: Annotated[int, typer.Option(min=1, help="Updates of each candidate.")] = 200,
    rate: Annotated[float, typer.Option(help="The highest learning rate.")] = 2e-4,
    batch_seconds: Annotated[float, typer.Option(help="Speech in a batch.")] = 30.0,
    margin: Annotated[
        float, typer.Option(help="How much everyone's tuning errors may grow, relatively.")
    ] = 0.005,
    seed: Annotated[int, typer.Option(help="Decides speakers, batches and draws.")] = 0,
    min_speakers: Annotated[
        int, typer.Option(help="Cohorts with fewer test speakers get no numbers.")
    ] = 10,
    min_words: Annotated[int, typer.Option(help="The same for reference words.")] = 500,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads to compute with.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print numbers for machines.")] = False,
) -> None:
    """Adapt a recognizer to a cohort, choose how strongly, and see that nobody got worse."""
    need("tensorboard", extra="train", purpose="Training")
    need("polars", extra="audit", purpose="An audit")
    need("jinja2", extra="audit", purpose="A report")
    import torch

    from evenear.audit.report import AuditSettings
    from evenear.config import from_dict
    from evenear.evaluation import load_utterances
    from evenear.training.mitigation.judgement.finishing import finish
    from evenear.training.mitigation.repair import Repair, Watch

    for path in filter(None, (data, test, unlabeled, tuning_speakers)):
        expect_to_read(path)
    how = _config(cohort, method, dial, updates=updates, rate=rate, seed=seed)
    how = _changed(how, batch_seconds=batch_seconds, overall_margin=margin, keep_share=keep)
    how = _changed(how, layers=layers, precision=precision)
    audited = from_dict(
        AuditSettings, {"seed": seed, "min_speakers": min_speakers, "min_words": min_words}
    )
    if threads is not None:
        torch.set_num_threads(threads)
    utterances = load_utterances(data, split=split)
    testing = load_utterances(test, split=test_split) if test is not None else None
    with progress_bar("steps") as bar:
        task = bar.add_task("Preparing", total=None, status="")
        repair = Repair.prepare(
            model,
            utterances,
            how,
            out,
            test=testing,
            tuning=tuning_speakers.read_text("utf-8").split() if tuning_speakers else None,
            by=[name.strip() for name in by.split(",") if name.strip()] if by else None,
            discovered_on=_speakers(discovered_on),
            unlabeled=load_utterances(unlabeled) if unlabeled is not None else (),
            watch=Watch(
                lambda name, total: bar.reset(task, description=name, total=total),
                lambda count: bar.advance(task, count),
                note,
            ),
        )
        sizes = {part: len(names) for part, names in repair.division._asdict().items()}
        note(", ".join(f"{count} {part} speakers" for part, count in sizes.items()) + ".")
        result = finish(repair, audited)
    _print(result, as_json=as_json)
    if not result.choice.is_within_margin:
        note(
            "No setting kept everyone's errors on tuning speakers within the margin; the least "
            "costly was taken."
        )
    note(f"The model is in {out / 'model'}. To read: {out / 'report.html'}")
    if not result.gate.passed:
        raise typer.Exit(1)


def _config(
    cohort: str, method: str, dial: str | None, *, updates: int, rate: float, seed: int
) -> "MitigationConfig":
    from evenear.config import from_dict, to_dict
    from evenear.training.mitigation.cohort import parse_cohort
    from evenear.training.mitigation.plan import METHODS, MitigationConfig

    if method not in METHODS:
        raise ConfigError(f"There is no method {method!r}.", hint=nearest_names(method, METHODS))
    try:
        settings = [float(text) for text in dial.split(",")] if dial else METHODS[method].settings
    except ValueError:
        raise ConfigError(
            f"Settings of {METHODS[method].name} are numbers with commas, got {dial!r}."
        ) from None
    return from_dict(
        MitigationConfig,
        {
            "cohort": to_dict(parse_cohort(cohort)),
            "method": method,
            "settings": tuple(settings),
            "updates": updates,
            "rate": rate,
            "seed": seed,
        },
    )


def _changed(how: "MitigationConfig", **changes: object) -> "MitigationConfig":
    from evenear.config import from_dict, to_dict

    return from_dict(type(how), {**to_dict(how), **changes})


def _speakers(results: Path | None) -> set[str]:
    """The speakers of a table of results."""
    from evenear.audit import read_table

    if results is None:
        return set()
    expect_to_read(results)
    return set(read_table(results).speakers["speaker"])


def _print(result: "Result", *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(result.to_dict(), indent=2, ensure_ascii=False))
        return
    from evenear.audit.report.words import interval, percent, signed

    for row in (result.changes.overall, *result.changes.rows):
        if row.suppressed:
            typer.echo(f"{row.attribute} {row.value}: {row.speakers} speakers, too few to measure")
            continue
        bounds = interval(row.change_low, row.change_high, with_sign=True)
        typer.echo(
            f"{row.attribute} {row.value}: {percent(row.wer_before)} before, "
            f"{percent(row.wer_after)} after: {signed(row.change)} errors ({bounds}), "
            f"{row.speakers} speakers"
        )
    verdict = "passed" if result.gate.passed else f"FAILED, worse: {', '.join(result.gate.worse)}"
    typer.echo(f"Gate: {verdict}")
