# SPDX-License-Identifier: Apache-2.0
"""The study of a dial, on noise: every way is there, and dense is what others are compared with."""

import json
from pathlib import Path

import pytest
import soundfile

from evenear.data.corpora.manifests import Utterance
from evenear.errors import ConfigError
from evenear.reproduction.amortized.page import judge, render
from evenear.reproduction.amortized.study import SHARES, Heard, measure
from evenear.search import BeamConfig
from laws import random_sound, tiny_bundle


def spoken(folder: Path) -> list[Utterance]:
    found = []
    for place in range(4):
        path = folder / f"{place}.wav"
        soundfile.write(path, random_sound(1.0 + 0.2 * place, seed=place), 16_000)
        found.append(
            Utterance(
                utterance_id=str(place),
                speaker=f"s{place % 2}",
                text="THE CAT SAT",
                audio=path,
                start_seconds=0.0,
                seconds=1.0 + 0.2 * place,
                attributes={"age": 9 + 20 * (place % 2), "gender": "female"},
            )
        )
    return found


def test_every_way_of_computing_is_measured_and_judged(tmp_path):
    told: list[str] = []
    results = measure(tiny_bundle("gated-blocks"), spoken(tmp_path), report=told.append)
    ways = results["ways"]
    assert {"dense", "window", "exit 1", "random 0.6", *(f"gates {s}" for s in SHARES)} <= set(ways)
    assert ways["dense"]["compute"] == 1.0
    assert ways["dense"]["relative_to_dense"]["value"] == 0.0
    assert ways["exit 1"]["compute"] < 1.0
    assert ways["random 0.4"]["compute"] == pytest.approx(ways["gates 0.4"]["compute"], abs=0.15)
    assert set(results["groups"]["age"]) == {"adult", "child"}
    assert results["groups"]["age"]["child"]["speakers"] == 1
    assert told[0] == "dense"
    results["claims"] = judge(results)
    page = render(json.loads(json.dumps(results)))
    assert "| dense | 100.0 |" in page
    assert page.count("verdict") == 1


def test_smaller_models_are_compared_and_rivals_can_be_left_out(tmp_path):
    bundle = tiny_bundle("gated-blocks")
    results = measure(
        bundle,
        spoken(tmp_path)[:2],
        smaller=bundle,
        search=BeamConfig(width=1),
        without=("noise", "exit", "random"),
        shares=(0.8, 0.4),
    )
    expected = {"dense", "window", "gates 0.8", "gates 0.4", "smaller 0.8", "smaller 0.4"}
    assert {name for name in results["ways"] if not name.startswith("blank")} == expected
    assert results["ways"]["smaller 0.4"] == results["ways"]["gates 0.4"]
    assert results["noise"] == results["noise_10_db"] == {}
    assert results["search"]["width"] == 1
    assert "In noise" not in render({**results, "claims": judge(results)})


def test_a_model_without_a_dial_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no compute dial"):
        measure(tiny_bundle("lstm"), spoken(tmp_path))


def test_what_was_heard_keeps_counts():
    row = Heard("s", 1, 3, 2.0, 4.0, None, None)
    assert (row.errors, row.words) == (1, 3)
