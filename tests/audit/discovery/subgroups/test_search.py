# SPDX-License-Identifier: Apache-2.0
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from audit.simulated import results
from evenear.audit.discovery.rules import overdispersion
from evenear.audit.discovery.subgroups.conditions import search_cells, search_columns
from evenear.audit.discovery.subgroups.search import (
    Outcome,
    SubgroupSettings,
    poisson_score,
    search_subgroups,
)

KINDS = {"age": "abcd", "gender": "fm", "device": "xyz"}
SMALL = {"min_speakers": 5, "min_words": 50}


def cells_of(seed, number=150, planted=None, **more):
    rng = np.random.default_rng(seed)
    columns = {name: rng.choice(list(kinds), number) for name, kinds in KINDS.items()}
    bad = None if planted is None else np.logical_and.reduce(
        [columns[name] == kind for name, kind in planted.items()]
    )  # fmt: skip
    table = results({**columns, **more}, planted=bad, effect=2.0, seed=seed)
    return search_cells(table, search_columns(table))


def search(cells, settings, seed=0, outcome=None):
    outcome = outcome or Outcome(cells.errors_C, cells.words_C)
    return search_subgroups(cells, outcome, settings, np.random.default_rng(seed))


def by_hand(cells, settings):
    """Every conjunction of up to so many conditions on different columns, scored one by one."""
    conditions = cells.conditions()
    words, errors = cells.words_C.sum(), cells.errors_C.sum()
    num_speakers = len(np.unique(cells.speakers_C))
    dispersion = overdispersion(
        np.bincount(cells.speakers_C, cells.errors_C), np.bincount(cells.speakers_C, cells.words_C)
    )
    scores = {}
    for size in range(1, settings.max_conditions + 1):
        for chosen in itertools.combinations(conditions, size):
            if len({one.column.name for one in chosen}) < size:
                continue
            inside = np.logical_and.reduce([cells.members(one) for one in chosen])
            e, w = cells.errors_C[inside].sum(), cells.words_C[inside].sum()
            speakers = len(set(cells.speakers_C[inside]))
            others = len(set(cells.speakers_C[~inside]))
            assert max(speakers, others) <= num_speakers
            if min(speakers, others) < settings.min_speakers:
                continue
            if min(w, words - w) < settings.min_words:
                continue
            scores[frozenset(chosen)] = one_score(e, w, errors, words, dispersion, settings)
    margin = settings.margin if settings.score == "poisson" else 0.0
    return {
        chosen: score
        for chosen, score in scores.items()
        if score > 0
        and all(
            score > scores.get(chosen - {one}, -math.inf) + margin
            for one in chosen
            if len(chosen) > 1
        )
    }


def one_score(e, w, errors, words, dispersion, settings):
    rate = errors / words
    if settings.score == "divergence":
        return e / w - rate
    if settings.score == "sliceline":
        return 0.95 * (e / w / rate - 1) - 0.05 * (words / w - 1)
    expected = rate * w
    return (e * math.log(e / expected) + expected - e) / dispersion if e > expected else 0.0


