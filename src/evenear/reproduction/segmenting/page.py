# SPDX-License-Identifier: Apache-2.0
"""The study as one page: a single HTML file that needs no network and no script to read."""

import json
from collections import Counter
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from evenear.audit.report.rendering.page import environment, shell
from evenear.reproduction.segmenting.variants import VARIANTS

__all__ = ["headline", "render"]

_ENOUGH_SEEDS = 3
_ORDER = (
    "all",
    "no overlap",
    "overlap up to 20 %",
    "overlap 20 to 40 %",
    "overlap over 40 %",
    "one or two turns",
    "more than two turns",
)
_LATENCIES = ("end_of_turn", "last_word", "start_of_turn", "first_word")


def render(results: Mapping[str, Any]) -> str:
    """The results as HTML."""
    template = files("evenear.reproduction.segmenting").joinpath("templates", "page.html")
    text = template.read_text(encoding="utf-8")
    view = {
        "headline": headline(results),
        "notes": _notes(results),
        "claims": [_claim(one) for one in results["claims"]],
        "tables": [
            _table(results, "orc_wer", "ORC-WER, %"),
            _table(results, "turns_right", "Turns counted right, %"),
            _table(results, "deleted", "Words deleted, %"),
            _table(results, "inserted", "Words inserted, %"),
        ],
        "delays": [_delays(name, one) for name, one in results["variants"].items()],
        "methods": _methods(results),
        "command": results["command"],
    }
    data = json.dumps(results, ensure_ascii=False)
    return environment().from_string(text).render(**view, **shell(data))


def headline(results: Mapping[str, Any]) -> str:
    """The finding in one sentence."""
    tally = Counter(claim["verdict"] for claim in results["claims"])
    named = ("holds", "does not hold", "cannot tell", "not measured")
    said = ", ".join(f"{tally[name]}: {name}" for name in named if tally[name])
    return f"Of the paper's {len(results['claims'])} claims, {said}"


def _notes(results: Mapping[str, Any]) -> list[str]:
    """What a reader must know before any number."""
    seeds = [one["seeds"] for one in results["variants"].values()]
    notes = []
    if not seeds or min(seeds) < _ENOUGH_SEEDS:
        notes.append(
            "Some variants were trained from fewer than three seeds. Another seed moves every "
            "number, too, which no interval here covers: small differences may be its work."
        )
    missing = [v.label for name, v in VARIANTS.items() if name not in results["variants"]]
    if missing:
        notes.append(f"Not trained yet: {', '.join(missing)}.")
    notes.append(
        "The models are a thousandth of the paper's size and heard minutes, not days; only the "
        "order of variants can be compared with the paper."
    )
    return notes


def _methods(results: Mapping[str, Any]) -> list[str]:
    setting = results["setting"]
    heard = []
    if setting.get("words_of_turn"):
        least, most = setting["words_of_turn"]
        heard.append(f"A turn is {least} to {most} recorded words of one speaker, said together.")
    if setting.get("hears_with"):
        heard.append(
            f"All models read what the encoder of {setting['hears_with']}, which stays as it is, "
            "makes of the mixture, a frame each 60 ms; buffers are of such frames."
        )
    return [
        *heard,
        f"Trained on conversations of {setting['train_recordings']} recordings of "
        f"{setting['train_speakers']} speakers, tested on {setting['mixtures']} conversations of "
        f"{setting['test_recordings']} recordings of {setting['test_speakers']} others; no rooms, "
        "no noise. mixtures.jsonl holds recordings, offsets and levels of each, so anyone can "
        "make the same sound.",
        f"Each seed has a model of single talkers ({setting['first_updates']} updates); all "
        f"variants of the seed begin with it and take {setting['updates']} updates more. Search "
        "is greedy. A turn is counted where a channel has words between two marks.",
    ]


def _claim(one: Mapping[str, Any]) -> list[str]:
    single = " · ".join(f"{value:+.1f}" for value in one.get("single_seeds", ()))
    return [one["claim"], one["paper"], one["here"], single, one["verdict"]]


def _table(
    results: Mapping[str, Any], rate: str, title: str
) -> tuple[str, list[str], list[list[str]]]:
    variants = results["variants"]
    groups = [g for g in _ORDER if any(g in one["by_condition"] for one in variants.values())]
    heads = ["Variant"]
    for group in groups:
        mixtures = max(
            one["by_condition"].get(group, {}).get("mixtures", 0) for one in variants.values()
        )
        heads.append(f"{group} ({mixtures})")
    rows = []
    for name, one in variants.items():
        found = [one["by_condition"].get(group, {}).get(rate) for group in groups]
        rows.append([f"{VARIANTS[name].label}, {one['seeds']} seeds", *map(_percent, found)])
    return title, heads, rows


def _percent(found: Mapping[str, float] | None) -> str:
    if found is None:
        return "–"
    return f"{100 * found['value']:.1f} [{100 * found['low']:.1f}, {100 * found['high']:.1f}]"


def _delays(name: str, one: Mapping[str, Any]) -> list[str]:
    found = one["latency_milliseconds"]
    cells = [
        "–" if not found[key]["turns"] else f"{found[key]['p50']:.0f}, {found[key]['p90']:.0f}"
        for key in _LATENCIES
    ]
    return [VARIANTS[name].label, *cells, str(found["last_word"]["turns"])]
