# SPDX-License-Identifier: Apache-2.0
"""The study as one page of Markdown: what was asked, what was found, how sure it is."""

from collections.abc import Mapping
from typing import Any

__all__ = ["render"]


def render(results: Mapping[str, Any]) -> str:
    """Results as Markdown."""
    lines = [
        "# Adversarial reweighting for speaker verification, made again small",
        "",
        f"{results['train_speakers']} speakers to learn from, {results['test_speakers']} others to "
        f"test on, {results['seeds']} seeds, {results['draws_of_speakers']} draws of speakers. The "
        "network is a small one over 192 numbers of each utterance, not over its frames; the "
        "losses are the published ones, as we read them. The training process is given no "
        "attribute of anybody.",
        "",
        "## Equal error rates, % (mean over seeds, 95 % interval over speakers)",
        "",
    ]
    variants = results["variants"]
    groups = list(next(iter(variants.values()))["eer"])
    lines += _table(
        ["variant", *groups, "overall against control"],
        [_variant(one, groups) for one in variants.values()],
    )
    lines += [
        "",
        "The control of a variant has the same loss and mean weight, and nobody weighs.",
        "",
        *_table(
            ["variant", "effective share of a batch", "largest weight, %", "weights with losses"],
            [_spread(variants[name]["label"], one) for name, one in results["weighing"].items()],
        ),
        "",
        "Of each run's last batch, seed by seed: effective size (sum of weights)^2 / sum of "
        "squared weights as a share of the batch, 1 if all weigh alike; the correlation of weights "
        "and losses. An adversary whose share is below 0.1 has collapsed onto a few utterances.",
        "",
        "## The paper's claims",
        "",
    ]
    lines += _table(
        ["claim", "paper", "here, relative", "verdict", "would be seen from"],
        [_claim(claim) for claim in results["claims"]],
    )
    lines += [
        "",
        "The last column is the relative change that four of five such studies would show. A claim "
        "whose published size lies below it cannot be judged by this study, whatever it shows.",
        "",
        "## A hidden group, planted",
        "",
        "A random fifth of the speakers speaks through a channel that loses the upper half of the "
        "mel bins in noise. Nobody tells the training who they are.",
        "",
    ]
    head = [
        "variant",
        "EER, all",
        "EER, bad channel",
        "its change",
        "its rank by weight",
        "its training loss, and that of the others",
    ]
    lines += _table(head, [_planted(one) for one in results["planted"].values()])
    lines += [
        "",
        "The rank is that of the hidden group's mean adversary score among the groups of speakers, "
        "for each seed: 1 is the most weight. The last row knows who is hidden: an adversary could "
        "at best do as well. Losses are those of the last quarter of training.",
        "",
        "The same with a network too narrow for everyone:",
        "",
    ]
    lines += _table(head, [_planted(one) for one in results["planted_narrow"].values()])
    lines += [
        "",
        "A channel that takes nothing from a voice, but colors each recording in another way:",
        "",
    ]
    lines += _table(head, [_planted(one) for one in results["planted_colored"].values()])
    lines.append("")
    return "\n".join(lines)


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def _variant(one: Mapping[str, Any], groups: list[str]) -> list[str]:
    rates = [_rate(one, group) for group in groups]
    return [one["label"], *rates, _change(one["overall_against_control"])]


def _rate(one: Mapping[str, Any], group: str) -> str:
    low, high = one["interval"][group]
    return f"{100 * one['eer'][group]:.2f} [{100 * low:.2f}, {100 * high:.2f}]"


def _change(found: Mapping[str, float] | None) -> str:
    if found is None:
        return ""
    return f"{100 * found['value']:+.1f} % [{100 * found['low']:+.1f}, {100 * found['high']:+.1f}]"


def _claim(claim: Mapping[str, Any]) -> list[str]:
    published = "" if claim["paper"] is None else f"{100 * claim['paper']:+.1f} %"
    found = claim["found"]
    seen = "" if found is None else f"{100 * found['detectable']:.1f} %"
    return [claim["title"], published, _change(found), claim["judgement"], seen]


def _spread(label: str, one: Mapping[str, Any]) -> list[str]:
    shares = ", ".join(f"{share:.2f}" for share in one["effective_share"])
    largest = ", ".join(f"{100 * share:.1f}" for share in one["largest_share"])
    return [label, shares, largest, ", ".join(f"{r:+.2f}" for r in one["correlation_with_loss"])]


def _planted(one: Mapping[str, Any]) -> list[str]:
    rates = [f"{100 * one['eer'][group]:.2f}" for group in ("all", "channel: bad")]
    against = _change(one.get("hidden_group"))
    ranks = ", ".join(map(str, one.get("rank_of_hidden_group", [])))
    loss = one["training_loss"]
    losses = f"{loss['hidden group']:.2f}, {loss['others']:.2f}"
    return [one["label"], *rates, against, ranks, losses]
