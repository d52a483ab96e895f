# SPDX-License-Identifier: Apache-2.0
"""`evenear verify`, `enroll`, `calibrate` and `embed`: is it the same voice?"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evenear.cli.console import complain, expect_file_to_write, need, note, progress_bar
from evenear.errors import AudioError, ConfigError, EvenearError

if TYPE_CHECKING:
    from evenear.verification import Embedder, Thresholding, Voice

__all__ = ["calibrate", "embed", "enroll", "verify"]

_MODEL = Annotated[str, typer.Option(help="A model's folder or name.")]
_DEFAULT = "evenear-speaker"
_DB = Path("evenear-voices.db")
_NO_THRESHOLD = (
    "no threshold was given or calibrated: a score alone does not say who may pass "
    "(evenear calibrate finds one from your own recordings)"
)


def verify(
    first: Annotated[str, typer.Argument(help="A sound file, or the name of an enrolled voice.")],
    second: Annotated[Path, typer.Argument(help="A sound file.")],
    model: _MODEL = _DEFAULT,
    db: Annotated[
        Path | None,
        typer.Option(help=f"The file of enrolled voices; for a name, {_DB} if none is given."),
    ] = None,
    threshold: Annotated[float | None, typer.Option(help="Accept from this score on.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare two voices; with a threshold, say whether they may be taken for one."""
    is_name = not Path(first).exists()
    if is_name and db is None:
        if not _DB.exists():
            raise AudioError(
                f"There is no file {first}, and nobody is enrolled here.",
                hint="Check the name and the folder; voices that are not enrolled in "
                f"{_DB} are found with --db.",
            )
        db = _DB
    embedder = _load(model)
    enrolments = None
    if db is not None:
        from evenear.verification import Enrolments

        enrolments = Enrolments(db, version=embedder.version)
    warnings: list[str] = []
    if enrolments is not None and is_name:
        enrolled = enrolments.template(first)
    else:
        enrolled = _heard(embedder, Path(first), warnings).vector
    score = float(enrolled @ _heard(embedder, second, warnings).vector)
    if threshold is None and enrolments is not None:
        threshold = enrolments.threshold
    accept = None if threshold is None else score >= threshold
    if as_json:
        answer = {"score": round(score, 4), "threshold": threshold, "accept": accept}
        if threshold is None:
            answer["why_no_threshold"] = _NO_THRESHOLD
        answer |= {"model": embedder.version, "warnings": warnings}
        typer.echo(json.dumps(answer))
        return
    said = "" if accept is None else f", {'accepted' if accept else 'rejected'} at {threshold:.3f}"
    typer.echo(f"score {score:.3f}{said}")
    if threshold is None:
        note(f"There is no verdict: {_NO_THRESHOLD}.")


def enroll(
    name: Annotated[str, typer.Argument(help="Whom to enroll.")],
    files: Annotated[
        list[Path] | None, typer.Argument(help="Sound files of this person alone.")
    ] = None,
    db: Annotated[Path, typer.Option(help="The file of enrolled voices.")] = _DB,
    model: _MODEL = _DEFAULT,
    replace: Annotated[bool, typer.Option(help="Replace who has this name.")] = False,
    delete: Annotated[bool, typer.Option(help="Delete this voice for good.")] = False,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Even if the recordings seem to be of several people.")
    ] = False,
) -> None:
    """Keep a voice under a name; all files must be heard and sound alike, or nothing is kept."""
    if delete and files:
        raise ConfigError("--delete takes no sound files.", hint="Delete, then enroll anew.")
    if not delete and not files:
        raise ConfigError("An enrolment needs sound files.", hint="evenear enroll ann a.wav b.wav")
    expect_file_to_write(db)
    embedder = _load(model)
    from evenear.verification import Enrolments

    enrolments = Enrolments(db, version=embedder.version)
    if delete:
        enrolments.delete(name)
        note(f"{name} is no longer in {db}.")
        return
    warnings: list[str] = []
    voices = [_heard(embedder, path, warnings) for path in files or []]
    for doubt in _strangers(voices, files or []):
        warnings.append(doubt)
        if anyway:
            note(f"warning: {doubt}")
    if warnings and not anyway:
        raise AudioError(
            f"{name} was not enrolled: {warnings[0]}",
            hint="Give recordings of this person alone; if they are, --anyway enrolls them.",
        )
    row = enrolments.enroll(name, voices, replace=replace)
    note(f"{name}: {row.recordings} recordings, {row.speech_seconds:.1f} s of speech, in {db}.")


