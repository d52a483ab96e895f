# SPDX-License-Identifier: Apache-2.0
"""`evenear data`: bring corpora in, and say what is wrong with them."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from evenear.cli.console import (
    expect_file_to_write,
    expect_folder_to_write,
    expect_to_read,
    need,
    note,
    progress_bar,
)
from evenear.errors import ConfigError, ManifestError

__all__ = ["Kind", "app", "import_corpus", "simulate_mixtures", "validate_corpus"]

app = typer.Typer(help="Bring corpora in, and say what is wrong with them.", no_args_is_help=True)


class Kind(StrEnum):
    """Kinds of corpora that can be brought in."""

    utterances = "utterances"
    lhotse = "lhotse"
    librispeech = "librispeech"
    kaldi = "kaldi"
    nemo = "nemo"
    commonvoice = "commonvoice"


@app.command("import")
def import_corpus(
    kind: Annotated[Kind, typer.Argument(help="What the corpus looks like.")],
    source: Annotated[Path, typer.Argument(help="Its folder or file.")],
    out: Annotated[Path, typer.Option(help="The manifest to write, for example cuts.jsonl.gz.")],
    skip_bad: Annotated[bool, typer.Option(help="Leave broken rows out, and list them.")] = False,
) -> None:
    """Read a corpus and write it as a manifest of cuts."""
    need("lhotse", extra="asr", purpose="Reading corpora")
    expect_to_read(source)
    _expect_manifest_to_write(out)
    from evenear.data.corpora import importers
    from evenear.data.corpora.manifests import load_cuts, save_cuts

    read = {
        Kind.utterances: importers.import_utterances_jsonl,
        Kind.librispeech: importers.import_librispeech,
        Kind.kaldi: importers.import_kaldi,
        Kind.nemo: importers.import_nemo,
        Kind.commonvoice: importers.import_common_voice,
    }
    skipped: list[str] = []
    if kind in read:
        cuts = read[kind](source, skipped=skipped.append if skip_bad else None)
    elif skip_bad:
        raise ConfigError(
            "--skip-bad is for corpora of other kinds; cuts are read whole.",
            hint=f"evenear data validate {source} names the broken rows.",
        )
    else:
        cuts = load_cuts(source)
    for problem in skipped:
        note(f"skipped {problem}")
    if not cuts:
        raise ManifestError(f"{source} has no utterance that could be read.")
    if skipped:
        note(f"{len(skipped)} rows were skipped.")
    written = save_cuts(cuts, out)
    note(f"{len(cuts)} utterances. Check them with: evenear data validate {written}")
    typer.echo(str(written))


def _expect_manifest_to_write(out: Path) -> None:
    """Refuse, before a large corpus is read, what could not be written after it."""
    if out.is_dir():
        expect_folder_to_write(out)
        return
    if not out.name.endswith((".jsonl", ".jsonl.gz")):
        raise ConfigError(
            f"Manifests are written to .jsonl or .jsonl.gz, got {out.name!r}.",
            hint="--out cuts.jsonl.gz, or an existing folder",
        )
    expect_file_to_write(out)


@app.command("validate")
def validate_corpus(
    source: Annotated[Path, typer.Argument(help="A manifest or a corpus folder.")],
    decode: Annotated[bool, typer.Option(help="Also decode every file to its end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a report for machines.")] = False,
) -> None:
    """Name every broken row of a corpus; exit with 1 if there is one."""
    need("lhotse", extra="asr", purpose="Reading corpora")
    expect_to_read(source)
    from evenear.data.corpora.validation import validate

    with progress_bar("rows") as bar:
        task = bar.add_task("Checking", total=None, status="")
        report = validate(source, decode=decode, progress=lambda n: bar.advance(task, n))
    if as_json:
        problems = [
            {"row": p.row, "utterance_id": p.utterance_id, "kind": p.kind, "message": p.message}
            for p in report.problems
        ]
        counts = {
            "rows": report.rows,
            "utterances": report.utterances,
            "speakers": report.speakers,
            "seconds": report.seconds,
        }
        typer.echo(json.dumps({**counts, "problems": problems}, indent=2, ensure_ascii=False))
    else:
        for problem in report.problems:
            typer.echo(str(problem))
        hours = report.seconds / 3600
        typer.echo(
            f"{report.rows} rows: {report.utterances} utterances of {report.speakers} speakers, "
            f"{hours:.2f} hours; {len(report.problems)} problems"
        )
    if not report.is_valid:
        sys.exit(1)


@app.command("simulate")
def simulate_mixtures(
    source: Annotated[
        Path, typer.Argument(help="Recordings of single speakers: cuts or a corpus folder.")
    ],
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    mixtures: Annotated[int, typer.Option(min=1, help="How many conversations.")] = 100,
    seed: Annotated[int, typer.Option(help="Another seed makes other conversations.")] = 0,
    split: Annotated[str | None, typer.Option(help="Only utterances of this split.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A setting, as in overlap_chance=0.5.")
    ] = None,
) -> None:
    """Mix recordings of single speakers into conversations that overlap."""
    need("lhotse", extra="asr", purpose="Reading corpora")
    need("scipy", extra="train", purpose="Simulating rooms")
    expect_to_read(source)
    expect_folder_to_write(out)
    from evenear.config import set_path
    from evenear.data.conversations.mixtures import MixtureConfig
    from evenear.data.conversations.simulation import plan_mixtures, write_mixtures
    from evenear.data.conversations.sounds import FileSounds
    from evenear.evaluation import load_utterances

    config = MixtureConfig()
    for assignment in settings or []:
        config = set_path(config, assignment)
    sounds = FileSounds(load_utterances(source, split=split), cached=256)
    with progress_bar("mixtures") as bar:
        task = bar.add_task("Mixing", total=2 * mixtures, status="")
        plans = plan_mixtures(config, sounds, num_mixtures=mixtures, seed=seed)
        bar.advance(task, mixtures)
        write_mixtures(plans, sounds, out, lambda n: bar.advance(task, n))
    hours = sum(plan.num_samples for plan in plans) / 16_000 / 3600
    turns = sum(len(plan.turns) for plan in plans)
    note(f"{mixtures} conversations, {turns} turns, {hours:.2f} hours: {out}")
    typer.echo(str(out / "cuts.jsonl.gz"))
