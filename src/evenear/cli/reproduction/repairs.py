# SPDX-License-Identifier: Apache-2.0
"""`evenear reproduce geography` and `evenear reproduce cohorts`: published repairs, made again."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evenear.cli.console import expect_folder_to_write, expect_to_read, need, note
from evenear.errors import ConfigError, nearest_names

if TYPE_CHECKING:
    from evenear.reproduction.repairs.base import BasePlan
    from evenear.reproduction.repairs.bench import Bench, Effort
    from evenear.reproduction.repairs.setting import Setting, Written
    from evenear.training.encoding import Precision
    from evenear.training.mitigation.plan import MethodName

__all__ = ["cohorts", "geography"]

_RIVALS = "ewc,l2sp,fine-tune,fine-tune-all,replay,freeze-encoder,freeze-predictor,adapters,average"
_CONTROLS = "ewc,fine-tune"
_MITIGATIONS = "oversample,cohort-embedding,oversample-embedding,group-dro,ctc-dro,fine-tune-all"

_Model = Annotated[
    str, typer.Option(help="A recognizer whose encoder ends in LSTM layers or is a Transformer.")
]
_Data = Annotated[Path, typer.Option(help="Speech of speakers that the model never heard.")]
_Out = Annotated[Path, typer.Option(help="Where results, a page and all runs go.")]
_Split = Annotated[str | None, typer.Option(help="Only utterances of this split.")]
_TestSplit = Annotated[
    str | None, typer.Option(help="The speakers of this split test, and do nothing else.")
]
_Encoder = Annotated[
    Path | None,
    typer.Option(
        help="Make the recognizer here instead: a Whisper model's encoder, and heads that learn "
        "from speakers out of the weak cohort alone."
    ),
]
_More = Annotated[
    Path | None, typer.Option(help="More speech out of the weak cohort for such a recognizer.")
]
_BaseUpdates = Annotated[int, typer.Option(min=1, help="Updates of such a recognizer.")]
_Weak = Annotated[str, typer.Option(help="The cohort that synthetic places go with.")]
_Methods = Annotated[str, typer.Option(help="Methods to compare, with commas.")]
_Updates = Annotated[int, typer.Option(min=1, help="Updates of each candidate.")]
_Rate = Annotated[float, typer.Option(help="The highest learning rate.")]
_Settings = Annotated[int, typer.Option(min=1, help="Settings of each dial to try.")]
_Layers = Annotated[int, typer.Option(min=0, help="Encoder layers that adapt, from the last on.")]
_Precision = Annotated[
    str,
    typer.Option(
        help="Arithmetic of encoder and joiner: float32, or bfloat16 where that is quick."
    ),
]
_Limit = Annotated[int | None, typer.Option(min=1, help="Utterances of each speaker at most.")]
_Seeds = Annotated[
    str, typer.Option(help="With commas; each decides speakers, places, batches and draws anew.")
]


def geography(
    context: typer.Context,
    data: _Data,
    out: _Out,
    model: _Model = "evenear-en-small",
    encoder_from: _Encoder = None,
    more_data: _More = None,
    base_updates: _BaseUpdates = 1000,
    split: _Split = None,
    test_split: _TestSplit = None,
    weak: _Weak = "age<18",
    methods: _Methods = _RIVALS,
    control_methods: _Methods = _CONTROLS,
    updates: _Updates = 120,
    rate: _Rate = 1e-4,
    settings: _Settings = 2,
    layers: _Layers = 1,
    precision: _Precision = "float32",
    per_speaker: _Limit = None,
    seeds: _Seeds = "0",
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
    numbers = _numbers(seeds)
    setting, _ = _setting(
        model, data, out, split, weak, _base(encoder_from, more_data, base_updates, precision),
        layers=layers, per_speaker=per_speaker, test_split=test_split, precision=precision,
    )  # fmt: skip
    command = _command("geography", context)
    benches, found = [], {name: [] for name in wanted}
    for seed in numbers:
        benches.append(
            setting.bench(
                _effort(
                    updates=updates, rate=rate, settings=settings, seed=seed, precision=precision
                )
            )
        )
        for name, chosen in wanted.items():
            one = experiment.repair_map(benches[-1], name, setting.sides, chosen)
            found[name].append(one)
        maps = {n: experiment.MapSummary(n, tuple(each)) for n, each in found.items()}
        written = geography_written(maps, command, weak)
        _save(written, benches, out)
    _finish(written, out)


def cohorts(
    context: typer.Context,
    data: _Data,
    out: _Out,
    model: _Model = "evenear-en-small",
    encoder_from: _Encoder = None,
    more_data: _More = None,
    base_updates: _BaseUpdates = 1000,
    split: _Split = None,
    test_split: _TestSplit = None,
    weak: _Weak = "age<18",
    methods: _Methods = _MITIGATIONS,
    updates: _Updates = 120,
    rate: _Rate = 1e-4,
    settings: _Settings = 2,
    layers: _Layers = 1,
    precision: _Precision = "float32",
    per_speaker: _Limit = None,
    seeds: _Seeds = "0",
) -> None:
    """Find cohorts by synthetic ZIP code and by voice, mitigate the gap, judge the claims.

    Killed, the same command goes on where it was.
    """
    _need()
    from evenear.reproduction.repairs.cohorts import CohortsSummary, compare_cohorts
    from evenear.reproduction.repairs.tables import cohorts_written

    wanted, numbers = _methods(methods), _numbers(seeds)
    setting, audio = _setting(
        model, data, out, split, weak, _base(encoder_from, more_data, base_updates, precision),
        layers=layers, per_speaker=per_speaker, test_split=test_split, precision=precision,
    )  # fmt: skip
    command = _command("cohorts", context)
    benches, found = [], []
    for seed in numbers:
        benches.append(
            setting.bench(
                _effort(
                    updates=updates, rate=rate, settings=settings, seed=seed, precision=precision
                )
            )
        )
        found.append(compare_cohorts(benches[-1], setting.sides, audio, wanted))
        written = cohorts_written(CohortsSummary(tuple(found)), command, weak)
        _save(written, benches, out)
    _finish(written, out)


def _need() -> None:
    need("tensorboard", extra="train", purpose="Training")
    need("polars", extra="audit", purpose="An audit")
    need("jinja2", extra="audit", purpose="Writing the report")


def _effort(*, updates: int, rate: float, settings: int, seed: int, precision: str) -> "Effort":
    from evenear.reproduction.repairs.bench import Effort

    return Effort(
        updates=updates,
        rate=rate,
        num_settings=settings,
        seed=seed,
        precision=_precision(precision),
    )


def _methods(text: str) -> "list[MethodName]":
    """Names of methods, checked."""
    from evenear.training.mitigation.plan import METHODS

    found = []
    for name in (part.strip() for part in text.split(",")):
        if name not in METHODS:
            raise ConfigError(f"There is no method {name!r}.", hint=nearest_names(name, METHODS))
        found.append(name)
    return found


def _numbers(text: str) -> list[int]:
    """Seeds, checked."""
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or len(set(found)) < len(found):
        raise ConfigError(f"Seeds are different whole numbers with commas, got {text!r}.")
    return found


def _precision(text: str) -> "Precision":
    if text not in ("float32", "bfloat16"):
        raise ConfigError(f"The precision must be float32 or bfloat16, got {text!r}.")
    return text


def _base(
    encoder_from: Path | None, more: Path | None, updates: int, precision: str
) -> "BasePlan | None":
    from evenear.evaluation import load_utterances
    from evenear.reproduction.repairs.base import BasePlan

    if encoder_from is None:
        return None
    expect_to_read(encoder_from)
    spoken = [] if more is None else load_utterances(more)
    return BasePlan(encoder_from, more=spoken, updates=updates, precision=_precision(precision))


def _setting(
    model: str,
    data: Path,
    out: Path,
    split: str | None,
    weak: str,
    base: "BasePlan | None",
    *,
    layers: int,
    per_speaker: int | None,
    test_split: str | None,
    precision: str,
) -> "tuple[Setting, dict[str, Path]]":
    from evenear.evaluation import load_utterances
    from evenear.reproduction.repairs.setting import Setting
    from evenear.training.mitigation.cohort import parse_cohort

    rule = parse_cohort(weak)
    expect_to_read(data)
    expect_folder_to_write(out)
    utterances = load_utterances(data, split=split)
    setting = Setting.prepare(
        model,
        utterances,
        rule,
        out / "runs",
        num_layers=layers,
        test_split=test_split,
        per_speaker=per_speaker,
        base=base,
        precision=_precision(precision),
        report=note,
    )
    return setting, {u.utterance_id: u.audio for u in utterances if not u.is_partial}


def _command(name: str, context: typer.Context) -> str:
    """The command with every option, paths by their last name."""
    words = [f"evenear reproduce {name}"]
    for option, value in context.params.items():
        if value is not None and option != "out":
            text = value.name if isinstance(value, Path) else str(value)
            words.append(f"--{option.replace('_', '-')} {shlex.quote(text)}")
    return " ".join(words)


def _save(written: "Written", benches: "Sequence[Bench]", out: Path) -> None:
    from evenear.reproduction.repairs.setting import write_results

    write_results(written, benches, out)


def _finish(written: "Written", out: Path) -> None:
    for claim in written.claims:
        typer.echo(f"{claim.title}: {claim.judgement}.")
    note(f"Numbers: {out / (written.name + '.json')}. To read: {out / (written.name + '.html')}")
