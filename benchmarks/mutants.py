# SPDX-License-Identifier: Apache-2.0
"""Do the tests notice when the code is wrong?

Each mutant of `mutants.toml` is one small change that makes correct code incorrect. It is made in a
copy of the source, and the tests that are named beside it run against the copy: a mutant is killed
if one of them fails. Mutants of the kind "survivor" got past the tests once.

    python benchmarks/mutants.py --out benchmarks/results/mutants.json

takes minutes, runs by hand, and goes on where it stopped. `--only NAME…` runs some and shows what
the tests say. A mutant whose text is no longer in the source is reported as stale, not as killed.
The libraries are loaded once: each mutant is tried in a fork, so nothing of evenear is imported
here.
"""

import argparse
import importlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

__all__ = ["main"]

ROOT = Path(__file__).resolve().parent.parent
MINUTES = 10
"""A mutant that takes longer is killed, and said to be timed out."""
_BROKEN = 70
LIBRARIES = ("torch", "numpy", "scipy.signal", "sentencepiece", "lhotse", "pydantic")


@dataclass(frozen=True)
class Mutant:
    """A change that some test must notice."""

    name: str
    file: str
    """In `src/evenear`."""
    edits: tuple[tuple[str, str], ...]
    """What stands there, everywhere in the file, and what shall stand there instead."""
    tests: tuple[str, ...]
    kind: str = "new"

    @property
    def is_stale(self) -> bool:
        """Whether the source has changed since, so that nothing would be mutated."""
        text = (ROOT / "src" / "evenear" / self.file).read_text(encoding="utf-8")
        return not all(old in text for old, _ in self.edits)

    def apply(self, source: Path) -> None:
        """Change a copy of the source."""
        path = source / "evenear" / self.file
        text = path.read_text(encoding="utf-8")
        for old, new in self.edits:
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")


def mutants() -> Iterator[Mutant]:
    """All of them, in the order of the file."""
    table = tomllib.loads((ROOT / "benchmarks" / "mutants.toml").read_text(encoding="utf-8"))
    for row in table["mutant"]:
        edits = tuple((old, new) for old, new in row["edits"])
        yield Mutant(row["name"], row["file"], edits, tuple(row["tests"]), row.get("kind", "new"))


def verdict(mutant: Mutant | None, tests: tuple[str, ...], *, show: bool = False) -> str:
    """What the tests say of a mutant (None: of the source as it is)."""
    if mutant is not None and mutant.is_stale:
        return "stale"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
        if mutant is not None:
            mutant.apply(source)
        child = os.fork()
        if child == 0:
            _try(source, tests, show=show)
        limit = time.monotonic() + 60 * MINUTES * (1 if mutant else 10)
        while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
            if time.monotonic() > limit:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return "timed out"
            time.sleep(0.1)
    return {0: "survived", 1: "killed"}.get(os.waitstatus_to_exitcode(ended[1]), "broken")


def _try(source: Path, tests: tuple[str, ...], *, show: bool) -> None:
    """Run tests against a source, in this process, which ends."""
    if not show:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
    sys.path.insert(0, str(source))
    os.environ["PYTHONPATH"] = str(source)
    os.chdir(ROOT)
    options = ["-x", "-q", "-p", "no:cacheprovider", f"--rootdir={ROOT}"]
    code = _BROKEN
    try:
        code = int(pytest.main([*options, *(str(ROOT / "tests" / test) for test in tests)]))
    finally:
        os._exit(code)


def main(arguments: list[str] | None = None) -> None:
    """Run all mutants, or one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/mutants.json"))
    parser.add_argument("--only", nargs="*", help="names of mutants; their tests' output is shown")
    asked = parser.parse_args(arguments)
    console = Console()
    known = list(mutants())
    os.environ["OMP_NUM_THREADS"] = "1"
    for library in LIBRARIES:
        importlib.import_module(library)
    if asked.only is not None:
        for mutant in (m for m in known if m.name in asked.only):
            console.print(f"{verdict(mutant, mutant.tests, show=True)}  {mutant.name}")
        return
    before = json.loads(asked.out.read_text(encoding="utf-8")) if asked.out.exists() else {}
    found = {row["name"]: row["verdict"] for row in before.get("mutants", [])}
    if before.get("commit") != _commit():
        found = {}
    tests = tuple(sorted({test for mutant in known for test in mutant.tests}))
    if not found and verdict(None, tests) != "survived":
        raise SystemExit("The tests fail on the source as it is, so they can judge no mutant.")
    for mutant in known:
        if mutant.name not in found:
            found[mutant.name] = verdict(mutant, mutant.tests)
            console.print(f"{found[mutant.name]:>9}  {mutant.name}")
            _write(asked.out, known, found)


def _write(path: Path, known: list[Mutant], found: dict[str, str]) -> None:
    rows = [
        {"name": m.name, "kind": m.kind, "file": m.file, "verdict": found[m.name]}
        for m in known
        if m.name in found
    ]
    counts = Counter(f"{row['kind']} {row['verdict']}" for row in rows)
    result = {
        "commit": _commit(),
        "machine": f"{platform.machine()}, one thread, Python {platform.python_version()}",
        "command": "python benchmarks/mutants.py --out benchmarks/results/mutants.json",
        "seed": None,
        "counts": dict(sorted(counts.items())),
        "mutants": rows,
    }
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


if __name__ == "__main__":
    main()
