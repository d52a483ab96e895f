# SPDX-License-Identifier: Apache-2.0
"""`evenear audit --trials`, as it is typed."""

import json

import numpy as np
import polars as pl
import pytest

from audit.verifiedtrials import trial_frame, trial_people


@pytest.fixture
def run(evenear):
    """Run `evenear audit` in this process."""

    def call(*arguments):
        return evenear("audit", *arguments)

    return call


def test_trials_of_a_verifier_are_audited(run, tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for k in range(40):
        low = 1.5 if k % 2 else 0.0
        rows += [(3.0 - low + rng.normal(), f"s{k}", f"s{k}", 1) for _ in range(6)]
        rows += [(rng.normal(), f"s{k}", f"s{(k + j) % 40}", 0) for j in range(1, 15)]
    schema = ["score", "enrol", "test", "target"]
    pl.DataFrame(rows, schema=schema, orient="row").write_csv(tmp_path / "scores.csv")
    people = {"speaker": [f"s{k}" for k in range(40)], "room": ["near", "far"] * 20}
    pl.DataFrame(people).write_csv(tmp_path / "who.csv")
    command = [tmp_path / "scores.csv", "--trials", "--attributes", tmp_path / "who.csv"]
    code, out, err = run(*command, "--by", "room", "--out", tmp_path / "r.html")
    assert code == 0
    assert "points more false rejects for room “far” than for others" in out
    assert "Report:" in err
    code, out, _ = run(*command, "--by", "room", "--json", "--threshold", "0.5")
    assert json.loads(out)["threshold"] == 0.5
    (tmp_path / "odd.csv").write_text("scor,enrol,test,target\n1,a,a,1\n", encoding="utf-8")
    code, _, err = run(tmp_path / "odd.csv", "--trials")
    assert code == 1
    assert "hint: Did you mean 'scor'? Name it yourself with --column score=…." in err
    code, _, err = run(*command, "--by", "rooom")
    assert code == 2
    assert "'room'" in err
    code, out, _ = run(*command, "--by", "room", "--name", "new verifier")
    assert "new verifier makes" in out


def test_two_verifiers_are_compared_and_a_gate_judges_them(run, tmp_path):
    for name, losses in (("before", {}), ("after", {"loss": 1.0})):
        trial_frame(len(name), **losses).write_csv(tmp_path / f"{name}.csv")
    trial_people().write_csv(tmp_path / "who.csv")
    command = [tmp_path / "before.csv", "--trials", "--attributes", tmp_path / "who.csv"]
    command += ["--by", "gender", "--compare", tmp_path / "after.csv", "--resamples", "120"]
    gate = ["--fail-if", "lost(gender) > 0 or eer_change() > 1"]
    code, out, err = run(*command, "--threshold", "1", *gate, "--out", tmp_path / "r.html")
    assert code == 1
    assert "Confirmed to get worse: gender “female” (EER, " in out
    assert "FAILED: lost(gender) > 0 or eer_change() > 1 (lost(gender) is 1" in err
    assert 'id="changes"' in (tmp_path / "r.html").read_text(encoding="utf-8")
    code, out, err = run(*command, "--threshold", "1,0.8", "--json", "--fail-if", "eer() > 90%")
    assert code == 0
    found = json.loads(out)["comparison"]
    assert (found["threshold_before"], found["threshold_after"]) == (1.0, 0.8)
    assert "passed: eer() > 90%" in err
    code, _, err = run(*command, "--threshold", "one")
    assert code == 2
    assert "--threshold 0.35,0.41" in err
    code, _, err = run(*command, "--fail-if", "wer() > 1")
    assert code == 2


def test_a_jobs_page_gets_the_groups_and_the_gate(run, tmp_path, monkeypatch):
    trial_frame(0).write_csv(tmp_path / "t.csv")
    trial_people().write_csv(tmp_path / "who.csv")
    command = [tmp_path / "t.csv", "--trials", "--attributes", tmp_path / "who.csv"]
    command += ["--resamples", "120", "--by", "gender", "--job-summary"]
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    code, _, err = run(*command)
    assert code == 2
    assert "GITHUB_STEP_SUMMARY" in err
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "page.md"))
    code, _, _ = run(*command, "--fail-if", "eer() > 0%", "--out", tmp_path / "r.md")
    assert code == 1
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert page.startswith((tmp_path / "r.md").read_text(encoding="utf-8"))
    assert "- `FAILED: eer() > 0%" in page


def test_trials_are_divided_by_intersections(run, tmp_path):
    trial_frame(0).write_csv(tmp_path / "t.csv")
    people = trial_people().with_columns(room=pl.Series((["near"] * 2 + ["far"] * 2) * 15))
    people.write_csv(tmp_path / "who.csv")
    command = [tmp_path / "t.csv", "--trials", "--attributes", tmp_path / "who.csv"]
    command += ["--resamples", "120", "--json", "--by"]
    code, out, _ = run(*command, "gender*room", "--fail-if", "eer(gender*room, female*far) > 0.9")
    assert code == 0
    values = {row["value"]: row["speakers"] for row in json.loads(out)["cohorts"]}
    assert values == dict.fromkeys(["female×far", "female×near", "male×far", "male×near"], 15)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--systems", "system"),
        ("--to", "overall"),
        ("--adjust-for", "room"),
        ("--min-words", "100"),
        ("--confirm-fraction", "0.5"),
        ("--embeddings", "v.npz"),
    ],
)
def test_what_trials_would_pass_over_is_refused(run, tmp_path, option, value):
    code, _, err = run(tmp_path / "scores.csv", "--trials", option, value)
    assert code == 2
    assert f"--trials does not go with {option}." in err


def test_a_group_of_one_speaker_is_refused_with_trials_too(run, tmp_path):
    code, _, err = run(tmp_path / "scores.csv", "--trials", "--min-speakers", "1")
    assert code == 2
    assert "min_speakers" in err
