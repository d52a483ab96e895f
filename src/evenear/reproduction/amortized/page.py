# SPDX-License-Identifier: Apache-2.0
"""The study as one page of Markdown: the curve, the rivals, the claims, and who pays."""

import itertools
from collections.abc import Mapping
from typing import Any

__all__ = ["judge", "render"]

_EQUAL = 0.03
"""Shares of computation this close are compared as equal."""
_RIVALS = (
    ("window", "12.9 % at +8.6 %"),
    ("random", "about 60 % at over +146 %"),
    ("exit", "not compared"),
    ("blank", "not compared"),
    ("smaller", "not compared"),
)
"""What gates must beat, and what the paper says of it."""
_STREAM_RIVALS = (*_RIVALS[:3], ("once", "not compared"), ("once, longer", "not compared"))


def judge(results: Mapping[str, Any]) -> list[dict[str, str]]:
    """The paper's claims, each with its verdict here; by intervals where there are any."""
    streams = results.get("streams") or {}
    ways = streams.get("ways") or results["ways"]
    own, base = ("dial ", "relative_to_all") if streams else ("gates ", "relative_to_dense")
    gates = {name: way for name, way in ways.items() if name.startswith(own)}
    best = [way for way in gates.values() if way["compute"] <= 0.4]
    claims = [
        _claim(
            "60 % fewer operations for 3 % more errors",
            "60.3 % at +3.3 %",
            [_cost(way, base) for way in best],
            any(_end(way[base], "high", 9.0) <= 0.05 for way in best),
            all(_end(way[base], "low", 0.0) > 0.05 for way in best) and bool(best),
        )
    ]
    for rival, paper in _STREAM_RIVALS if streams else _RIVALS:
        pairs = [
            (min(cheap, key=lambda way: way["wer"]["value"]), other)
            for name, other in ways.items()
            if name.startswith(f"{rival} ") or name == rival
            if (cheap := [w for w in gates.values() if w["compute"] <= other["compute"] + _EQUAL])
        ]
        wins = [way["wer"]["value"] < other["wer"]["value"] for way, other in pairs]
        claims.append(
            _claim(
                f"better than {rival} at no more computation",
                paper,
                [f"{_cost(one, base)} against {_cost(two, base)}" for one, two in pairs],
                bool(wins) and all(wins),
                bool(wins) and not any(wins),
            )
        )
    off = [layer for layers in results["off"].values() for layer in layers]
    quieter = [kind["silence"] - kind["speech"] for layer in off for kind in layer.values()]
    mean = sum(quieter) / max(len(quieter), 1)
    claims.append(
        _claim(
            "more is off in silence than in speech",
            "shown in figure 3",
            [f"{100 * mean:+.1f} points"],
            mean > 0,
            mean <= 0,
        )
    )
    ordered = sorted(gates.values(), key=lambda way: way["compute"])
    rates = [way["wer"]["value"] for way in ordered]
    falls = all(b <= a * 1.01 for a, b in itertools.pairwise(rates))
    claims.append(
        _claim("more computation never errs more", "one point a run", [], falls, not falls)
    )
    kept = [one["kept_of_counted"] for one in results["milliseconds"] if one["kept_of_counted"]]
    if streams:
        saved = {name: 1.0 - way["compute"] for name, way in gates.items()}
        kept = [streams["time"][name]["time_saving"] / saved[name] for name in gates]
    claims.append(
        _claim(
            "what is saved by count is saved in time (80 % of it)",
            "not measured",
            [f"{100 * value:.0f} %" for value in kept],
            bool(kept) and min(kept) >= 0.8,
            bool(kept) and min(kept) < 0.8,
        )
    )
    return claims


