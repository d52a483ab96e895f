# SPDX-License-Identifier: Apache-2.0
"""Every mistake a user can make, as one tree of exceptions.

    EvenearError
    ├── AudioError          a file or an array that cannot be heard
    ├── ManifestError       data descriptions that are broken or incomplete
    ├── TranscriptError     transcripts that cannot be read or written
    ├── TokenizerError      text or token ids that the tokenizer does not know
    ├── ChunkSizeError      a chunk that a stream cannot take
    ├── StateError          streaming state of another model or batch
    ├── CheckpointError     weights that are missing, damaged or of another model
    ├── ConfigError         settings that are unknown or out of range
    ├── TableError          a results table that cannot be audited
    ├── CohortError         cohorts too small, or unknown, to say anything about
    └── MissingDependencyError   an optional library that is not installed

A message has three parts: what was required, what came (with its unit), and what to do. The last
part may be given as `hint`; the command line prints it on a line of its own.
"""

import difflib
from collections.abc import Iterable

__all__ = [
    "AudioError",
    "CheckpointError",
    "ChunkSizeError",
    "CohortError",
    "ConfigError",
    "EvenearError",
    "ManifestError",
    "MissingDependencyError",
    "StateError",
    "TableError",
    "TokenizerError",
    "TranscriptError",
    "nearest_names",
]


class EvenearError(Exception):
    """A mistake that the user can mend. `hint` says how.

    Args:
        message: What was required and what came.
        hint: What to do about it.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message} {self.hint}"


class AudioError(EvenearError):
    """A file or an array that cannot be heard."""


class ManifestError(EvenearError):
    """Data descriptions that are broken or incomplete."""


class TranscriptError(EvenearError):
    """Transcripts that cannot be read or written."""


class TokenizerError(EvenearError):
    """Text or token ids that the tokenizer does not know."""


class ChunkSizeError(EvenearError):
    """A chunk that a stream cannot take."""


class StateError(EvenearError):
    """Streaming state that belongs to another model or another batch."""


class CheckpointError(EvenearError):
    """Weights that are missing, damaged or of another model."""


class ConfigError(EvenearError):
    """Settings that are unknown or out of range."""


class TableError(EvenearError):
    """A results table that cannot be audited."""


class CohortError(EvenearError):
    """Cohorts that are too small, or unknown, to say anything about."""


class MissingDependencyError(EvenearError):
    """An optional library that is not installed."""


def nearest_names(wanted: str, known: Iterable[str]) -> str:
    """Say which known names are nearest to `wanted`, as the tail of an error message."""
    names = sorted(known)
    near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.5)
    if near:
        return "Did you mean " + " or ".join(repr(name) for name in near) + "?"
    return "Known: " + ", ".join(repr(name) for name in names) + "."
