# SPDX-License-Identifier: Apache-2.0
import json

import evenear.cli.doctor as doctor_module


def test_the_doctor_names_versions_models_and_what_to_install(evenear, monkeypatch):
    jobs = {**doctor_module._JOBS, "fly": ("wings", ("no_such_wings",))}
    monkeypatch.setattr(doctor_module, "_JOBS", jobs)
    done = evenear("doctor", "--json")
    report = json.loads(done.out)
    assert done.code == 0
    assert report["jobs"]["audit"]["ready"]
    assert report["jobs"]["fly"]["missing"] == ["no_such_wings"]
    assert report["jobs"]["fly"]["install"] == "pip install 'evenear[wings]'"


def test_the_doctor_speaks_plainly_too(evenear):
    done = evenear("doctor")
    assert done.code == 0
    assert "audit: polars" in done.out
