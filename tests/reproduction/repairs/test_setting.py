# SPDX-License-Identifier: Apache-2.0
"""What an experiment writes: numbers for machines, and a page that names what is synthetic."""

import json

import pytest

from evenear.reproduction.claims import Claim
from evenear.reproduction.repairs.setting import Drawn, Written, write_results
from evenear.training.mitigation.judgement.frontier import Mark
from reproduction.repairs.benches import make_bench


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return make_bench(tmp_path_factory.mktemp("setting"))[0]


def test_no_speaker_is_in_two_parts(bench):
    parts = bench.division
    assert len(parts.adaptation | parts.tuning | parts.test) == sum(map(len, parts)) == 40


def test_numbers_and_page_are_written(bench, tmp_path):
    drawn = Drawn("map", [Mark("before", 0.3, 0.4, "before")], "worst", "Synthetic geography")
    claim = Claim("It helps", (), "cannot tell", ("a note",))
    table = ("changes", ("method", "worst"), [("ewc", "+1.0")])
    written = Written("x", "A title", "a command", [claim], {"maps": []}, [drawn], [table])
    write_results(written, [bench], tmp_path)
    values = json.loads((tmp_path / "x.json").read_text())
    assert values["claims"] == [
        {"claim": "It helps", "verdict": "cannot tell", "notes": ["a note"]}
    ]
    assert {"command", "commit", "machine", "effort", "maps"} <= set(values)
    page = (tmp_path / "x.html").read_text()
    assert all(text in page for text in ("A title", "Synthetic geography", "cannot tell", "a note"))
