# SPDX-License-Identifier: Apache-2.0
"""`evenear reproduce sts`: two talkers, their turns and what each ingredient brings, judged."""

import json
import platform
from dataclasses import replace
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
from evenear.errors import ConfigError, ManifestError, nearest_names

__all__ = ["sts"]


def sts(
    data: Annotated[
        list[str], typer.Option(help="A manifest of recordings of single speakers. Repeat.")
    ],
    test: Annotated[Path, typer.Option(help="What to test on: a manifest or its folder.")],
    out: Annotated[Path, typer.Option(help="Where runs, sts.json and sts.html go.")],
    split: Annotated[str, typer.Option(help="The split to test on; not trained on.")] = "test",
    variants: Annotated[
        str | None, typer.Option(help="These variants, with commas, instead of all nine.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each variant.")] = 3,
    updates: Annotated[int, typer.Option(min=1, help="Updates of each run.")] = 1000,
    first_updates: Annotated[
        int, typer.Option(min=1, help="Updates on single talkers, once for each seed.")
    ] = 2000,
    words: Annotated[
        str | None,
        typer.Option(
            help="For a corpus of single words: so many of a speaker's make a turn, such as 1-3."
        ),
    ] = None,
    hears_with: Annotated[
        str | None,
        typer.Option(
            help="A recognizer whose encoder, as it is, hears for all models; else from nothing."
        ),
    ] = None,
    mixtures: Annotated[int, typer.Option(min=1, help="Conversations to test on.")] = 300,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads to compute with.")] = None,
) -> None:
    """Train small two-channel models with and without turn tokens, FastEmit, masking and penalty.

    Results are written after every run. Stopped or killed, the same command goes on where it was.
    """
    need("tensorboard", extra="train", purpose="Training")
    need("jinja2", extra="audit", purpose="Writing the report")
    import torch

    from evenear.atomic import write_bytes
    from evenear.cli.reproduction.arw import commit_of_this_copy
    from evenear.data.corpora.manifests import load_cuts, utterance
    from evenear.metrics.words import normalize
    from evenear.reproduction.segmenting.listening import EncoderFrames
    from evenear.reproduction.segmenting.page import render
    from evenear.reproduction.segmenting.results import summarize
    from evenear.reproduction.segmenting.study import Study
    from evenear.reproduction.segmenting.variants import VARIANTS
    from evenear.training.loop.memory import keep_freed_memory
    from evenear.training.runs.preparation import Source
    from evenear.training.runs.twotalkers import read_recordings

    keep_freed_memory()
    if threads is not None:
        torch.set_num_threads(threads)
    joined = _range(words) if words is not None else None
    names = [name.strip() for name in (variants or ",".join(VARIANTS)).split(",") if name.strip()]
    for name in names:
        if name not in VARIANTS:
            raise ConfigError(f"There is no variant {name!r}.", hint=nearest_names(name, VARIANTS))
    sources = [Source.parse(text) for text in data]
    for path in (*(source.manifest for source in sources), test):
        expect_to_read(path)
    expect_folder_to_write(out)
    train = read_recordings(sources, (split,))
    tested = (utterance(cut) for cut in iter(load_cuts(test)))
    held_out = [
        replace(one, text=normalize(one.text))
        for one in tested
        if one.attributes.get("split") == split
    ]
    if not held_out:
        raise ManifestError(
            f"{test} has no recording of the split {split!r}.", hint="Name another with --split."
        )
    with progress_bar("recordings") as bar:
        task = bar.add_task("Decoding", total=len(train) + len(held_out), status="")
        study = Study.prepare(
            train,
            held_out,
            out,
            updates=updates,
            first_updates=first_updates,
            num_mixtures=mixtures,
            words=joined,
            hears_with=EncoderFrames(hears_with) if hears_with is not None else None,
            progress=lambda done: bar.advance(task, done),
        )
    write_bytes(out / "mixtures.jsonl", ("\n".join(study.test_plans()) + "\n").encode())
    given = " ".join(f"--data {source.manifest.name}" for source in sources)
    head = {
        "command": f"evenear reproduce sts {given} --test {test.name} --split {split} --variants "
        f"{','.join(names)} --seeds {seeds} --updates {updates} --first-updates {first_updates} "
        f"--mixtures {mixtures}"
        + (f" --words {words}" if words else "")
        + (f" --hears-with {Path(hears_with).name}" if hears_with else ""),
        "commit": commit_of_this_copy(),
        "machine": f"{platform.machine()}, {platform.system()}",
        "setting": {
            "words_of_turn": joined,
            "hears_with": Path(hears_with).name if hears_with else None,
            "train_recordings": len(train),
            "train_speakers": len({voice.speaker for voice in study.train.voices}),
            "test_recordings": len(held_out),
            "test_speakers": len({voice.speaker for voice in study.test.voices}),
            "mixtures": mixtures,
            "updates": updates,
            "first_updates": first_updates,
        },
    }
    results = {}
    for rows in study.run(names, seeds, report=note):
        results = {**head, **summarize(rows)}
        write_bytes(out / "sts.json", (json.dumps(results, indent=1) + "\n").encode())
        write_bytes(out / "sts.html", render(results).encode())
    for claim in results.get("claims", []):
        typer.echo(f"{claim['claim']}: {claim['here']}; {claim['verdict']}.")
    note(f"Numbers: {out / 'sts.json'}. To read: {out / 'sts.html'}")


def _range(text: str) -> tuple[int, int]:
    """Fewest and most, of a text such as 1-3."""
    least, _, most = text.partition("-")
    if not (least.isdecimal() and most.isdecimal() and 1 <= int(least) <= int(most)):
        raise ConfigError(
            f"Words of a turn must be given as fewest-most, got {text!r}.",
            hint="For turns of one to three words write --words 1-3.",
        )
    return int(least), int(most)
