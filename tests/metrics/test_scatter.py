# SPDX-License-Identifier: Apache-2.0
"""What all speakers show of how speakers differ: the model, and intervals at least so wide."""

import numpy as np
import pytest

from evenear.metrics.bootstrap import Contrast, contrast_intervals
from evenear.metrics.scatter import FREEDOM, Scatter
from evenear.seeding import rng_for

SPEAKERS = 200


def corpus(seed: int, *, dominant: bool = False, lost: float = 0.0) -> tuple[np.ndarray, ...]:
    """Errors, words and membership of a cohort of 14; nobody is served worse."""
    rng = rng_for(seed, "scatter")
    words_S = rng.poisson(90, SPEAKERS) + 10.0
    if dominant:
        words_S[0] = words_S.sum()
    rates_S = rng.gamma(4.0, 0.03, SPEAKERS)
    rates_S = np.where(rng.random(SPEAKERS) < lost, 0.9, rates_S)
    return rng.poisson(rates_S * words_S).astype(float), words_S, np.arange(SPEAKERS) < 14


def contrast(errors_S: np.ndarray, words_S: np.ndarray, member_S: np.ndarray) -> Contrast:
    return Contrast.of(
        (1.0, (errors_S * member_S, words_S * member_S)),
        (-1.0, (errors_S * ~member_S, words_S * ~member_S)),
    )


def coverage(freedom: float, num: int = 150, **kind: object) -> float:
    held = 0
    for seed in range(num):
        found = contrast_intervals(
            [contrast(*corpus(seed, **kind))],
            rng_for(seed, "g"),
            num_resamples=150,
            freedom=freedom,
        )
        held += bool(found.lows_K[0] <= 0.0 <= found.highs_K[0])
    return held / num


def test_the_model_knows_the_variance_of_a_contrast_of_speakers_alike():
    truth = np.std([np.log(rate(seed)) for seed in range(400)])
    scatter = Scatter.of([contrast(*corpus(seed)) for seed in range(50)], FREEDOM)
    assert np.sqrt(scatter.variance_K).mean() == pytest.approx(truth, rel=0.12)


def rate(seed: int) -> float:
    errors_S, words_S, member_S = corpus(seed)
    inside = errors_S[member_S].sum() / words_S[member_S].sum()
    return inside / (errors_S[~member_S].sum() / words_S[~member_S].sum())


def test_a_cohort_carried_by_one_speaker_counts_for_almost_nothing_of_its_own():
    alone = Scatter.of([contrast(*corpus(0, dominant=True))], FREEDOM)
    many = Scatter.of([contrast(*corpus(0))], FREEDOM)
    assert alone.share_K[0] > 0.8 > 0.5 > many.share_K[0] > 0.2


@pytest.mark.parametrize("kind", [{"dominant": True}, {"lost": 0.04}])
def test_hard_tables_are_covered_as_promised_where_a_contrast_alone_is_not(kind):
    assert coverage(0.0, **kind) < 0.92
    assert coverage(FREEDOM, **kind) > 0.94


def test_intervals_are_never_narrower_and_ordinary_ones_hardly_wider():
    apart = [contrast(*corpus(seed)) for seed in range(40)]
    plain, wide = (
        contrast_intervals(apart, rng_for(0, "g"), num_resamples=200, freedom=freedom)
        for freedom in (0.0, FREEDOM)
    )
    widths = (wide.highs_K - wide.lows_K) / (plain.highs_K - plain.lows_K)
    assert (widths >= 1.0).all()
    assert widths.mean() < 1.25
    np.testing.assert_array_equal(plain.studentized_RK, wide.studentized_RK)


def test_nothing_is_demanded_where_there_are_no_errors_or_hardly_a_speaker():
    errors_S, words_S, member_S = corpus(1)
    nothing = Scatter.of([contrast(errors_S * ~member_S, words_S, member_S)], FREEDOM)
    few = Scatter.of([contrast(errors_S[12:15], words_S[12:15], member_S[12:15])], FREEDOM)
    for scatter in (nothing, few):
        assert scatter.reach(np.array([0.3]), 0.95, FREEDOM)[0] == 0.0
