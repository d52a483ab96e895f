# SPDX-License-Identifier: Apache-2.0
"""`evenear card`: write into a model's card whom it serves, from an audit of its results."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evenear.cli.console import expect_to_read, need, note
from evenear.errors import CheckpointError, ConfigError, nearest_names

if TYPE_CHECKING:
    from evenear.audit import Table
    from evenear.training.mitigation.cohort import CohortRule

__all__ = ["card"]


def card(
    model: Annotated[Path, typer.Argument(help="The model's folder; its card is rewritten.")],
    results: Annotated[
        Path, typer.Argument(help="What it heard, as evenear evaluate --out writes it.")
    ],
    on: Annotated[str, typer.Option(help="What speech that was, in words.")],
    by: Annotated[
        str | None, typer.Option(help="Cohorts by these attributes, with commas.")
    ] = None,
    cohort: Annotated[
        list[str] | None, typer.Option(help="A cohort, as 'age<18', and its rest; repeatable.")
    ] = None,
    before: Annotated[
        Path | None, typer.Option(help="Results of the model that it was made from.")
    ] = None,
    min_speakers: Annotated[int, typer.Option(help="Smaller cohorts get no numbers.")] = 10,
    min_words: Annotated[int, typer.Option(help="The same for reference words.")] = 500,
    seed: Annotated[int, typer.Option(help="Decides the draws.")] = 0,
) -> None:
    """Put the section "Who this model serves" into a model's card, and its digest right.

    An older section is replaced. Every cohort that was measured is in it.
    """
    need("torch", extra="asr", purpose="Reading models")
    need("polars", extra="audit", purpose="An audit")
    from evenear.audit import Assignment, Cohorts, cohorts_by, compare, gaps, read_table
    from evenear.audit.report.card import who_it_serves, with_section
    from evenear.checkpoint.cards import read_card, replace_card
    from evenear.training.mitigation.cohort import parse_cohort

    rules = [parse_cohort(text) for text in cohort or ()]
    names = [name.strip() for name in (by or "").split(",") if name.strip()]
    if not rules and not names:
        raise ConfigError(
            "A card says whom a model serves by cohorts, and none is named.",
            hint="Give --by gender, or --cohort 'age<18', or both.",
        )
    if not model.is_dir():
        raise CheckpointError(
            f"There is no folder {model} whose card could be rewritten.",
            hint="Give the path of a model's folder; a shipped one's is in the package.",
        )
    old = read_card(model)
    for path in filter(None, (results, before)):
        expect_to_read(path)
    table = read_table(results, name=model.name)
    found = Cohorts()
    for rule in rules:
        sides = _sides(rule, table)
        found += Cohorts((Assignment.of_speakers(rule.conditions[0].name, sides),))
    if names:
        found += cohorts_by(table, names)
    changes = None
    if before is not None:
        changes = compare(
            read_table(before, name="before"),
            table,
            found,
            seed=seed,
            min_speakers=min_speakers,
            min_words=min_words,
        )
    measured = gaps(table, found, seed=seed, min_speakers=min_speakers, min_words=min_words)
    section = who_it_serves(measured, changes, on=on)
    replace_card(model, with_section(old, section))
    typer.echo(section)
    note(f"It stands in {model / 'card.md'}; the manifest has its digest.")


def _sides(rule: "CohortRule", table: "Table") -> dict[str, str | None]:
    """Each speaker, and the name of the side that it is on."""
    wanted = [condition.name for condition in rule.conditions]
    unknown = [name for name in wanted if name not in table.attributes]
    if unknown:
        raise ConfigError(
            f"The results have no attribute {unknown[0]!r} for the cohort {rule.text!r}.",
            hint=nearest_names(unknown[0], table.attributes),
        )
    names = {True: rule.text, False: f"not {rule.text}", None: None}
    rows = table.frame.select("speaker", *wanted).unique(maintain_order=True)
    return {row["speaker"]: names[rule.holds(row)] for row in rows.iter_rows(named=True)}
