# SPDX-License-Identifier: Apache-2.0
"""The doctor says what is there, what is missing, and how to get it."""

import importlib.metadata
import json
import sys

import pytest

from evenear import __version__
from evenear.cli.doctor import _JOBS


def test_what_is_installed_has_its_version(evenear):
    done = evenear("doctor", "--json")
    assert (done.code, done.err) == (0, "")
    report = json.loads(done.out)
    assert report["evenear"] == __version__
    jobs = report["jobs"]
    assert jobs["recognize speech"]["ready"]
    assert jobs["recognize speech"]["versions"]["torch"] == importlib.metadata.version("torch")
    assert jobs["audit"]["versions"]["sklearn"] == importlib.metadata.version("scikit-learn")
    for job in jobs.values():
        assert job["ready"] == (not job["missing"]) == (job["install"] is None)


def test_the_report_for_people_has_a_line_for_each_job(evenear):
    done = evenear("doctor")
    assert (done.code, done.err) == (0, "")
    assert f"evenear {__version__}" in done.out
    for job in _JOBS:
        assert f"ok       {job}: " in done.out or f"missing  {job}: " in done.out


def test_every_library_it_asks_for_is_one_that_its_extra_installs():
    """Or its advice would not help."""
    declared = importlib.metadata.metadata("evenear").get_all("Requires-Dist") or []
    for extra, modules in _JOBS.values():
        for module in modules:
            name = {"sklearn": "scikit-learn"}.get(module, module.replace("_", "-"))
            lines = [line for line in declared if line.lower().startswith(name)]
            assert any(extra in line.split(";")[-1] for line in lines), (extra, module, lines)


def test_what_is_missing_says_how_to_get_it(evenear, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    monkeypatch.setitem(sys.modules, "numba", None)
    done = evenear("doctor")
    assert done.code == 0, "one may well do without"
    assert "missing  train: numba" in done.out
    assert "pip install 'evenear[train]'" in done.out
    assert "missing  listen to a microphone: sounddevice" in done.out
    assert "pip install 'evenear[mic]'" in done.out
    assert "ok       recognize speech" in done.out


@pytest.mark.parametrize(("also", "code"), [([], 0), (["polars"], 1)])
def test_an_installation_that_can_do_nothing_exits_with_1(evenear, monkeypatch, also, code):
    for module in ("soundfile", *also):
        monkeypatch.setitem(sys.modules, module, None)
    done = evenear("doctor", "--json")
    assert done.code == code
    report = json.loads(done.out)
    assert report["models"] == []
    assert report["jobs"]["recognize speech"]["install"] == "pip install 'evenear[asr]'"
