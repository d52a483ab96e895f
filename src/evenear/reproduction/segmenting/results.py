# SPDX-License-Identifier: Apache-2.0
"""What the variants came to, by overlap and number of turns, and what becomes of the claims.

Differences are of the same mixtures: mixtures are drawn anew for all variants at once, and counts
are averaged over seeds before. Percentiles of the draws make 95 % intervals. What an interval does
not hold is how much a model changes with its seed; so each seed's own difference stands beside it.

Legend: R draws, X mixtures.

Source: the claims are those of Sklyar, Piunova, Osendorfer 2022, arXiv:2205.05199, tables 1 to 3.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evenear.reproduction.segmenting.scores import MixtureScore
from evenear.reproduction.segmenting.study import Rows
from evenear.reproduction.segmenting.variants import BUFFERS
from evenear.seeding import rng_for

__all__ = ["conditions", "summarize"]

_DRAWS = 2000
_Counts = Callable[[MixtureScore], tuple[float, float]]
"""What a mixture adds to a rate: (count, of how many)."""
_LATENCIES = ("end_of_turn", "last_word", "start_of_turn", "first_word")


def conditions(score: MixtureScore) -> list[str]:
    """The groups of test mixtures that one belongs to."""
    many = "more than two turns" if score.turns > 2 else "one or two turns"
    return ["all", many, score.condition]


def summarize(rows: Rows) -> dict[str, Any]:
    """Tables of all variants that have runs, and the verdict on each claim, as plain values."""
    done = {name: seeds for name, seeds in rows.items() if seeds}
    return {
        "variants": {name: _variant(seeds) for name, seeds in done.items()},
        "claims": _claims(done),
    }


def _variant(seeds: Mapping[int, Sequence[MixtureScore]]) -> dict[str, Any]:
    runs = list(seeds.values())
    groups = list(dict.fromkeys(group for one in runs[0] for group in conditions(one)))
    return {
        "seeds": len(runs),
        "by_condition": {group: _condition(runs, group) for group in sorted(groups)},
        "turn_matrix": _matrix(runs),
        "latency_milliseconds": {name: _latency(runs, name) for name in _LATENCIES},
        "norm_ratio": _norm_ratio(runs),
    }


def _condition(runs: Sequence[Sequence[MixtureScore]], group: str) -> dict[str, Any]:
    own = [[one for one in run if group in conditions(one)] for run in runs]
    found: dict[str, Any] = {"mixtures": len(own[0])}
    for name, counts in _RATES.items():
        found[name] = _estimate(_rates(own, counts))
    return found


def _words(one: MixtureScore) -> tuple[float, float]:
    return one.errors, one.words


def _deleted(one: MixtureScore) -> tuple[float, float]:
    return one.deletions, one.words


def _inserted(one: MixtureScore) -> tuple[float, float]:
    return one.insertions, one.words


def _turns(one: MixtureScore) -> tuple[float, float]:
    return float(one.counted == one.turns), float(one.counted is not None)


_RATES: dict[str, _Counts] = {
    "orc_wer": _words,
    "deleted": _deleted,
    "inserted": _inserted,
    "turns_right": _turns,
}


def _rates(runs: Sequence[Sequence[MixtureScore]], counts: _Counts) -> NDArray[np.float64]:
    """A pooled rate, averaged over seeds: first of the mixtures as they are, then of each draw."""
    every = np.mean([[counts(one) for one in run] for run in runs], axis=0)  # (X, 2)
    if not len(every):
        return np.full(1, np.nan)
    size = len(every)
    picks_RX = rng_for(0, "mixtures", size).integers(size, size=(_DRAWS, size))
    sums = np.concatenate([every.sum(axis=0)[None], every[picks_RX].sum(axis=1)])
    with np.errstate(divide="ignore", invalid="ignore"):
        return sums[:, 0] / sums[:, 1]


def _estimate(rates_R: NDArray[np.float64]) -> dict[str, float] | None:
    """A value with its interval; None where there is nothing to count."""
    drawn_R = rates_R[1:][np.isfinite(rates_R[1:])]
    if not np.isfinite(rates_R[0]) or not len(drawn_R):
        return None
    low, high = np.percentile(drawn_R, [2.5, 97.5])
    return {"value": float(rates_R[0]), "low": float(low), "high": float(high)}


def _latency(runs: Sequence[Sequence[MixtureScore]], name: str) -> dict[str, float | int | None]:
    values = [1000 * v for run in runs for one in run for v in getattr(one, name)]
    if not values:
        return {"turns": 0, "mean": None, "p50": None, "p90": None}
    p50, p90 = np.percentile(values, [50, 90])
    mean = float(np.mean(values))
    return {"turns": len(values), "mean": mean, "p50": float(p50), "p90": float(p90)}


def _matrix(runs: Sequence[Sequence[MixtureScore]]) -> dict[str, dict[str, int]]:
    """Mixtures by turns there were and turns counted, over all seeds."""
    found: dict[int, dict[int, int]] = {}
    for run in runs:
        for one in run:
            if one.counted is not None:
                row = found.setdefault(one.turns, {})
                row[one.counted] = row.get(one.counted, 0) + 1
    return {
        str(turns): {str(counted): n for counted, n in sorted(row.items())}
        for turns, row in sorted(found.items())
    }


def _norm_ratio(runs: Sequence[Sequence[MixtureScore]]) -> float | None:
    pairs = [
        (one.active_norm, one.silent_norm)
        for run in runs
        for one in run
        if one.silent_norm is not None
    ]
    return float(np.mean([p[0] for p in pairs]) / np.mean([p[1] for p in pairs])) if pairs else None


def _claims(done: Rows) -> list[dict[str, Any]]:
    """Each claim of tables 1 to 3, with what was found and whether it holds."""
    many, every = "more than two turns", "all"
    return [
        _difference(
            done, "sts", "cot", "turns_right", many,
            "<sot> and <eot> count turns better than <cot>", "+15.0 points", above=True,
        ),
        _difference(
            done, "sts", "cot", "orc_wer", every,
            "and words are no worse for it", "−0.3 points", above=False,
        ),
        _difference(
            done, "fastemit", "sts", "orc_wer", every,
            "FastEmit lowers the word error rate", "−3.3 points", above=False,
        ),
        _difference(
            done, "fastemit", "sts", "deleted", every,
            "because fewer words are deleted", "−6 points", above=False,
        ),
        _difference(
            done, "fastemit", "sts", "turns_right", many,
            "and counts turns better", "+4.5 points", above=True,
        ),
        _earlier(
            done, "fastemit", "sts", "start_of_turn",
            "and says the start of a turn earlier", "386 to 211 ms",
        ),
        _difference(
            done, "masking", "fastemit", "turns_right", many,
            "The masking loss counts turns better", "+3.1 points", above=True,
        ),
        _difference(
            done, "masking", "fastemit", "orc_wer", "overlap up to 20 %",
            "and lowers the word error rate where little overlaps", "−2.5 points", above=False,
        ),
        _louder(done),
        _penalty_order(done),
        *(
            _earlier(
                done, f"penalty-{buffer}", "sts", "end_of_turn",
                f"The penalty from {buffer} frames on says the end of a turn earlier",
                f"1100 to {paper} ms",
            )
            for buffer, paper in zip(BUFFERS, (14, 80, 130, 196), strict=True)
        ),
        *(
            _difference(
                done, f"penalty-{buffer}", "sts", "orc_wer", every,
                f"and, from {buffer} frames on, costs words", f"+{paper} points", above=True,
            )
            for buffer, paper in zip(BUFFERS, (2.6, 1.3, 2.3, 2.7), strict=True)
        ),
        _too_few(done),
    ]  # fmt: skip


def _claim(title: str, paper: str, here: str, verdict: str, **more: Any) -> dict[str, Any]:
    return {"claim": title, "paper": paper, "here": here, "verdict": verdict, **more}


def _difference(
    done: Rows, one: str, other: str, rate: str, group: str, title: str, paper: str, *, above: bool
) -> dict[str, Any]:
    """A rate of one variant less that of another, on the mixtures of a group, in points."""
    where = f"{title} ({group})"
    if one not in done or other not in done:
        return _claim(where, paper, "-", "not measured")
    seeds = sorted(done[one].keys() & done[other].keys())
    runs = [
        [[m for m in done[name][seed] if group in conditions(m)] for seed in seeds]
        for name in (one, other)
    ]
    counts = _RATES[rate]
    rates_R = 100 * (_rates(runs[0], counts) - _rates(runs[1], counts))
    estimate = _estimate(rates_R)
    if estimate is None:
        return _claim(where, paper, "-", "not measured")
    single = [
        100 * float(_rates([a], counts)[0] - _rates([b], counts)[0])
        for a, b in zip(*runs, strict=True)
    ]
    sign = 1.0 if above else -1.0
    low, high = sorted((sign * estimate["low"], sign * estimate["high"]))
    verdict = "holds" if low > 0 else "does not hold" if high < 0 else "cannot tell"
    here = f"{estimate['value']:+.1f} points [{estimate['low']:+.1f}, {estimate['high']:+.1f}]"
    return _claim(where, paper, here, verdict, points=estimate, single_seeds=single)


def _earlier(
    done: Rows, one: str, other: str, latency: str, title: str, paper: str
) -> dict[str, Any]:
    """The median latency of one variant less that of another; turns are drawn anew."""
    values = [
        [1000 * v for run in done.get(name, {}).values() for m in run for v in getattr(m, latency)]
        for name in (one, other)
    ]
    if min(map(len, values)) < 2:
        return _claim(title, paper, "-", "not measured")
    rng = rng_for(0, "turns", title)
    drawn = [
        np.median(np.array(own)[rng.integers(len(own), size=(_DRAWS, len(own)))], axis=1)
        for own in values
    ]
    low, high = np.percentile(drawn[0] - drawn[1], [2.5, 97.5])
    verdict = "holds" if high < 0 else "does not hold" if low > 0 else "cannot tell"
    medians = [float(np.median(own)) for own in values]
    here = f"{medians[1]:.0f} to {medians[0]:.0f} ms, {low:+.0f} to {high:+.0f}"
    return _claim(title, paper, here, verdict)


def _louder(done: Rows) -> dict[str, Any]:
    title, paper = "and makes active frames louder than silent ones", "norms 1.2 to 5.3 times"
    if "masking" not in done or "fastemit" not in done:
        return _claim(title, paper, "-", "not measured")
    with_loss, without = (_norm_ratio(list(done[n].values())) for n in ("masking", "fastemit"))
    if with_loss is None or without is None:
        return _claim(title, paper, "-", "not measured")
    verdict = "holds" if with_loss > max(without, 1.0) else "does not hold"
    return _claim(title, paper, f"{without:.2f} to {with_loss:.2f} times", verdict)


def _penalty_order(done: Rows) -> dict[str, Any]:
    title, paper = "The smaller the buffer, the earlier the end", "14, 80, 130, 196 ms"
    names = [f"penalty-{buffer}" for buffer in BUFFERS]
    p50 = [_latency(list(done[n].values()), "end_of_turn")["p50"] for n in names if n in done]
    known = [value for value in p50 if value is not None]
    if len(known) < len(BUFFERS):
        return _claim(title, paper, "-", "not measured")
    here = ", ".join(f"{value:.0f}" for value in known) + " ms"
    return _claim(title, paper, here, "holds" if known == sorted(known) else "does not hold")


def _too_few(done: Rows) -> dict[str, Any]:
    title = "Turns are counted too low, the more so the more there are"
    paper = "58, 35, 5 % right of 3, 4, 5 turns, with <cot>"
    if "cot" not in done:
        return _claim(title, paper, "-", "not measured")
    runs = [one for run in done["cot"].values() for one in run if one.counted is not None]
    right, low = [], []
    for turns in (3, 4, 5):
        own = [one for one in runs if one.turns == turns]
        if not own:
            return _claim(title, paper, "-", "not measured")
        right.append(np.mean([one.counted == turns for one in own]))
        wrong = [one for one in own if one.counted != turns]
        low.append(np.mean([(one.counted or 0) < turns for one in wrong]) if wrong else 1.0)
    holds = right[0] > right[1] > right[2] and min(low) > 0.5
    here = ", ".join(f"{100 * rate:.0f}" for rate in right) + " % right; of the wrong ones "
    here += ", ".join(f"{100 * rate:.0f}" for rate in low) + " % too low"
    return _claim(title, paper, here, "holds" if holds else "does not hold")
