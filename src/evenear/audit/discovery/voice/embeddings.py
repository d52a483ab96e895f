# SPDX-License-Identifier: Apache-2.0
"""Embeddings of utterances or speakers, from files, arrays or audio, joined to a table.

Whatever gives each utterance (or each speaker) some numbers will do: x-vectors, the encoder of a
recognizer, `voiceprint`. They are joined to the table as its column `embedding`, and from there on
every search for voices finds them.

Files: .npz with an array of ids and a matrix, or with one vector under each id; .parquet with an id
column and a list column or columns of numbers; .npy with a matrix whose rows are the utterances of
the table, in order, or are named by a .txt of one id per line beside it.

Legend: N rows, D numbers, S speakers.
"""

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from evenear.audit.discovery.voice.voiceprint import voiceprint
from evenear.audit.tables.columns import ALIASES
from evenear.audit.tables.table import Table
from evenear.errors import EvenearError, MissingDependencyError, TableError

__all__ = [
    "Embeddings",
    "Encoder",
    "embed_audio",
    "read_embeddings",
    "resemblyzer_encoder",
    "shipped_encoder",
    "speaker_vectors",
    "with_embeddings",
]

Encoder = Callable[[np.ndarray], np.ndarray]
"""Mono samples at 16 kHz to one vector."""

_COLUMN = "embedding"
_SOUNDS = (".wav", ".flac", ".ogg", ".opus", ".mp3")


@dataclass(frozen=True, eq=False)
class Embeddings:
    """N vectors of D numbers, and whose they are; no names if they follow the table's rows."""

    names: tuple[str, ...]
    vectors_ND: np.ndarray

    def __post_init__(self) -> None:
        if self.vectors_ND.ndim != 2 or not np.issubdtype(self.vectors_ND.dtype, np.number):
            raise TableError(
                "Embeddings must be a matrix of numbers, one row each, got "
                f"{self.vectors_ND.dtype} of shape {self.vectors_ND.shape}."
            )
        if self.names and len(self.names) != len(self.vectors_ND):
            raise TableError(
                f"There must be one name for each embedding, got {len(self.names)} names for "
                f"{len(self.vectors_ND)} embeddings."
            )


def read_embeddings(path: str | Path) -> Embeddings:
    """Read embeddings from .npz, .npy or .parquet.

    Raises:
        TableError: The file is missing, of another kind, or holds no matrix with names.
    """
    path = Path(path)
    readers = {".npz": _read_npz, ".npy": _read_npy, ".parquet": _read_parquet}
    if path.suffix not in readers:
        raise TableError(
            f"Embeddings are read from .npz, .npy or .parquet, not from {path.name!r}.",
            hint="numpy.savez('embeddings.npz', utterance_id=ids, embedding=matrix)",
        )
    if not path.exists():
        raise TableError(f"There is no file {path}.", hint="Check the name and the folder.")
    try:
        return readers[path.suffix](path)
    except (ValueError, OSError, pl.exceptions.PolarsError) as error:
        raise TableError(f"{path.name} holds no embeddings that can be read: {error}") from None


def with_embeddings(
    table: Table,
    embeddings: Embeddings | str | Path,
    *,
    progress: Callable[[int], None] | None = None,
) -> Table:
    """Join embeddings to a table, by utterance or by speaker, whichever the names are.

    Utterances without an embedding stay without one; rows that are not finite are left out. A
    folder is listened to: its sound files are named after their utterances, in any folders below.

    Args:
        table: The table.
        embeddings: Embeddings, a file of them, or a folder of sound.
        progress: Called with the number of sound files that were heard, after each.

    Raises:
        TableError: The names match neither utterances nor speakers, or come twice.
    """
    if not isinstance(embeddings, Embeddings):
        if Path(embeddings).is_dir():
            return _listen(table, Path(embeddings), progress)
        embeddings = read_embeddings(embeddings)
    names = embeddings.names or _row_names(table, embeddings)
    vectors_ND = embeddings.vectors_ND.astype(np.float32)
    is_finite_N = np.asarray(np.isfinite(vectors_ND).all(axis=1))
    rows = pl.DataFrame(
        {
            "name": pl.Series(names, dtype=pl.String),
            _COLUMN: pl.Series(vectors_ND, dtype=pl.Array(pl.Float32, vectors_ND.shape[1])),
        }
    ).filter(is_finite_N)
    if rows["name"].is_duplicated().any():
        twice = rows.filter(pl.col("name").is_duplicated())["name"][0]
        raise TableError(f"Each name may have one embedding; {twice!r} has more.")
    frame = _first_utterances(table, rows)
    unknown = table.num_speakers - frame.drop_nulls(_COLUMN)["speaker"].n_unique()
    notes = []
    if not is_finite_N.all():
        notes.append(f"{int((~is_finite_N).sum()):,} embeddings are not finite and were left out.")
    if unknown:
        notes.append(f"{unknown:,} speakers have no embedding.")
    return replace(table, frame=frame, warnings=(*table.warnings, *notes))


