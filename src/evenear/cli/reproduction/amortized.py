# SPDX-License-Identifier: Apache-2.0
"""`evenear reproduce amortized`: accuracy against computation of a model with a dial."""

import json
import platform
from pathlib import Path
from typing import Annotated

import typer

from evenear.cli.console import expect_folder_to_write, expect_to_read, need, note

__all__ = ["amortized"]


def amortized(
    model: Annotated[str, typer.Argument(help="A model with a compute dial.")],
    test: Annotated[Path, typer.Option(help="What to test on: a manifest or its folder.")],
    out: Annotated[Path, typer.Option(help="Where amortized.json and amortized.md go.")],
    smaller: Annotated[
        str | None,
        typer.Option(help="The same model with gates that hear nothing: smaller dense encoders."),
    ] = None,
    greedy: Annotated[
        bool, typer.Option("--greedy", help="Read greedily, although the model has words.")
    ] = False,
    without: Annotated[
        str, typer.Option(help="Left out for want of time: window, exit, blank, random, noise.")
    ] = "",
    split: Annotated[str | None, typer.Option(help="Only utterances of this split.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only so many, of as many speakers as can be.")
    ] = None,
) -> None:
    """Measure a dial against its rivals, and judge the paper's claims."""
    need("torch", extra="train", purpose="Recognizing speech")
    import torch

    from evenear.atomic import write_bytes
    from evenear.checkpoint import load_model
    from evenear.evaluation import load_utterances
    from evenear.evaluation.corpus import draw_utterances
    from evenear.reproduction.amortized.page import judge, render
    from evenear.reproduction.amortized.study import measure
    from evenear.search import BeamConfig

    expect_to_read(test)
    expect_folder_to_write(out)
    utterances = load_utterances(test, split=split)
    if limit is not None and limit < len(utterances):
        utterances = draw_utterances(utterances, limit)
    torch.set_num_threads(1)
    bundle = load_model(model).with_gates()
    results = measure(
        bundle,
        utterances,
        smaller=None if smaller is None else load_model(smaller).with_gates(),
        search=BeamConfig(width=1) if greedy else None,
        without=[name.strip() for name in without.split(",") if name.strip()],
        report=lambda name: note(f"Measuring {name}."),
    )
    command = f"evenear reproduce amortized {bundle.name} --test {test.name}"
    command += f" --smaller {Path(smaller).name}" if smaller else ""
    command += " --greedy" if greedy else ""
    command += f" --without {without}" if without else ""
    command += f" --split {split}" if split else ""
    command += f" --limit {limit}" if limit else ""
    results = {
        "command": command,
        "machine": f"{platform.machine()}, {platform.system()}, one thread",
        "model": bundle.name,
        "smaller_dense_model": "measured" if smaller else "not measured",
        "claims": judge(results),
        **results,
    }
    write_bytes(out / "amortized.json", (json.dumps(results, indent=2) + "\n").encode())
    page = render(results)
    write_bytes(out / "amortized.md", page.encode())
    typer.echo(page)
    note(f"Numbers: {out / 'amortized.json'}. To read: {out / 'amortized.md'}")
