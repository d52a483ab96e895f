# SPDX-License-Identifier: Apache-2.0
"""What `evenear calibrate` does between reading a manifest and printing a table.

Legend: N trials, B recordings, D width of a vector.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evenear.errors import EvenearError, ManifestError
from evenear.verification.trials import Design, Sample

if TYPE_CHECKING:
    from evenear.verification import Embedder, Thresholding

__all__ = ["heard_samples", "lines", "scored"]


def heard_samples(
    embedder: "Embedder",
    manifest: Path,
    split: str | None,
    attributes: Sequence[str],
    *,
    progress: Callable[[], None],
) -> tuple[list[Sample], np.ndarray, list[str]]:
    """Recordings with enough speech, their vectors (B, D), and why others were left out.

    Raises:
        ManifestError: Nothing is left, or an attribute is unknown.
    """
    from evenear.audio import read_audio
    from evenear.data.corpora.manifests import load_cuts, utterance
    from evenear.units import SAMPLE_RATE

    samples, vectors, failures = [], [], []
    for cut in iter(load_cuts(manifest)):
        one = utterance(cut)
        if split is not None and one.attributes.get("split") != split:
            continue
        missing = [name for name in attributes if name not in one.attributes]
        if missing:
            raise ManifestError(
                f"{one.utterance_id!r} does not say its {missing[0]}.",
                hint="Its attributes: " + (", ".join(sorted(one.attributes)) or "none"),
            )
        try:
            samples_N = read_audio(one.audio)
            if one.is_partial:
                first = round(one.start_seconds * SAMPLE_RATE)
                samples_N = samples_N[first : first + round(one.seconds * SAMPLE_RATE)]
            voice = embedder.embed(samples_N, name=one.utterance_id)
        except EvenearError as error:
            failures.append(error.message)
            continue
        known = {name: str(one.attributes[name]) for name in attributes}
        samples.append(Sample(one.utterance_id, one.speaker, one.seconds, known))
        vectors.append(voice.vector)
        progress()
    if not samples:
        why = f" The first failure: {failures[0]}" if failures else ""
        raise ManifestError(f"No recording of {manifest} could be used.{why}")
    return samples, np.stack(vectors), failures


def scored(design: Design, vectors_BD: np.ndarray) -> np.ndarray:
    """Scores of trials, (N,)."""
    return np.einsum("nd,nd->n", vectors_BD[design.first_N], vectors_BD[design.second_N])


def lines(found: "Thresholding") -> list[str]:
    """A calibration in words and a table."""
    text = [
        f"{found.speakers} speakers, {found.targets} pairs of the same and {found.others} of "
        f"different speakers; EER {100 * found.eer:.2f} %"
    ]
    if found.threshold is None:
        text.append(f"No threshold: {found.why_none}")
    else:
        text.append(
            f"Threshold {found.threshold:.4f}: at most {100 * found.false_accept_rate:g} % of "
            "pairs of different speakers are accepted."
        )
    text.append("Turned away at it, of pairs of the same speaker (95 % interval over speakers):")
    for row in found.groups:
        rate = "-" if row.rate is None else f"{100 * row.rate:.1f} %"
        bounds = ""
        if row.low is not None and row.high is not None:
            bounds = f" [{100 * row.low:.1f}, {100 * row.high:.1f}]"
        text.append(f"  {row.group}: {rate}{bounds}, {row.speakers} speakers, {row.targets} pairs")
    return text
