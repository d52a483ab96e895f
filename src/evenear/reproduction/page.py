# SPDX-License-Identifier: Apache-2.0
"""The reproduction as one page: a single HTML file that needs no network and no script to read.

It wears the clothes of the audit's reports: the same style, the same bars for intervals.
"""

from importlib.resources import files
from typing import Any

from evenear.audit.report.rendering.page import environment, shell
from evenear.audit.report.rendering.scales import gap_scale
from evenear.audit.report.words import number_of
from evenear.reproduction import paper
from evenear.reproduction.claims import Claim, Judgement, Part
from evenear.reproduction.curves import panels
from evenear.reproduction.results import NOISY, REFERENCE, Results, to_json
from evenear.reproduction.scoring import CLEAN
from evenear.reproduction.statistics import Estimate

__all__ = ["headline", "render"]

_ENOUGH_SEEDS = 3

_KINDS: dict[Judgement, str] = {
    "holds": "better",
    "does not hold": "worse",
    "cannot tell": "unsure",
    "not measured": "unsure",
}


def render(results: Results) -> str:
    """The results as HTML."""
    template = files("evenear.reproduction").joinpath("templates", "page.html")
    text = template.read_text(encoding="utf-8")
    return environment().from_string(text).render(**_view(results), **shell(to_json(results)))


def headline(results: Results) -> str:
    """The finding in one sentence."""
    found = results.difference(CLEAN, "convrnn", REFERENCE)
    if found is None:
        return "ConvRNN-T and the RNN-T were not both trained"
    relative = found.relative
    more = "more" if relative.value > 0 else "fewer"
    size = f"{100 * abs(relative.value):.1f} % {more} word errors"
    if not _is_sure(relative):
        return f"No difference between ConvRNN-T and an RNN-T of equal size is sure ({size})"
    return f"ConvRNN-T makes {size} than an RNN-T of equal size"


def _view(results: Results) -> dict[str, Any]:
    against = [pair for pair in results.pairs if pair.reference == REFERENCE]
    others = [pair for pair in results.pairs if pair.reference != REFERENCE]
    shown = [pair for pair in others if pair.condition in (CLEAN, NOISY)]
    bounds = [
        bound
        for pair in (*against, *shown)
        for bound in (
            pair.difference.relative.value,
            pair.difference.relative.low,
            pair.difference.relative.high,
        )
    ]
    return {
        "results": results,
        "headline": headline(results),
        "claims": results.claims,
        "judged": _tally(results.claims),
        "notes": _notes(results),
        "against": against,
        "others": shown,
        "scale": gap_scale(bounds),
        "panels": panels(results.variants),
        "labels": paper.LABELS,
        "paper": paper,
        "is_sure": _is_sure,
        "side": _side,
        "judged_kind": lambda judgement: _KINDS[judgement],
        "part_text": _part_text,
        "milliseconds": lambda value: "–" if value is None else f"{value:,.0f}",
        "seconds": lambda value: "–" if value is None else f"{value:.4f}",
    }


def _notes(results: Results) -> list[str]:
    """What a reader must know before any number."""
    setting, notes = results.setting, []
    if setting.num_seeds < _ENOUGH_SEEDS:
        notes.append(
            f"Trained with {number_of(setting.num_seeds, 'seed')} only. Another seed moves an "
            "error rate, too, which no interval here covers: small differences may be its work."
        )
    if setting.shared_speakers:
        notes.append(
            f"{number_of(setting.shared_speakers, 'test speaker')} can be heard in the training "
            "data, too: their words are easier than a stranger's."
        )
    if setting.shared_sentences:
        notes.append(
            f"{setting.shared_sentences:,} of {setting.num_utterances:,} test utterances are "
            "sentences that the training data has, too: they are easier than new ones."
        )
    return notes


def _tally(claims: tuple[Claim, ...]) -> str:
    """How many claims got which verdict, in words."""
    many = {"holds": "hold", "does not hold": "do not hold", "cannot tell": "cannot be told"}
    few = {"cannot tell": "cannot be told"}
    counts = {kind: sum(claim.judgement == kind for claim in claims) for kind in _KINDS}
    return ", ".join(
        f"{count} {(few if count == 1 else many).get(kind, kind)}"
        for kind, count in counts.items()
        if count
    )


def _is_sure(estimate: Estimate) -> bool:
    """Whether an interval leaves zero out."""
    if estimate.low is None or estimate.high is None:
        return False
    return estimate.low > 0 or estimate.high < 0


def _side(estimate: Estimate) -> str:
    """The color of a difference: errors are bad."""
    if not _is_sure(estimate):
        return "unsure"
    return "worse" if estimate.value > 0 else "better"


def _part_text(part: Part) -> str:
    """What was found of a part, with its interval."""
    one = part.estimate
    if one is None:
        return "not measured"
    digits, unit = (1, " %") if part.kind == "relative" else (2, "")
    texts = [
        "?" if value is None else f"{100 * value:+.{digits}f}".replace("-", "−")
        for value in (one.value, one.low, one.high)
    ]
    return f"{texts[0]}{unit} ({texts[1]} to {texts[2]})"
