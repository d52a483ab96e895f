# SPDX-License-Identifier: Apache-2.0
"""Does the verifier notice a recording of two people, and leave one of one person alone?

    python benchmarks/two_voices.py --data CORPORA/speechocean762 --data CORPORA/kokoro-english \
        --out benchmarks/results/two_voices.json

The speakers are those that the recipe `evenear-speaker` holds out of the data that it was given.
Recordings of one are four of a speaker's sentences joined; those of two, two of each of two.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

from evenear.atomic import write_bytes
from evenear.audio import read_audio
from evenear.data.corpora.manifests import Utterance
from evenear.recipes.speaker import recipe
from evenear.seeding import rng_for
from evenear.training.runs.preparation import Source, split_speakers
from evenear.training.runs.speaker import read_voices
from evenear.verification import Embedder
from evenear.verification.listening import TWO_VOICES

__all__ = ["main"]

_EACH = 3


def _joined(rows: list[Utterance]) -> np.ndarray:
    return np.concatenate([read_audio(row.audio) for row in rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--model", default="evenear-speaker")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    settings = recipe().data
    known = read_voices([Source(path) for path in options.data], settings.excluded_splits)
    _, held_out = split_speakers(known, settings.dev_speakers, seed=options.seed)
    by_speaker: dict[str, list[Utterance]] = defaultdict(list)
    for row in held_out:
        by_speaker[row.speaker].append(row)
    embedder, rng = Embedder.load(options.model), rng_for(options.seed, "pairs")
    scores: dict[str, list[float | None]] = {"one": [], "two": []}
    for name, rows in by_speaker.items():
        others = [other for other in by_speaker if other != name]
        for number in range(_EACH):
            scores["one"].append(embedder.parts_score(_joined(rows[4 * number : 4 * number + 4])))
        for other in rng.choice(others, _EACH, replace=False):
            mixed = _joined(rows[:2] + by_speaker[str(other)][:2])
            scores["two"].append(embedder.parts_score(mixed))
    found = {
        kind: {
            "recordings": len(values),
            "below_threshold": sum(v is not None and v < TWO_VOICES for v in values),
            "least": min((v for v in values if v is not None), default=None),
            "scores": values,
        }
        for kind, values in scores.items()
    }
    result = {
        "command": "python benchmarks/two_voices.py "
        + " ".join(f"--data CORPORA/{path.name}" for path in options.data),
        "model_version": embedder.version,
        "speakers": len(by_speaker),
        "threshold": TWO_VOICES,
        **found,
    }
    write_bytes(options.out, (json.dumps(result, indent=2) + "\n").encode())
    for kind, row in found.items():
        print(f"{kind}: {row['below_threshold']} of {row['recordings']} below {TWO_VOICES}")


if __name__ == "__main__":
    main()
