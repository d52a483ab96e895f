# SPDX-License-Identifier: Apache-2.0
"""`evenear evaluate`: word errors with an interval, computing time, and a table for audits."""

import json
from pathlib import Path
from typing import Annotated

import typer

from evenear.cli.console import need, note, progress_bar

__all__ = ["evaluate"]


def evaluate(
    model: Annotated[str, typer.Argument(help="A model's folder, or the name of a shipped one.")],
    data: Annotated[Path, typer.Argument(help="Cuts, an utterances.jsonl, or a folder of them.")],
    split: Annotated[str | None, typer.Option(help="Only utterances of this split.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write a row for each utterance to this .jsonl.")
    ] = None,
    by: Annotated[
        str | None, typer.Option(help="Also print cohorts by these attributes, with commas.")
    ] = None,
    beam: Annotated[
        int | None, typer.Option(min=1, help="Width of the search; 1 is greedy.")
    ] = None,
    lm_weight: Annotated[
        float | None, typer.Option(help="Weight of the model's language model in the search.")
    ] = None,
    chunk_milliseconds: Annotated[int, typer.Option(min=1, help="Sound in a chunk.")] = 160,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only so many utterances, spread over the corpus.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads to compute with.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print numbers for machines.")] = False,
) -> None:
    """Recognize a corpus chunk by chunk and count errors."""
    need("torch", extra="asr", purpose="Recognizing speech")
    from evenear.evaluation import load_utterances, recognize, summarize, write_rows
    from evenear.streaming import Recognizer

    recognizer = Recognizer.load(model, beam=beam, lm_weight=lm_weight, threads=threads)
    utterances = load_utterances(data, split=split)
    if limit is not None and limit < len(utterances):
        utterances = [utterances[i * len(utterances) // limit] for i in range(limit)]
    rows = []
    with progress_bar("utterances") as bar:
        task = bar.add_task("Recognizing", total=len(utterances), status="")
        for row in recognize(recognizer, utterances, chunk_seconds=chunk_milliseconds / 1000):
            rows.append(row)
            bar.advance(task)
    result = summarize(rows, chunk_seconds=chunk_milliseconds / 1000)
    if out is not None:
        write_rows(rows, out)
        note(f"Rows: {out}. Audit them with: evenear audit {out}")
    if as_json:
        typer.echo(json.dumps({"model": model, **result.to_dict()}, indent=2))
    else:
        for line in _lines(result.to_dict()):
            typer.echo(line)
    for attribute in (by or "").split(",") if by else []:
        _print_cohorts(rows, attribute.strip(), as_json)


def _lines(n: dict) -> list[str]:
    """The numbers in words."""

    def percent(rate: float | None) -> str:
        return "unknown" if rate is None else f"{100 * rate:.2f} %"

    interval = f" [{percent(n['low'])}, {percent(n['high'])}]" if n["low"] is not None else ""
    rtf = "unknown" if n["rtf"] is None else f"{n['rtf']:.4f}"
    return [
        f"WER {percent(n['wer'])}{interval}: {n['errors']} errors in {n['words']} words "
        f"({n['substitutions']} substituted, {n['deletions']} deleted, "
        f"{n['insertions']} inserted)",
        f"{n['utterances']} utterances of {n['speakers']} speakers, "
        f"{n['seconds'] / 3600:.2f} hours; interval: 95 %, speakers resampled; "
        f"normalizer {n['normalizer']}",
        f"real-time factor {rtf}; chunks of {1000 * n['chunk_seconds']:.0f} ms: p50 "
        f"{n['chunk_p50_milliseconds'] or 0:.1f} ms, p95 {n['chunk_p95_milliseconds'] or 0:.1f} ms",
    ]


def _print_cohorts(rows: list, attribute: str, as_json: bool) -> None:
    """One line for each value of an attribute, on standard error where JSON is on the other."""
    from evenear.evaluation import summarize

    values = sorted({str(row.attributes.get(attribute)) for row in rows})
    for value in values:
        cohort = [row for row in rows if str(row.attributes.get(attribute)) == value]
        n = summarize(cohort).to_dict()
        low, high = n["low"], n["high"]
        span = f" [{100 * low:.1f}, {100 * high:.1f}]" if low is not None else ""
        line = f"{attribute} = {value}: WER {100 * (n['wer'] or 0):.1f} %{span}, "
        line += f"{n['speakers']} speakers, {n['words']} words"
        note(line) if as_json else typer.echo(line)
