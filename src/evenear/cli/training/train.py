# SPDX-License-Identifier: Apache-2.0
"""`evenear train`: a recipe, corpora and a folder; goes on where it was killed with --resume."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evenear.cli.console import (
    expect_folder_to_write,
    expect_to_read,
    interrupts,
    need,
    note,
    progress_bar,
)
from evenear.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from evenear.recipes import AnyTrainingConfig
    from evenear.training.runs.moments import MomentsTrainingConfig
    from evenear.training.runs.preparation import Source
    from evenear.training.runs.recognizer import Run
    from evenear.training.runs.speaker import SpeakerRun
    from evenear.training.runs.twotalkers import TwoTalkerRun

    AnyRun = Run | SpeakerRun | TwoTalkerRun

__all__ = ["train"]


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name, for example tiny.")],
    data: Annotated[
        list[str],
        typer.Option(
            help="A manifest or its folder; PATH:3 takes it three times an epoch. Repeat."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Where the run's files go.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A setting, as optimizer.peak_rate=0.001.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The run's seed.")] = 0,
    start_from: Annotated[
        str | None, typer.Option(help="Begin with a trained model: its folder or name.")
    ] = None,
    encoder_from: Annotated[
        Path | None,
        typer.Option(help="A Whisper model whose encoder to begin with: a file or its folder."),
    ] = None,
    splice_with: Annotated[
        str | None,
        typer.Option(help="A trained model that finds where to part sentences and join new ones."),
    ] = None,
    pronunciations: Annotated[
        Path | None,
        typer.Option(help="A dictionary as CMUdict: an auxiliary loss learns its phones."),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the folder's snapshot.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads to compute with.")] = None,
    device: Annotated[str, typer.Option(help="Where to compute: cpu, or a GPU as cuda.")] = "cpu",
) -> None:
    """Train a recognizer or, by a recipe for one, a two-talker model or a speaker verifier."""
    need("tensorboard", extra="train", purpose="Training")
    from evenear.atomic import write_bytes
    from evenear.config import replace, set_path, to_json
    from evenear.recipes import recipe as find_recipe
    from evenear.training.loop.memory import keep_freed_memory
    from evenear.training.runs.moments import MomentsTrainingConfig
    from evenear.training.runs.preparation import Source
    from evenear.training.runs.recognizer import Run
    from evenear.training.runs.speaker import SpeakerRun
    from evenear.training.runs.twotalkers import TwoTalkerRun
    from evenear.training.settings import TrainingConfig
    from evenear.training.tasks.separator import TwoTalkerConfig

    config = replace(find_recipe(recipe), seed=seed)
    for assignment in settings or []:
        config = set_path(config, assignment)
    sources = [Source.parse(text) for text in data]
    for source in sources:
        expect_to_read(source.manifest)
    for path in (pronunciations, encoder_from):
        if path is not None:
            expect_to_read(path)
    if isinstance(config, MomentsTrainingConfig):
        begun = (start_from, encoder_from, splice_with, pronunciations)
        if resume or device != "cpu" or any(given is not None for given in begun):
            raise ConfigError(
                f"{recipe} is solved for in one step on the CPU, from the first layers of a "
                "recognizer: there is nothing to resume or to begin with.",
                hint="Give --data, --out, --seed, --threads and --set (stem_from=… names the "
                "recognizer). What was stored of a run that was stopped is found again.",
            )
        _solve(config, sources, out, threads)
        return
    _check_folder(out, config, resume=resume)
    keep_freed_memory()
    write_bytes(out / "config.json", to_json(config).encode())
    with progress_bar("utterances") as bar:
        task = bar.add_task("Storing frames", total=None, status="")
        looking = bar.add_task("Finding splice points", total=None, status="", visible=False)
        shared = {
            "threads": threads,
            "device": device,
            "progress": lambda done: bar.advance(task, done),
        }
        run: AnyRun
        if isinstance(config, TrainingConfig):
            run = Run.prepare(
                config,
                sources,
                out,
                start_from=start_from,
                encoder_from=encoder_from,
                splice_with=splice_with,
                pronunciations=pronunciations,
                parting=lambda done: bar.update(looking, advance=done, visible=True),
                **shared,
            )
        elif isinstance(config, TwoTalkerConfig):
            if any(given is not None for given in (encoder_from, splice_with, pronunciations)):
                raise ConfigError(
                    "--encoder-from, --splice-with and --pronunciations are for recognizers; "
                    f"{recipe} makes a two-talker model, which begins with one.",
                    hint="Give --start-from, and leave them out.",
                )
            run = TwoTalkerRun.prepare(config, sources, out, start_from=start_from, **shared)
        else:
            if any(given is not None for given in (encoder_from, splice_with, pronunciations)):
                raise ConfigError(
                    "--encoder-from, --splice-with and --pronunciations are for recognizers; "
                    f"{recipe} makes a speaker verifier.",
                    hint="Leave them out.",
                )
            run = SpeakerRun.prepare(config, sources, out, start_from=start_from, **shared)
    note(run.description)
    if isinstance(run, Run) and run.left_out:
        note(f"Left out: {run.left_out}.")
    if resume:
        run.trainer.resume()
        note(f"Going on after update {run.trainer.update}.")
    if not _watch(run, config.num_updates):
        run.trainer.save()
        note(
            f"Stopped after update {run.trainer.update}. Go on with the same command and --resume."
        )
        sys.exit(1)
    is_recognizer = isinstance(config, TrainingConfig | TwoTalkerConfig)
    advice = f"evaluate {run.model_folder} DATA" if is_recognizer else "verify A.wav B.wav --model"
    note(f"The model is in {run.model_folder}. Try: evenear {advice}")


def _solve(
    config: "MomentsTrainingConfig", sources: "list[Source]", out: Path, threads: int | None
) -> None:
    from evenear.atomic import write_bytes
    from evenear.config import to_json
    from evenear.training.runs.moments import MomentsRun

    expect_folder_to_write(out)
    write_bytes(out / "config.json", to_json(config).encode())
    with progress_bar("utterances") as bar:
        task = bar.add_task("Storing frames", total=None, status="")
        run = MomentsRun.prepare(
            config, sources, out, threads=threads, progress=lambda done: bar.advance(task, done)
        )
    note(run.description)
    note(f"dev EER {100 * run.solve():.1f} %")
    note(f"The model is in {run.model_folder}. Try: evenear verify A.wav B.wav --model")


def _check_folder(out: Path, config: "AnyTrainingConfig", *, resume: bool) -> None:
    """Refuse a folder of another run before anything of it is changed."""
    from evenear.config import to_json
    from evenear.training.loop.snapshots import expect_settings, load_snapshot

    snapshot = out / "snapshot.pt"
    if not resume and snapshot.exists():
        raise CheckpointError(
            f"{out} holds a run already.", hint="Go on with --resume, or choose another folder."
        )
    if resume:
        expect_settings(load_snapshot(snapshot), to_json(config), out, type(config))
    expect_folder_to_write(out)


def _watch(run: "AnyRun", num_updates: int) -> bool:
    """Train, showing a bar on a terminal and a line now and then elsewhere.

    Returns:
        Whether the run came to its end; if not, Ctrl-C ended it, between two updates.
    """
    is_terminal = sys.stderr.isatty()
    dev = _shown(run.task.score_name, None, is_rate=run.task.score_is_rate)
    # An update that is cut off in its middle leaves weights that belong to no update.
    said = "Stopping after this update; Ctrl-C again stops at once."
    with interrupts(said) as is_interrupted, progress_bar("updates") as bar:
        task = bar.add_task("Training", total=num_updates, completed=run.trainer.update, status="")
        for step in run.train():
            if step.score is not None:
                dev = _shown(run.task.score_name, step.score, is_rate=run.task.score_is_rate)
                bar.console.print(f"update {step.update}: loss {step.loss:.2f}, {dev}")
            bar.update(task, completed=step.update, status=f"loss {step.loss:.2f}, {dev}")
            if not is_terminal and step.update % 50 == 0:
                line = f"update {step.update} of {num_updates}: loss {step.loss:.2f}, {dev}"
                speed = step.audio_seconds_per_second
                note(f"{line}, {speed:.0f} x real time" if speed else line)
            if is_interrupted() and step.update < num_updates:
                return False
    return True


def _shown(name: str, score: float | None, *, is_rate: bool) -> str:
    """A held-out score as people read it: rates in percent, distances as they are."""
    words = name.replace("_", " ")
    for acronym in ("orc wer", "wer", "eer"):
        words = words.replace(acronym, acronym.upper().replace(" ", "-"))
    if score is None:
        return f"{words} unknown"
    return f"{words} {100 * score:.1f} %" if is_rate else f"{words} {score:.4g}"
