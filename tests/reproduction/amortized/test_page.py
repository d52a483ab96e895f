# SPDX-License-Identifier: Apache-2.0
"""Verdicts on the paper's claims, from numbers that are made up to be on either side."""

from evenear.reproduction.amortized.page import judge


def way(compute: float, wer: float, low: float, high: float) -> dict:
    rate = {"value": wer, "low": None, "high": None}
    return {
        "compute": compute,
        "wer": rate,
        "relative_to_dense": {"value": wer / 0.1 - 1, "low": low, "high": high},
    }


def results(**ways: dict) -> dict:
    return {
        "ways": {name.replace("_", " "): one for name, one in ways.items()},
        "off": {"gates": [{"keys": {"silence": 0.8, "speech": 0.3}}]},
        "milliseconds": [{"kept_of_counted": 0.85}],
    }


def verdicts(found: list[dict[str, str]]) -> list[str]:
    return [one["verdict"] for one in found]


def test_a_cheap_and_good_dial_holds_every_claim():
    found = judge(
        results(
            gates_a=way(0.38, 0.102, -0.01, 0.04),
            gates_b=way(0.8, 0.1, -0.01, 0.01),
            window=way(0.87, 0.11, 0.05, 0.15),
            random_a=way(0.4, 0.3, 1.0, 3.0),
            exit_3=way(0.8, 0.12, 0.1, 0.3),
            blank_a=way(0.7, 0.12, 0.1, 0.3),
            smaller_a=way(0.4, 0.104, 0.0, 0.1),
        )
    )
    assert verdicts(found) == ["holds"] * 9


def test_a_costly_dial_is_told_so():
    found = judge(
        results(
            gates_a=way(0.38, 0.2, 0.8, 1.2),
            gates_b=way(0.8, 0.3, 1.8, 2.2),
            window=way(0.87, 0.11, 0.05, 0.15),
            random_a=way(0.4, 0.15, 0.3, 0.7),
            exit_1=way(0.4, 0.3, 1.8, 2.2),
            exit_3=way(0.8, 0.15, 0.3, 0.7),
        )
    )
    expected = ["does not hold"] * 3 + ["cannot tell"] * 3 + ["holds", "does not hold", "holds"]
    assert verdicts(found) == expected


def test_what_no_interval_shows_cannot_be_told():
    found = judge(results(gates_a=way(0.38, 0.104, -0.02, 0.1), gates_b=way(0.8, 0.1, -0.01, 0.01)))
    assert verdicts(found)[:3] == ["cannot tell"] * 3


def stream(compute: float, wer: float, low: float = -0.01, high: float = 0.04) -> dict:
    one = way(compute, wer, low, high)
    return {**one, "relative_to_all": one.pop("relative_to_dense")}


def test_where_streams_were_measured_they_are_what_is_judged():
    gated = results(gates_a=way(0.38, 0.2, 0.8, 1.2), random_a=way(0.4, 0.15, 0.3, 0.7))
    ways = {
        "all": stream(1.0, 0.1),
        "dial 0.4": stream(0.39, 0.102),
        "dial 0.2": stream(0.2, 0.13),
        "once": stream(0.5, 0.11),
        "once, longer": stream(0.5, 0.101),
        "random 0.4": stream(0.4, 0.3),
    }
    took = {"dial 0.4": {"time_saving": 0.5}, "dial 0.2": {"time_saving": 0.6}}
    gated["streams"] = {"ways": ways, "groups": {}, "time": took}
    found = {one["claim"]: one for one in judge(gated)}
    assert found["60 % fewer operations for 3 % more errors"]["verdict"] == "holds"
    assert found["better than random at no more computation"]["verdict"] == "holds"
    assert found["better than once at no more computation"]["verdict"] == "holds"
    assert found["better than once, longer at no more computation"]["verdict"] == "does not hold"
    assert found["what is saved by count is saved in time (80 % of it)"]["here"] == "82 %; 75 %"
    assert found["more computation never errs more"]["verdict"] == "holds"