def calibrate(
    data: Annotated[Path, typer.Argument(help="A manifest of recordings with their speakers.")],
    false_accepts: Annotated[
        float, typer.Option(help="Share of different-speaker pairs that may be accepted.")
    ] = 0.01,
    most_false_rejects: Annotated[
        float, typer.Option(help="Give no threshold that turns away more of the right people.")
    ] = 0.5,
    by: Annotated[
        str | None, typer.Option(help="Attributes of speakers to list, with commas.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Only recordings of this split.")] = None,
    db: Annotated[
        Path | None, typer.Option(help="Keep the threshold in this file of enrolled voices.")
    ] = None,
    model: _MODEL = _DEFAULT,
    seed: Annotated[int, typer.Option(help="Decides the draws for intervals.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Find the threshold for a share of false accepts, from all pairs of your own recordings."""
    embedder = _load(model)
    from evenear.cli.verification.verifying import heard_samples, lines, scored
    from evenear.seeding import rng_for
    from evenear.verification import Enrolments, all_trials, calibrate_threshold, check_design

    enrolments = Enrolments(db, version=embedder.version) if db is not None else None
    attributes = [name.strip() for name in (by or "").split(",") if name.strip()]
    with progress_bar("recordings") as bar:
        task = bar.add_task("Listening", total=None, status="")
        samples, vectors, failures = heard_samples(
            embedder, data, split, attributes, progress=lambda: bar.advance(task)
        )
    for failure in failures[:3]:
        note(f"left out: {failure}")
    if len(failures) > 3:
        note(f"left out: {len(failures) - 3} more.")
    design = all_trials(samples)
    for warning in check_design(design, attributes=attributes):
        note(f"note: {warning}")
    groups = {
        name: {s.speaker: s.attributes[name] for s in samples if s.attributes}
        for name in attributes
    }
    found = calibrate_threshold(
        scored(design, vectors),
        [samples[i].speaker for i in design.first_N],
        [samples[i].speaker for i in design.second_N],
        false_accept_rate=false_accepts,
        most_false_rejects=most_false_rejects,
        groups=groups,
        rng=rng_for(seed, "calibrate"),
    )
    if enrolments is not None:
        enrolments.set_threshold(found.threshold)
    _give(found, lines(found), as_json=as_json)


def embed(
    files: Annotated[list[Path], typer.Argument(help="Sound files.")],
    out: Annotated[Path, typer.Option(help="A .parquet file: path, embedding.")],
    model: _MODEL = _DEFAULT,
) -> None:
    """Write the vector of each sound file to a table, one row a file."""
    if out.suffix != ".parquet":
        raise ConfigError(
            f"Embeddings are written to .parquet, got {out.name!r}.", hint="--out voices.parquet"
        )
    expect_file_to_write(out)
    need("polars", extra="audit", purpose="Writing tables")
    embedder = _load(model)
    import polars as pl

    from evenear.atomic import writing

    paths, vectors, failed = [], [], False
    with progress_bar("files") as bar:
        task = bar.add_task("Listening", total=len(files), status="")
        for path in files:
            try:
                vectors.append(embedder.embed_file(path).vector)
                paths.append(str(path))
            except EvenearError as error:
                failed = True
                complain(error)
            bar.advance(task)
    if paths:
        width = len(vectors[0])
        table = pl.DataFrame(
            {
                "path": paths,
                "embedding": pl.Series(vectors, dtype=pl.Array(pl.Float32, width)).cast(
                    pl.List(pl.Float32)
                ),
            }
        )
        with writing(out) as file:
            table.write_parquet(file)
        note(f"{len(paths)} of {len(files)} files -> {out}")
    if failed:
        sys.exit(1)


def _load(model: str) -> "Embedder":
    need("torch", extra="asr", purpose="Listening to voices")
    from evenear.verification import Embedder

    return Embedder.load(model)


def _heard(embedder: "Embedder", path: Path, warnings: list[str]) -> "Voice":
    voice = embedder.embed_file(path)
    for warning in voice.warnings:
        note(f"warning: {path}: {warning}")
        warnings.append(f"{path}: {warning}")
    return voice


def _strangers(voices: "list[Voice]", files: list[Path]) -> list[str]:
    """What is said of the file that is least like the others, if it seems to be somebody else's."""
    if len(voices) < 2:
        return []
    from evenear.verification.agreement import SAME_PERSON, least_alike

    odd = least_alike(voices)
    if not odd.is_doubtful:
        return []
    why = f"(score {odd.score:.2f}; one person's are at {SAME_PERSON} or above)"
    if len(files) == 2:
        return [f"{files[0]} and {files[1]} do not sound like one person {why}."]
    others = f"the other {len(files) - 1}"
    return [f"{files[odd.place]} does not sound like {others} recordings {why}."]


def _give(found: "Thresholding", text: list[str], *, as_json: bool) -> None:
    if as_json:
        import dataclasses

        values = dataclasses.asdict(found)
        for row, group in zip(values["groups"], found.groups, strict=True):
            row["rate"] = group.rate
        typer.echo(json.dumps(values))
        return
    for line in text:
        typer.echo(line)
