# SPDX-License-Identifier: Apache-2.0
"""Enrolled voices in one SQLite file: names, templates, and the version of the model they are of.

A template is the mean of a person's vectors, made a unit vector. It is personal data: it is never
logged or printed, it is written only when every file of an enrolment was heard, and what is deleted
is overwritten in the file (SQLite's secure_delete, and a vacuum after it). A file system that keeps
old copies (snapshots, backups) keeps them nevertheless.

A threshold that was calibrated for this model is kept beside the voices.
"""

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evenear.errors import EvenearError, nearest_names
from evenear.verification.listening import Voice

__all__ = ["Enrolled", "Enrolments"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS voices (
    name TEXT PRIMARY KEY,
    template BLOB NOT NULL,
    recordings INTEGER NOT NULL,
    speech_seconds REAL NOT NULL,
    enrolled_at TEXT NOT NULL
);
"""


@dataclass(frozen=True)
class Enrolled:
    """What may be said of an enrolled voice: everything but the voice."""

    name: str
    recordings: int
    speech_seconds: float
    enrolled_at: str


class Enrolments:
    """The file of enrolled voices.

    Args:
        path: The file; made if it is not there, once something is written.
        version: The version of the model whose vectors are compared.

    Raises:
        EvenearError: The file is no such database, or of another version of the model.
    """

    def __init__(self, path: str | Path, *, version: str) -> None:
        self.path, self.version = Path(path), version
        if self.path.exists():
            with self._open() as db:
                self._check(db)

    def enroll(self, name: str, voices: Sequence[Voice], *, replace: bool = False) -> Enrolled:
        """Keep a voice under a name, all of it or nothing.

        Raises:
            EvenearError: There are no voices, or the name is taken and `replace` is not given.
        """
        if not name.strip() or not voices:
            raise EvenearError(
                f"An enrolment needs a name and a recording, got {name!r} and {len(voices)}."
            )
        mean = np.mean([voice.vector for voice in voices], axis=0)
        template = (mean / np.linalg.norm(mean)).astype("<f4")
        row = Enrolled(
            name,
            len(voices),
            float(sum(voice.speech_seconds for voice in voices)),
            datetime.now(UTC).isoformat(timespec="seconds"),
        )
        with self._open() as db:
            db.executescript(_SCHEMA)
            db.execute("INSERT OR IGNORE INTO facts VALUES ('version', ?)", (self.version,))
            taken = db.execute("SELECT 1 FROM voices WHERE name = ?", (name,)).fetchone()
            if taken and not replace:
                raise EvenearError(
                    f"{name!r} is enrolled already.", hint="Give --replace to enroll anew."
                )
            db.execute(
                "INSERT OR REPLACE INTO voices VALUES (?, ?, ?, ?, ?)",
                (name, template.tobytes(), row.recordings, row.speech_seconds, row.enrolled_at),
            )
        return row

    def template(self, name: str) -> NDArray[np.float32]:
        """The unit vector of an enrolled voice.

        Raises:
            EvenearError: Nobody is enrolled under this name.
        """
        found = None
        if self.path.exists():
            with self._open() as db:
                found = db.execute("SELECT template FROM voices WHERE name = ?", (name,)).fetchone()
        if found is None:
            raise self._unknown(name)
        return np.frombuffer(found[0], "<f4").astype(np.float32)

    def names(self) -> list[Enrolled]:
        """Who is enrolled, by name."""
        if not self.path.exists():
            return []
        with self._open() as db:
            rows = db.execute(
                "SELECT name, recordings, speech_seconds, enrolled_at FROM voices ORDER BY name"
            ).fetchall()
        return [Enrolled(*row) for row in rows]

    def delete(self, name: str) -> None:
        """Remove a voice from the file for good.

        Raises:
            EvenearError: Nobody is enrolled under this name.
        """
        if not self.path.exists():
            raise self._unknown(name)
        with self._open() as db:
            if db.execute("DELETE FROM voices WHERE name = ?", (name,)).rowcount == 0:
                raise self._unknown(name)
        with contextlib.closing(sqlite3.connect(self.path)) as db:
            db.execute("VACUUM")

    @property
    def threshold(self) -> float | None:
        """The calibrated threshold, if there is one."""
        if not self.path.exists():
            return None
        with self._open() as db:
            row = db.execute("SELECT value FROM facts WHERE name = 'threshold'").fetchone()
        return float(row[0]) if row else None

    def set_threshold(self, threshold: float | None) -> None:
        """Keep a calibrated threshold, or forget it."""
        with self._open() as db:
            db.executescript(_SCHEMA)
            db.execute("INSERT OR IGNORE INTO facts VALUES ('version', ?)", (self.version,))
            db.execute("DELETE FROM facts WHERE name = 'threshold'")
            if threshold is not None:
                db.execute("INSERT INTO facts VALUES ('threshold', ?)", (repr(threshold),))

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection whose block is one transaction."""
        try:
            with contextlib.closing(sqlite3.connect(self.path)) as db:
                db.execute("PRAGMA secure_delete = ON")
                with db:
                    yield db
        except sqlite3.DatabaseError as error:
            raise EvenearError(
                f"{self.path} cannot be used as a file of enrolled voices: {error}.",
                hint="Give another file with --db, or mend its permissions.",
            ) from None

    def _check(self, db: sqlite3.Connection) -> None:
        tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master")}
        if tables and not {"facts", "voices"} <= tables:
            raise EvenearError(
                f"{self.path} is a database of something else ({', '.join(sorted(tables)[:3])}).",
                hint="Give another file with --db.",
            )
        row = None
        if tables:
            row = db.execute("SELECT value FROM facts WHERE name = 'version'").fetchone()
        if row and row[0] != self.version:
            raise EvenearError(
                f"The voices in {self.path} were enrolled with the model {row[0]}, and this is "
                f"{self.version}; their vectors cannot be compared.",
                hint="Load the model of then with --model, or enroll everybody anew in another "
                "--db.",
            )

    def _unknown(self, name: str) -> EvenearError:
        known = [one.name for one in self.names()]
        return EvenearError(
            f"Nobody is enrolled as {name!r} in {self.path}.",
            hint=nearest_names(name, known) if known else "Enroll with: evenear enroll NAME FILES",
        )