def embed_audio(
    table: Table,
    paths: Mapping[str, str | Path],
    encode: Encoder = voiceprint,
    *,
    progress: Callable[[int], None] | None = None,
) -> Table:
    """Listen to utterances and join their embeddings to the table.

    Args:
        table: The table.
        paths: Where to find the audio of each utterance; those that are not named are left out.
        encode: Turns mono samples at 16 kHz into a vector; `voiceprint` needs nothing.
        progress: Called with the number of utterances that were listened to, after each.

    Raises:
        TableError: No utterance of the table could be heard.
        MissingDependencyError: Reading audio needs a library that is not installed.
    """
    try:
        from evenear.audio import read_audio
    except ImportError as error:
        raise MissingDependencyError(
            f"Listening to audio needs {error.name}, which is not installed.",
            hint="pip install 'evenear[asr]', or give embeddings in a file.",
        ) from None
    names, vectors, failures = [], [], []
    for name in table.frame["utterance_id"]:
        if name not in paths:
            continue
        try:
            vectors.append(np.asarray(encode(read_audio(paths[name]))))
            names.append(name)
        except EvenearError as error:
            failures.append(error.message)
        if progress:
            progress(1)
    if not names:
        said = f" The first failure: {failures[0]}" if failures else ""
        raise TableError(
            f"No utterance of the table could be heard; {len(paths)} have a path.{said}",
            hint="The paths are found by utterance_id.",
        )
    heard = with_embeddings(table, Embeddings(tuple(names), np.stack(vectors)))
    if failures:
        note = f"{len(failures):,} utterances could not be heard; the first: {failures[0]}"
        heard = replace(heard, warnings=(*heard.warnings, note))
    return heard


def resemblyzer_encoder() -> Encoder:
    """The speaker encoder of the package Resemblyzer: 256 numbers, better than `voiceprint`.

    Raises:
        MissingDependencyError: Resemblyzer is not installed.
    """
    try:
        from resemblyzer import VoiceEncoder, preprocess_wav  # pyright: ignore
    except ImportError:
        raise MissingDependencyError(
            "This encoder needs Resemblyzer, which is not installed.",
            hint="pip install resemblyzer, or take the default `voiceprint`.",
        ) from None
    encoder = VoiceEncoder("cpu", verbose=False)
    return lambda samples: encoder.embed_utterance(preprocess_wav(samples))


def shipped_encoder() -> Encoder:
    """The speaker verifier inside this package; it needs torch.

    It is found by name when it is asked for, so that the audit goes without it.
    """
    embedder = importlib.import_module("evenear.verification").Embedder.load()
    return lambda samples: embedder.embed(samples).vector


def _listen(table: Table, folder: Path, progress: Callable[[int], None] | None) -> Table:
    """Embed the sound files of a folder with the best encoder that is installed."""
    paths = {p.stem: p for p in sorted(folder.rglob("*")) if p.suffix.lower() in _SOUNDS}
    encode, by = voiceprint, "spectra (with evenear[asr] installed they are told apart better)"
    if importlib.util.find_spec("torch") is not None:
        encode, by = shipped_encoder(), "the model evenear-speaker"
    heard = embed_audio(table, paths, encode, progress=progress)
    note = f"Voices were told apart by {by}."
    return replace(heard, warnings=(*heard.warnings, note))


