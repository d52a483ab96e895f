# SPDX-License-Identifier: Apache-2.0
import numpy as np

from audit.simulated import results
from evenear.audit.discovery.characterization import characterize
from evenear.audit.tables.cohorts import Assignment

RNG = np.random.default_rng(0)
MEMBER = np.arange(200) < 60


def cohorts():
    values = {f"s{row:04d}": "ours" if MEMBER[row] else "theirs" for row in range(200)}
    return Assignment.of_speakers("cluster", values)


def test_shares_that_differ_are_said_with_both_numbers():
    gender = np.where(MEMBER, "female", RNG.choice(["female", "male"], 200))
    found = characterize(results({"gender": gender}), cohorts())
    share = (gender[~MEMBER] == "female").mean()
    assert found["ours"] == (f"gender female: 100 % of speakers, others {100 * share:.0f} %",)
    assert found["theirs"][0].startswith("gender male:")


def test_means_that_differ_are_said_with_their_side():
    noise_db = 20.0 - 8.0 * MEMBER + RNG.normal(0.0, 3.0, 200)
    found = characterize(results({"snr": noise_db}), cohorts())
    assert found["ours"][0].startswith("snr lower: ")
    assert found["theirs"][0].startswith("snr higher: ")
    assert f"{noise_db[MEMBER].mean():.3g} on average" in found["ours"][0]


def test_speech_rate_is_worked_out_from_seconds():
    def seconds(who):
        return 8.0 + 6.0 * MEMBER[who] + np.random.default_rng(1).normal(0.0, 0.5, len(who))

    found = characterize(results({"seconds": seconds, "age": ["old"] * 200}), cohorts())
    assert any(text.startswith("words per second lower:") for text in found["ours"])


def test_nothing_is_said_of_noise():
    said = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        columns = {"gender": rng.choice(["female", "male"], 200), "snr": rng.normal(size=200)}
        said += any(characterize(results(columns, seed=seed), cohorts()).values())
    assert said <= 1


def test_the_clearest_comes_first_and_the_number_is_limited():
    columns = {f"x{k}": RNG.normal(size=200) + (k + 1) * MEMBER for k in range(5)}
    found = characterize(results(columns), cohorts(), num_remarks=2)
    assert [text.split()[0] for text in found["ours"]] == ["x4", "x3"]


def test_names_are_not_kinds_and_few_speakers_say_nothing():
    columns = {"street": [f"street {row}" for row in range(200)], "snr": 10.0 * MEMBER}
    few = Assignment.of_speakers("cluster", {f"s{row:04d}": "few" for row in range(3)})
    found = characterize(results(columns), few)
    assert found == {"few": ()}
    assert not any("street" in text for text in characterize(results(columns), cohorts())["ours"])