@pytest.mark.parametrize("score", ["poisson", "sliceline", "divergence"])
@pytest.mark.parametrize("varying", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_a_wide_beam_finds_what_enumeration_finds(score, varying, seed):
    noise = {"noise": lambda who: np.array(["hi", "lo"])[np.arange(len(who)) % 2]}
    more = noise if varying else {}
    cells = cells_of(seed, planted={"device": "x"}, **more)
    assert cells.is_by_speaker != varying
    settings = SubgroupSettings(score=score, beam_width=10_000, margin=0.3, **SMALL)
    expected = by_hand(cells, settings)
    found = search(cells, settings)
    assert found
    assert {frozenset(one.conditions): one.score for one in found} == pytest.approx(expected)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


@pytest.mark.parametrize("seed", range(5))
def test_the_usual_beam_finds_the_best_of_all(seed):
    cells = cells_of(seed, planted={"age": "a", "device": "y"})
    expected = by_hand(cells, SubgroupSettings(**SMALL))
    best = search(cells, SubgroupSettings(**SMALL))[0]
    assert best.score == pytest.approx(max(expected.values()))


def test_single_conditions_are_all_that_single_tries():
    cells = cells_of(0)
    found = search(cells, SubgroupSettings(method="single", **SMALL))
    expected = by_hand(cells, SubgroupSettings(max_conditions=1, **SMALL))
    assert {frozenset(one.conditions): one.score for one in found} == pytest.approx(expected)


def scan_by_hand(cells, settings):
    """The best score of all sets of kinds in all columns, less the price of its kinds."""
    rate = cells.errors_C.sum() / cells.words_C.sum()
    dispersion = overdispersion(cells.errors_C, cells.words_C)
    sets = []
    for kinds in cells.kinds:
        rows = range(len(kinds))
        proper = [set(s) for size in rows[1:] for s in itertools.combinations(rows, size)]
        sets.append([None, *proper])
    best = 0.0
    for chosen in itertools.product(*sets):
        named = [(row, s) for row, s in enumerate(chosen) if s is not None]
        if not named or len(named) > settings.max_conditions:
            continue
        inside = np.logical_and.reduce([np.isin(cells.codes[row], list(s)) for row, s in named])
        e, w = cells.errors_C[inside].sum(), cells.words_C[inside].sum()
        paid = settings.kind_penalty * sum(len(s) for _, s in named)
        if e > rate * w > 0:
            score = (e * math.log(e / (rate * w)) + rate * w - e) / dispersion - paid
            best = max(best, score)
    return best


@pytest.mark.parametrize("penalty", [0.0, 0.5])
def test_the_scan_of_one_column_finds_the_best_set_of_kinds(penalty):
    """Prefixes of kinds in the order of their error rates are enough to look at."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        table = results({"age": rng.choice(list("abcdefg"), 200)}, seed=seed)
        cells = search_cells(table, search_columns(table))
        settings = SubgroupSettings(
            method="scan", kind_penalty=penalty, min_speakers=2, min_words=1
        )
        found = search(cells, settings)
        assert (found[0].score if found else 0.0) == pytest.approx(scan_by_hand(cells, settings))


def test_the_scan_of_several_columns_mostly_finds_the_best_of_all_and_never_more():
    settings = SubgroupSettings(method="scan", min_speakers=2, min_words=1, kind_penalty=0.3)
    hits = 0
    for seed in range(10):
        cells = cells_of(seed, planted={"age": "b", "gender": "f"})
        best = scan_by_hand(cells, settings)
        found = search(cells, settings, seed)[0].score
        assert found <= best + 1e-9
        hits += found > best - 1e-9
    assert hits >= 9


@pytest.mark.parametrize("method", ["beam", "scan"])
def test_a_planted_conjunction_is_the_first_find(method):
    cells = cells_of(3, number=400, planted={"age": "c", "gender": "m"})
    best = search(cells, SubgroupSettings(method=method, **SMALL))[0]
    assert {one.text for one in best.conditions} == {"age c", "gender m"}


@pytest.mark.parametrize(
    ("method", "speakers", "words", "depth"),
    [
        ("beam", 60, 1, 3),
        ("beam", 2, 4000, 2),
        ("beam", 2, 1, 1),
        ("scan", 10, 1, 3),
        ("scan", 2, 1000, 2),
        ("scan", 2, 1, 1),
    ],
)
def test_finds_stay_within_the_sizes_that_were_set(method, speakers, words, depth):
    years = np.random.default_rng(0).normal(40.0, 12.0, 150)
    cells = cells_of(1, planted={"gender": "f"}, years=years)
    settings = SubgroupSettings(
        method=method,
        min_speakers=speakers,
        min_words=words,
        max_conditions=depth,
        margin=0.0,
        kind_penalty=0.0,
        num_starts=20,
    )
    found = search(cells, settings)
    assert found
    for one in found:
        inside = np.logical_and.reduce([cells.members(c) for c in one.conditions])
        assert speakers <= inside.sum() <= 150 - speakers
        assert words <= cells.words_C[inside].sum() <= cells.words_C.sum() - words
        assert len({c.column.name for c in one.conditions}) == len(one.conditions) <= depth


def test_a_search_judges_the_outcome_that_it_is_given():
    cells = cells_of(2)
    worse = Outcome(
        np.where(cells.members(cells.conditions()[0]), 9.0, 1.0), cells.words_C * 0 + 99
    )
    best = search(cells, SubgroupSettings(**SMALL), outcome=worse)[0]
    assert best.conditions == (cells.conditions()[0],)


@given(st.floats(0, 1e4), st.floats(1e-3, 1e4), st.floats(1.01, 3))
def test_scores_of_too_few_errors_are_0_and_else_grow_with_the_errors(errors, expected, more):
    score = poisson_score(np.float64(errors), np.float64(expected))
    if errors <= expected:
        assert score == 0.0
    else:
        assert 0.0 <= score < poisson_score(np.float64(errors * more), np.float64(expected))


def test_the_score_is_that_of_poisson_likelihoods():
    expected = stats.poisson.logpmf(30, 30.0) - stats.poisson.logpmf(30, 18.5)
    assert poisson_score(np.float64(30.0), np.float64(18.5)) == pytest.approx(expected)


def test_no_conjunction_names_a_column_twice():
    years = np.arange(200.0)
    middle = (years >= 50) & (years < 150)
    table = results({"years": years}, planted=middle, effect=3.0)
    cells = search_cells(table, search_columns(table))
    found = search(cells, SubgroupSettings(margin=0.0, **SMALL))
    assert found
    assert all(len(one.conditions) == 1 for one in found)
