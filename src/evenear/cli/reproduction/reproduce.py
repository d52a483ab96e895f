# SPDX-License-Identifier: Apache-2.0
"""`evenear reproduce`: a published table made again, and what becomes of its claims."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evenear.cli.console import (
    expect_folder_to_write,
    expect_to_read,
    interrupts,
    need,
    note,
    progress_bar,
)
from evenear.errors import ConfigError, EvenearError, nearest_names

if TYPE_CHECKING:
    from evenear.reproduction.experiment import Experiment
    from evenear.reproduction.results import Results
    from evenear.training.settings import TrainingConfig

__all__ = ["app", "convrnnt"]

app = typer.Typer(no_args_is_help=True, help="Make a published table again, on data of your own.")


@app.callback()
def _reproduce() -> None:
    """Make a published table again, on data of your own."""


@app.command()
def convrnnt(
    data: Annotated[
        list[str],
        typer.Option(
            help="A manifest or its folder; PATH:3 takes it three times an epoch. Repeat."
        ),
    ],
    test: Annotated[Path, typer.Option(help="What to test on: a manifest or its folder.")],
    out: Annotated[Path, typer.Option(help="Where runs, results.json and report.html go.")],
    split: Annotated[
        str | None, typer.Option(help="Test only on utterances of this split.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each variant.")] = 3,
    variants: Annotated[
        str | None, typer.Option(help="These variants, with commas, instead of the eight.")
    ] = None,
    updates: Annotated[
        int | None, typer.Option(min=1, help="Updates of each run, instead of the recipe's.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of all runs, as optimizer.peak_rate=0.001."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many test utterances.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Runs side by side, each on one core.")] = 1,
) -> None:
    """Train ConvRNN-T, its rivals and its ablations alike, and judge the paper's claims.

    Stopped by Ctrl-C or killed, the same command goes on where it was.
    """
    need("tensorboard", extra="train", purpose="Training")
    need("jinja2", extra="audit", purpose="Writing the report")
    from evenear.reproduction.experiment import Experiment, Plan
    from evenear.training.loop.memory import keep_freed_memory
    from evenear.training.runs.preparation import Source

    keep_freed_memory()
    configs = _configs(variants, updates, settings or [])
    sources = tuple(Source.parse(text) for text in data)
    for path in (*(source.manifest for source in sources), test):
        expect_to_read(path)
    expect_folder_to_write(out)
    plan = Plan(
        configs=configs,
        sources=sources,
        test=test,
        out=out,
        split=split,
        limit=limit,
        num_seeds=seeds,
        command=_command(
            data,
            test,
            settings or [],
            split=split,
            seeds=seeds,
            variants=variants,
            updates=updates,
            limit=limit,
        ),
    )
    with progress_bar("utterances") as bar:
        task = bar.add_task("Storing frames", total=None, status="")
        experiment = Experiment(plan, progress=lambda done: bar.advance(task, done))
    done = sum(job.is_done for job in experiment.jobs)
    note(f"{len(experiment.jobs)} runs, {done} done. Test: {len(experiment.test)} utterances.")
    if not _train(experiment, workers):
        note("Stopped. Go on with the same command.")
        sys.exit(1)
    results = experiment.measure(report=lambda name: note(f"Measuring {name}."))
    _write(results, out)
    for line in _lines(results):
        typer.echo(line)
    note(f"Numbers: {out / 'results.json'}. To read: {out / 'report.html'}")


def _configs(
    variants: str | None, updates: int | None, settings: list[str]
) -> "dict[str, TrainingConfig]":
    """The run of each variant that was asked for."""
    from evenear.config import set_path
    from evenear.recipes.convrnnt import REMEDIES, VARIANTS
    from evenear.reproduction.experiment import sized

    names = [name.strip() for name in (variants or ",".join(VARIANTS)).split(",") if name.strip()]
    known, configs = {**VARIANTS, **REMEDIES}, {}
    for name in names:
        if name not in known:
            raise ConfigError(f"There is no variant {name!r}.", hint=nearest_names(name, known))
        config = known[name]()
        if updates is not None:
            config = sized(config, updates)
        for assignment in settings:
            config = set_path(config, assignment)
        configs[name] = config
    if not configs:
        raise ConfigError("A comparison needs variants, got none.", hint=nearest_names("", known))
    return configs


def _train(experiment: "Experiment", workers: int) -> bool:
    """Train and score all runs, with a bar for each that is under way."""
    from evenear.reproduction.runs import Step

    is_terminal = sys.stderr.isatty()
    said = "Stopping after this update of each run; Ctrl-C again stops at once."
    with interrupts(said) as is_interrupted, progress_bar("updates") as bar:
        tasks: dict[str, Any] = {}
        dev: dict[str, str] = {}

        def report(step: Step) -> None:
            if step.dev_wer is not None:
                dev[step.name] = f", dev WER {100 * step.dev_wer:.1f} %"
                note(f"{step.name}: update {step.update}{dev[step.name]}")
            if step.is_done:
                note(f"{step.name}: trained and scored.")
                if step.name in tasks:
                    bar.remove_task(tasks.pop(step.name))
                return
            if not is_terminal:
                return
            if step.name not in tasks:
                tasks[step.name] = bar.add_task(step.name, total=step.num_updates, status="")
            status = f"loss {step.loss:.2f}{dev.get(step.name, '')}"
            bar.update(tasks[step.name], completed=step.update, status=status)

        return experiment.run(num_workers=workers, report=report, is_stopped=is_interrupted)


def _write(results: "Results", out: Path) -> None:
    """Write the numbers and the page, each whole or not at all."""
    from evenear.atomic import write_bytes
    from evenear.reproduction.page import render
    from evenear.reproduction.results import to_json

    try:
        write_bytes(out / "results.json", to_json(results).encode())
        write_bytes(out / "report.html", render(results).encode())
    except OSError as error:
        raise EvenearError(
            f"The results cannot be written to {out}: {error.strerror or error}.",
            hint="Free some space, and give the same command again: no run is lost.",
        ) from error


def _lines(results: "Results") -> list[str]:
    """Rates and verdicts, for a terminal."""
    lines = []
    for variant in results.variants:
        rates = [f"{rate.condition} {100 * rate.wer.value:.1f} %" for rate in variant.rates]
        lines.append(f"{variant.label}: WER {', '.join(rates)}")
    lines += [f"{claim.title}: {claim.judgement}." for claim in results.claims]
    return lines


def _command(data: list[str], test: Path, settings: list[str], **options: object) -> str:
    """How this was asked for, with names of corpora instead of places on this machine."""
    words = ["evenear reproduce convrnnt"]
    words += [f"--data {_corpus(text)}" for text in data]
    words.append(f"--test {_corpus(str(test))}")
    words += [f"--{name} {value}" for name, value in options.items() if value is not None]
    words += [f"--set {text}" for text in settings]
    return " ".join(words)


def _corpus(text: str) -> str:
    """A corpus by its folder, since most manifests have the same name."""
    path = Path(text)
    return "/".join(path.parts[-2:]) if path.suffix else path.name