def render(results: Mapping[str, Any]) -> str:
    """Results as Markdown."""
    lines = [
        "# A compute dial, after the Compute Cost Amortized Transformer",
        "",
        f"{results['utterances']} utterances of {results['speakers']} speakers, read by one "
        f"search ({results['search']['kind']}, width {results['search']['width']}); "
        "intervals resample speakers. `compute` is the share of the dense encoder's "
        "multiply-accumulates, arbitrators included.",
        "",
        "| way | compute, % | WER, % | more errors than dense, % |",
        "|---|---|---|---|",
    ]
    lines += [_row(name, way) for name, way in results["ways"].items()]
    if results["noise_10_db"]:
        lines += ["", "In noise at 10 dB:", "", "| way | compute, % | WER, % | more errors, % |"]
        lines += ["|---|---|---|---|"]
        lines += [_row(name, way) for name, way in results["noise_10_db"].items()]
    if results.get("streams"):
        lines += _streams(results["streams"])
    lines += ["", "## The paper's claims", "", "| claim | paper | here | verdict |"]
    lines += ["|---|---|---|---|"]
    lines += [
        f"| {one['claim']} | {one['paper']} | {one['here']} | {one['verdict']} |"
        for one in results["claims"]
    ]
    lines += ["", "## Whom saving costs", ""]
    for values in results["groups"].values():
        for value, own in values.items():
            lines += [f"{value}, {own['speakers']} speakers:", ""]
            lines += ["| way | compute, % | WER, % | more errors, % |", "|---|---|---|---|"]
            lines += [_row(name, way) for name, way in own.items() if name != "speakers"] + [""]
    lines += ["## What is off, %", "", "| gates | layer | part | silence | speech |"]
    lines += ["|---|---|---|---|---|"]
    lines += [
        f"| {name} | {number + 1} | {part} | {100 * rate['silence']:.0f} | "
        f"{100 * rate['speech']:.0f} |"
        for name, layers in results["off"].items()
        for number, layer in enumerate(layers)
        for part, rate in layer.items()
    ]
    lines += ["", "## In time", "", "| asked | block, ms | counted saving, % | time saving, % |"]
    lines += ["|---|---|---|---|"]
    lines += [
        f"| {one['asked']} | {one['block_milliseconds']} | {100 * one['counted_saving']:.1f} | "
        f"{100 * one['time_saving']:.1f} |"
        for one in results["milliseconds"]
    ]
    return "\n".join(lines) + "\n"


def _streams(streams: Mapping[str, Any]) -> list[str]:
    """The dial as its users have it."""
    lines = [
        "",
        "## As streams, with right context and the search that the model ships with",
        "",
        "Here `compute` is the share of what right context computes; `time` is processor time of "
        "the encoder, all ways in turn; `delay` is how long words wait for being final.",
        "",
        "| way | compute, % | WER, % | more errors than all, % | time saved, % | delay, s |",
        "|---|---|---|---|---|---|",
    ]
    for name, way in streams["ways"].items():
        delay, saved = way.get("mean_final_delay_seconds"), streams["time"][name]["time_saving"]
        waits = "-" if delay is None else f"{delay:.2f}"
        lines.append(f"{_row(name, way, 'relative_to_all')} {100 * saved:.0f} | {waits} |")
    for values in streams["groups"].values():
        for value, own in values.items():
            lines += ["", f"{value}, {own['speakers']} speakers:", ""]
            lines += ["| way | compute, % | WER, % | more errors, % |", "|---|---|---|---|"]
            lines += [
                _row(name, way, "relative_to_all")
                for name, way in own.items()
                if name != "speakers"
            ]
    return lines


def _claim(claim: str, paper: str, here: list[str], holds: bool, fails: bool) -> dict[str, str]:
    verdict = "holds" if holds else "does not hold" if fails else "cannot tell"
    return {"claim": claim, "paper": paper, "here": "; ".join(here) or "-", "verdict": verdict}


def _cost(way: Mapping[str, Any], base: str) -> str:
    saved = 100 * (1 - way["compute"])
    return f"{saved:.1f} % at {100 * way[base]['value']:+.1f} %"


def _end(cost: Mapping[str, Any], which: str, unknown: float) -> float:
    """An end of the interval of what a way costs in errors."""
    found = cost[which]
    return unknown if found is None else found


def _row(name: str, way: Mapping[str, Any], base: str = "relative_to_dense") -> str:
    return (
        f"| {name} | {100 * way['compute']:.1f} | {_percent(way['wer'], '')} | "
        f"{_percent(way[base], '+')} |"
    )


def _percent(estimate: Mapping[str, Any], sign: str) -> str:
    value = format(100 * estimate["value"], f"{sign}.1f")
    if estimate["low"] is None:
        return value
    low, high = (format(100 * estimate[end], f"{sign}.1f") for end in ("low", "high"))
    return f"{value} [{low}, {high}]"
