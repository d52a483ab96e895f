# SPDX-License-Identifier: Apache-2.0
"""`evenear evaluate`: word errors with an interval, computing time, and a table for audits."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evenear.cli.console import expect_file_to_write, expect_to_read, need, note, progress_bar
from evenear.cli.recognition.searching import NAMES_HELP, SEARCH_HELP, load_recognizer
from evenear.errors import ConfigError, nearest_names
from evenear.metrics.normalizing.named import NORMALIZER_HELP

if TYPE_CHECKING:
    from evenear.evaluation import Row

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
    condition: Annotated[
        str | None, typer.Option(help="Change the sound first: tight-cut, telephone, joined, …")
    ] = None,
    normalizer: Annotated[str, typer.Option(help=NORMALIZER_HELP)] = "basic",
    search: Annotated[str | None, typer.Option(help=SEARCH_HELP)] = None,
    beam: Annotated[
        int | None, typer.Option(min=1, help="Width of the search; 1 alone is greedy.")
    ] = None,
    lm_weight: Annotated[
        float | None, typer.Option(help="Weight of the model's language model in the search.")
    ] = None,
    names: Annotated[Path | None, typer.Option(help=NAMES_HELP)] = None,
    chunk_milliseconds: Annotated[int, typer.Option(min=1, help="Sound in a chunk.")] = 160,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Only so many, of as many speakers as can be."),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads to compute with.")] = 1,
    compute: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the encoder's computation to ask for.")
    ] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print numbers for machines.")] = False,
) -> None:
    """Recognize a corpus chunk by chunk and count errors."""
    need("torch", extra="asr", purpose="Recognizing speech")
    from evenear.cli.recognition.duo import evaluate_two_talkers, is_two_talkers

    if is_two_talkers(model):
        if names is not None:
            raise ConfigError("More words are for one talker.", hint="Leave --names out.")
        shared = {"limit": limit, "threads": threads, "as_json": as_json}
        evaluate_two_talkers(model, data, chunk_milliseconds=chunk_milliseconds, **shared)
        return
    from evenear.evaluation import (
        condition_named,
        draw_utterances,
        load_utterances,
        recognize,
        summarize,
        write_rows,
    )
    from evenear.metrics.words import normalizer_version

    expect_to_read(data)
    if out is not None:
        _expect_rows_file(out)
    changed = None if condition is None else condition_named(condition)
    normalizer_version(normalizer)  # refuses a name that there is not
    recognizer = load_recognizer(
        model,
        search=search,
        beam=beam,
        lm_weight=lm_weight,
        threads=threads,
        compute=compute,
        names=names,
    )
    utterances = load_utterances(data, split=split)
    attributes = [name.strip() for name in (by or "").split(",") if name.strip()]
    _expect_attributes(attributes, {name for u in utterances for name in u.attributes})
    if limit is not None and limit < len(utterances):
        utterances = draw_utterances(utterances, limit)
    rows = []
    with progress_bar("utterances") as bar:
        task = bar.add_task("Recognizing", total=len(utterances), status="")
        for row in recognize(
            recognizer,
            utterances,
            chunk_seconds=chunk_milliseconds / 1000,
            normalizer=normalizer,
            condition=changed,
        ):
            rows.append(row)
            bar.advance(task)
    result = summarize(rows, chunk_seconds=chunk_milliseconds / 1000, normalizer=normalizer)
    cohorts = {name: _cohorts(rows, name) for name in attributes}
    if as_json:
        values = {"model": model, "condition": condition, **result.to_dict()}
        values["compute"] = recognizer.meter.share
        if cohorts:
            values["cohorts"] = cohorts
        typer.echo(json.dumps(values, indent=2, ensure_ascii=False))
    else:
        for line in _lines(result.to_dict(), cohorts):
            typer.echo(line)
    if out is not None:
        write_rows(rows, out)
        known = [*attributes, *(name for u in utterances for name in u.attributes)]
        note(
            f"Rows: {out}." + (f" Audit them: evenear audit {out} --by {known[0]}" if known else "")
        )


def _expect_rows_file(out: Path) -> None:
    """Refuse a name that `evenear audit` would not take for what it is, or that is no file."""
    if out.suffix != ".jsonl":
        raise ConfigError(
            f"Rows are written as JSON lines to a .jsonl file, got {out.name!r}.",
            hint=f"--out {out.with_suffix('.jsonl')}",
        )
    expect_file_to_write(out)


def _expect_attributes(wanted: list[str], known: set[str]) -> None:
    """Refuse an attribute that no utterance has."""
    for name in wanted:
        if name not in known:
            raise ConfigError(
                f"There is no attribute {name!r}.",
                hint=nearest_names(name, known) if known else "The corpus has no attributes.",
            )


def _cohorts(rows: "list[Row]", attribute: str) -> list[dict[str, Any]]:
    """The numbers of each value of an attribute; utterances without one come last."""
    from evenear.evaluation import cohort_intervals, summarize

    by_value: dict[Any, list[Row]] = {}
    for row in rows:
        value = row.attributes.get(attribute)
        is_plain = value is None or isinstance(value, (str, int, float))
        by_value.setdefault(value if is_plain else str(value), []).append(row)
    values = sorted(by_value, key=_order)
    intervals = cohort_intervals([by_value[value] for value in values])
    found = []
    for value, interval in zip(values, intervals, strict=True):
        n = summarize(by_value[value]).to_dict() | {"low": interval.low, "high": interval.high}
        names = ("wer", "low", "high", "errors", "words", "utterances", "speakers")
        found.append({"value": value, **{name: n[name] for name in names}})
    return found


def _order(value: Any) -> tuple[bool, bool, float, str]:
    """Numbers as numbers, then texts, then nothing."""
    is_number = isinstance(value, (int, float))
    return value is None, not is_number, value if is_number else 0.0, str(value)


def _lines(n: dict[str, Any], cohorts: dict[str, list[dict[str, Any]]]) -> list[str]:
    """The numbers in words."""
    rtf = "unknown" if n["rtf"] is None else f"{n['rtf']:.4f}"
    p50, p95, longest = (
        f"{n[f'chunk_{which}_milliseconds'] or 0:.1f} ms" for which in ("p50", "p95", "max")
    )
    lines = [
        f"WER {_rate(n)}: {n['errors']} errors in {n['words']} words "
        f"({n['substitutions']} substituted, {n['deletions']} deleted, "
        f"{n['insertions']} inserted)",
        f"{n['utterances']} utterances of {n['speakers']} speakers, "
        f"{n['seconds'] / 3600:.2f} hours; interval: 95 %, speakers resampled; "
        f"normalizer {n['normalizer']}",
        f"real-time factor {rtf}; chunks of {1000 * n['chunk_seconds']:.0f} ms: "
        f"p50 {p50}, p95 {p95}, longest {longest}",
        _delays(n),
    ]
    for attribute, values in cohorts.items():
        lines += [
            f"{attribute} = {'unknown' if c['value'] is None else c['value']}: WER {_rate(c)}, "
            f"{c['speakers']} speakers, {c['words']} words"
            for c in values
        ]
    return lines


def _delays(n: dict[str, Any]) -> str:
    """How long words waited, errors of characters, and how much was heard at all."""
    heard, cer = n["heard_words_per_minute"] or 0.0, n["cer"]
    parts = [f"{heard:.1f} words a minute were heard"]
    if n["silent_utterances"]:
        many = f"{n['silent_utterances']} utterance{'s' * (n['silent_utterances'] > 1)}"
        parts.append(f"{n['silent_errors']} of them in {many} without words, outside of every rate")
    if n["final_delay_p50_seconds"] is not None:
        p50, longest = n["final_delay_p50_seconds"], n["final_delay_max_seconds"]
        parts.append(f"final {p50:.2f} s after their end (p50), at the latest {longest:.2f} s")
    if cer is not None:
        parts.append(f"CER {100 * cer:.1f} %")
    return "; ".join(parts)


def _rate(n: dict[str, Any]) -> str:
    """A word error rate with its interval, as far as they are known."""
    if n["wer"] is None:
        return "unknown"
    interval = ""
    if n["low"] is not None:
        interval = f" [{100 * n['low']:.2f} %, {100 * n['high']:.2f} %]"
    return f"{100 * n['wer']:.2f} %{interval}"