def speaker_vectors(table: Table) -> tuple[pl.Series, np.ndarray]:
    """Speakers with an embedding, in alphabetical order, and the mean of each one's, (S, D).

    Raises:
        TableError: The table has no embeddings, or only names of them.
    """
    if _COLUMN not in table.frame.columns or not table.frame[_COLUMN].dtype.is_nested():
        came = "only names of embeddings" if _COLUMN in table.frame.columns else "none"
        raise TableError(
            f"Searching voices needs embeddings; this table has {came}.",
            hint="Join them with `with_embeddings`, or make them with `embed_audio`.",
        )
    known = table.frame.select("speaker", _COLUMN).drop_nulls(_COLUMN)
    widths = known[_COLUMN].list.len() if known[_COLUMN].dtype == pl.List else None
    if widths is not None and widths.n_unique() > 1:
        raise TableError(
            f"Embeddings must all be of the same length, got lengths from {widths.min()} to "
            f"{widths.max()}."
        )
    vectors_ND = np.array(known[_COLUMN].to_list(), dtype=np.float64).reshape(known.height, -1)
    speakers_S, rows_N = np.unique(known["speaker"].to_numpy().astype(str), return_inverse=True)
    sums_SD = np.zeros((len(speakers_S), vectors_ND.shape[1]))
    np.add.at(sums_SD, rows_N, vectors_ND)
    counts_S = np.bincount(rows_N, minlength=len(speakers_S))
    return pl.Series(speakers_S, dtype=pl.String), sums_SD / counts_S[:, None]


def _row_names(table: Table, embeddings: Embeddings) -> tuple[str, ...]:
    if len(embeddings.vectors_ND) != table.num_utterances:
        raise TableError(
            f"Embeddings without names must be one for each of the {table.num_utterances:,} "
            f"utterances, got {len(embeddings.vectors_ND):,}.",
            hint="Name them: numpy.savez('embeddings.npz', utterance_id=ids, embedding=matrix)",
        )
    return tuple(table.frame["utterance_id"])


def _first_utterances(table: Table, rows: pl.DataFrame) -> pl.DataFrame:
    """Join by utterance; or by speaker, and then to each speaker's first utterance alone."""
    frame = table.frame.drop(_COLUMN, strict=False)
    by_utterance = frame["utterance_id"].is_in(rows["name"].implode()).sum()
    by_speaker = frame["speaker"].unique().is_in(rows["name"].implode()).sum()
    if not by_utterance and not by_speaker:
        raise TableError(
            "The names of the embeddings match neither utterances nor speakers: "
            f"{rows['name'][0]!r} beside utterance {frame['utterance_id'][0]!r} of speaker "
            f"{frame['speaker'][0]!r}.",
            hint="Are folders or endings part of one kind of name only?",
        )
    key = "utterance_id" if by_utterance >= by_speaker else "speaker"
    joined = frame.join(rows, left_on=key, right_on="name", how="left", maintain_order="left")
    if key == "utterance_id":
        return joined
    is_first = pl.col("speaker").is_first_distinct()
    return joined.with_columns(pl.when(is_first).then(_COLUMN).alias(_COLUMN))


def _read_npz(path: Path) -> Embeddings:
    with np.load(path, allow_pickle=False) as arrays:
        found = {name: arrays[name] for name in arrays.files}
    matrices = [one for one in found.values() if one.ndim == 2]
    names = [one for one in found.values() if one.ndim == 1 and one.dtype.kind in "US"]
    if len(matrices) == 1 and len(names) == 1:
        return Embeddings(tuple(names[0].astype(str).tolist()), matrices[0])
    if found and all(one.ndim == 1 and one.dtype.kind in "fiu" for one in found.values()):
        return Embeddings(tuple(found), np.stack(list(found.values())))
    shapes = ", ".join(f"{name} {one.dtype}{list(one.shape)}" for name, one in found.items())
    raise TableError(
        f"{path.name} must hold one matrix and one array of names, or one vector under each name; "
        f"it holds {shapes or 'nothing'}.",
        hint="numpy.savez('embeddings.npz', utterance_id=ids, embedding=matrix)",
    )


def _read_npy(path: Path) -> Embeddings:
    beside = path.with_suffix(".txt")
    names = beside.read_text(encoding="utf-8").split("\n") if beside.exists() else []
    return Embeddings(tuple(name.strip() for name in names if name.strip()), np.load(path))


def _read_parquet(path: Path) -> Embeddings:
    frame = pl.read_parquet(path)
    known = [*ALIASES["utterance_id"], *ALIASES["speaker"]]
    key = next((name for name in frame.columns if name.lower() in known), None)
    if key is None:
        raise TableError(
            f"{path.name} must have a column utterance_id or speaker; its columns: "
            + ", ".join(frame.columns[:12])
        )
    lists = [name for name in frame.columns if frame[name].dtype.is_nested()]
    if lists:
        vectors_ND = np.array(frame[lists[0]].to_list(), dtype=np.float64)
    else:
        vectors_ND = frame.drop(key).select(pl.selectors.numeric()).to_numpy()
    return Embeddings(tuple(frame[key].cast(pl.String)), vectors_ND)
