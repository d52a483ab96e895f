# SPDX-License-Identifier: Apache-2.0
"""`evenear reproduce arw`: adversarial reweighting for speaker verification, judged."""

import json
import platform
import subprocess
from pathlib import Path
from typing import Annotated

import typer

from evenear.cli.console import (
    expect_folder_to_write,
    expect_to_read,
    need,
    note,
    progress_bar,
)
from evenear.errors import ManifestError

__all__ = ["arw", "commit_of_this_copy"]


def arw(
    data: Annotated[
        list[str], typer.Option(help="A manifest of recordings with their speakers. Repeat.")
    ],
    test: Annotated[Path, typer.Option(help="What to test on: a manifest or its folder.")],
    out: Annotated[Path, typer.Option(help="Where runs, arw.json and arw.md go.")],
    split: Annotated[str, typer.Option(help="The split to test on; not trained on.")] = "test",
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each variant.")] = 5,
    updates: Annotated[int, typer.Option(min=1, help="Updates of each run.")] = 400,
    draws: Annotated[int, typer.Option(min=10, help="Draws of speakers.")] = 300,
    each: Annotated[int, typer.Option(min=2, help="Test recordings of each speaker.")] = 20,
) -> None:
    """Train a small verifier with and without an adversary, and judge the paper's claims.

    Stopped by Ctrl-C or killed, the same command goes on where it was.
    """
    need("torch", extra="train", purpose="Training")
    from evenear.atomic import write_bytes
    from evenear.config import replace
    from evenear.data.corpora.manifests import load_cuts, utterance
    from evenear.recipes.speaker import frames
    from evenear.reproduction.reweighting.learning import LearningConfig
    from evenear.reproduction.reweighting.page import render
    from evenear.reproduction.reweighting.study import Study
    from evenear.training.runs.preparation import Source
    from evenear.training.runs.speaker import read_voices

    sources = [Source.parse(text) for text in data]
    for path in (*(source.manifest for source in sources), test):
        expect_to_read(path)
    expect_folder_to_write(out)
    train = read_voices(sources, (split,))
    held_out = [utterance(cut) for cut in iter(load_cuts(test))]
    held_out = [one for one in held_out if one.attributes.get("split") == split]
    if not held_out:
        raise ManifestError(
            f"{test} has no recording of the split {split!r}.", hint="Name another with --split."
        )
    settings = LearningConfig(num_updates=updates, warmup_updates=updates // 4)
    plain = replace(frames().data.store, augment=False)
    with progress_bar("utterances") as bar:
        task = bar.add_task("Storing frames", total=len(train) + len(held_out), status="")
        study = Study.prepare(
            train,
            held_out,
            out,
            settings,
            store=plain,
            num_seeds=seeds,
            num_draws=draws,
            each=each,
            progress=lambda done: bar.advance(task, done),
        )
    results = study.run(report=note)
    names = " ".join(f"--data {source.manifest.name}" for source in sources)
    results = {
        "command": f"evenear reproduce arw {names} --test {test.name} --split {split} "
        f"--seeds {seeds} --updates {updates} --draws {draws} --each {each}",
        "commit": commit_of_this_copy(),
        "machine": f"{platform.machine()}, {platform.system()}",
        **results,
    }
    write_bytes(out / "arw.json", (json.dumps(results, indent=2) + "\n").encode())
    page = render(results)
    write_bytes(out / "arw.md", page.encode())
    typer.echo(page)
    note(f"Numbers: {out / 'arw.json'}. To read: {out / 'arw.md'}")


def commit_of_this_copy() -> str | None:
    """The commit of the working copy that this runs from, if it is one."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return None
    return found.stdout.strip() or None
