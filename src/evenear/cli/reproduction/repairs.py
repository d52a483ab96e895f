# SPDX-License-Identifier: Apache-2.0
"""`evenear reproduce geography` and `evenear reproduce cohorts`: published repairs, made again."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evenear.cli.console import expect_folder_to_write, expect_to_read, need, note
from evenear.errors import ConfigError, nearest_names

if TYPE_CHECKING:
    from evenear.reproduction.repairs.bench import Effort
    from evenear.training.mitigation.plan import MethodName

__all__ = ["cohorts", "geography"]

_RIVALS = "ewc,l2sp,fine-tune,fine-tune-all,replay,freeze-encoder,freeze-predictor,adapters,average"
_CONTROLS = "ewc,fine-tune"
_MITIGATIONS = "oversample,cohort-embedding,oversample-embedding,group-dro,ctc-dro,fine-tune-all"

_Model = Annotated[str, typer.Option(help="A recognizer whose encoder ends in LSTM layers.")]
_Data = Annotated[Path, typer.Option(help="Speech of speakers that the model never heard.")]
_Out = Annotated[Path, typer.Option(help="Where results, a page and all runs go.")]
_Split = Annotated[str | None, typer.Option(help="Only utterances of this split.")]
_Weak = Annotated[str, typer.Option(help="The cohort that synthetic places go with.")]
_Methods = Annotated[str, typer.Option(help="Methods to compare, with commas.")]
_Updates = Annotated[int, typer.Option(min=1, help="Updates of each candidate.")]
_Settings = Annotated[int, typer.Option(min=1, help="Settings of each dial to try.")]
_Layers = Annotated[int, typer.Option(min=1, help="LSTM layers that adapt, from the last on.")]
_Limit = Annotated[int | None, typer.Option(min=1, help="Utterances of each speaker at most.")]
_Seed = Annotated[int, typer.Option(help="Decides speakers, places, batches and draws.")]


def geography(
    data: _Data,
    out: _Out,
    model: _Model = "evenear-en-small",
    split: _Split = None,
    weak: _Weak = "age<18",
    methods: _Methods = _RIVALS,
    control_methods: _Methods = _CONTROLS,
    updates: _Updates = 40,
    settings: _Settings = 2,
    layers: _Layers = 1,
    per_speaker: _Limit = None,
    seed: _Seed = 0,
) -> None:
    """Find regions on synthetic maps, repair the worst by every method, judge the claims.

    Killed, the same command goes on where it was.
    """
    _need()
    from evenear.reproduction.repairs import geography as experiment
    from evenear.reproduction.repairs.tables import geography_written

    wanted = {
        name: _methods(control_methods if name == experiment.CONTROL else methods)
        for name in experiment.MAPS
    }
    effort = _effort(updates=updates, settings=settings, seed=seed)
    bench, sides, _ = _bench(
        model, data, out, split, weak, effort, layers=layers, per_speaker=per_speaker
    )
    found = {
        name: experiment.repair_map(bench, name, sides, chosen) for name, chosen in wanted.items()
    }
    command = (
        f"evenear reproduce geography --data {data.name} --model {model} --split {split} "
        f"--weak '{weak}' --updates {updates} --settings {settings} --layers {layers} "
        f"--per-speaker {per_speaker} --seed {seed} --methods {','.join(wanted['corner'])} "
        f"--control-methods {','.join(wanted[experiment.CONTROL])}"
    )
    _finish(geography_written(found, command, weak), bench, out)


def cohorts(
    data: _Data,
    out: _Out,
    model: _Model = "evenear-en-small",
    split: _Split = None,
    weak: _Weak = "age<18",
    methods: _Methods = _MITIGATIONS,
    updates: _Updates = 40,
    settings: _Settings = 2,
    layers: _Layers = 1,
    per_speaker: _Limit = None,
    seed: _Seed = 0,
) -> None:
    """Find cohorts by synthetic ZIP code and by voice, mitigate the gap, judge the claims.

    Killed, the same command goes on where it was.
    """
    _need()
    from evenear.reproduction.repairs.cohorts import compare_cohorts
    from evenear.reproduction.repairs.tables import cohorts_written

    wanted = _methods(methods)
    effort = _effort(updates=updates, settings=settings, seed=seed)
    bench, sides, audio = _bench(
        model, data, out, split, weak, effort, layers=layers, per_speaker=per_speaker
    )
    found = compare_cohorts(bench, sides, audio, wanted)
    command = (
        f"evenear reproduce cohorts --data {data.name} --model {model} --split {split} "
        f"--weak '{weak}' --updates {updates} --settings {settings} --layers {layers} "
        f"--per-speaker {per_speaker} --seed {seed} --methods {','.join(wanted)}"
    )
    _finish(cohorts_written(found, command, weak), bench, out)


def _need() -> None:
    need("tensorboard", extra="train", purpose="Training")
    need("polars", extra="audit", purpose="An audit")
    need("jinja2", extra="audit", purpose="Writing the report")


def _effort(*, updates: int, settings: int, seed: int) -> "Effort":
    from evenear.reproduction.repairs.bench import Effort

    return Effort(updates=updates, num_settings=settings, seed=seed)


def _methods(text: str) -> "list[MethodName]":
    """Names of methods, checked."""
    from evenear.training.mitigation.plan import METHODS

    found = []
    for name in (part.strip() for part in text.split(",")):
        if name not in METHODS:
            raise ConfigError(f"There is no method {name!r}.", hint=nearest_names(name, METHODS))
        found.append(name)
    return found


def _bench(
    model: str,
    data: Path,
    out: Path,
    split: str | None,
    weak: str,
    effort: "Effort",
    *,
    layers: int,
    per_speaker: int | None,
):
    from evenear.evaluation import load_utterances
    from evenear.reproduction.repairs.setting import prepare_bench
    from evenear.training.mitigation.cohort import parse_cohort

    rule = parse_cohort(weak)
    expect_to_read(data)
    expect_folder_to_write(out)
    utterances = load_utterances(data, split=split)
    bench, sides = prepare_bench(
        model,
        utterances,
        rule,
        out / "runs",
        num_layers=layers,
        effort=effort,
        per_speaker=per_speaker,
        report=note,
    )
    return bench, sides, {u.utterance_id: u.audio for u in utterances if not u.is_partial}


def _finish(written, bench, out: Path) -> None:
    from evenear.reproduction.repairs.setting import write_results

    write_results(written, bench, out)
    for claim in written.claims:
        typer.echo(f"{claim.title}: {claim.judgement}.")
    note(f"Numbers: {out / (written.name + '.json')}. To read: {out / (written.name + '.html')}")
