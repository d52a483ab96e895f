# SPDX-License-Identifier: Apache-2.0
"""Are the words that matter heard in everyday speech that is not like the training?

Picovoice's crowd-sourced coffee orders come without transcripts but with the slots that were
ordered. Every fifth recording is kept out of training (`corpora/picovoice.py` marks it `test`). The
share of their slot words that stand in what a recognizer wrote is the answer, pooled, with an
interval that resamples recordings (speakers are not known). Whisper's digits become words.

    python benchmarks/slots.py --orders orders.jsonl --environments CACHE \
        --out benchmarks/results/slots.json

Legend: R recordings.
"""

import argparse
import itertools
import json
import platform
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evenear.audio import read_audio
from evenear.errors import ConfigError
from evenear.seeding import rng_for
from evenear.streaming import Recognizer
from peer_runners.environments import PEERS, PeerProcess
from peer_runners.spoken_numbers import spoken

WHISPERS = ("Whisper tiny.en", "Whisper base")


def words(text: str) -> Counter[str]:
    """Words in capitals, counted."""
    return Counter(re.sub(r"[^A-Z' ]", " ", spoken(text).upper().replace("-", " ")).split())


def found(slots: dict[str, str], text: str) -> tuple[int, int]:
    """Slot words that were heard, and slot words."""
    wanted, heard = Counter[str](), words(text)
    for value in slots.values():
        wanted += words(value)
    return sum((wanted & heard).values()), sum(wanted.values())


def share(counts: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """The pooled share with a bootstrap interval over recordings."""
    pairs_R2 = np.array(counts)
    rng = rng_for(0, "slots")
    picks = rng.integers(len(pairs_R2), size=(2000, len(pairs_R2)))
    sums = pairs_R2[picks].sum(axis=1)
    low, high = np.percentile(sums[:, 0] / sums[:, 1], [2.5, 97.5])
    heard, wanted = pairs_R2.sum(axis=0).tolist()
    return {
        "heard": heard,
        "slot_words": wanted,
        "share": heard / wanted,
        "low": float(low),
        "high": float(high),
    }


def share_known(known: Sequence[str], kept: Sequence[dict[str, Any]]) -> float:
    """The share of slot words that are among some words: more than that cannot be heard."""
    among, wanted = {word.upper() for word in known}, Counter[str]()
    for row in kept:
        for value in json.loads(row["slots"]).values():
            wanted += words(value)
    return sum(n for word, n in wanted.items() if word in among) / sum(wanted.values())


def main() -> None:
    """Hear, count, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--orders", type=Path, required=True)
    parser.add_argument("--models", nargs="*", default=["evenear-en", "evenear-en-small"])
    parser.add_argument("--compute", type=float, nargs="*", default=[1.0], help="asked of a dial")
    parser.add_argument("--peers", nargs="*", default=list(WHISPERS))
    parser.add_argument("--environments", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    rows = [json.loads(line) for line in args.orders.read_text().split("\n") if line]
    kept = [row for row in rows if row["split"] == "test"]
    results: dict[str, Any] = {}

    def measure(name: str, hear: Callable[[str, np.ndarray], str]) -> None:
        counts = []
        for row in kept:
            slots = json.loads(row["slots"])
            counts.append(found(slots, hear(row["utterance_id"], read_audio(row["audio"]))))
        results[name] = share(counts)
        print(name, results[name], flush=True)

    for model, compute in itertools.product(args.models, args.compute):
        try:
            recognizer = Recognizer.load(model, threads=1, compute=compute)
        except ConfigError:
            continue  # no dial

        def ours(_: str, samples_N: np.ndarray, recognizer: Recognizer = recognizer) -> str:
            stream = recognizer.stream()
            events = [
                event
                for start in range(0, len(samples_N), 5120)
                for event in stream.accept(samples_N[start : start + 5120])
            ] + stream.finish()
            return " ".join(e.text for e in events if type(e).__name__ == "Final")

        name = model if compute == 1.0 else f"{model}, compute {compute}"
        measure(name, ours)
        if recognizer.bundle.words is not None:
            results[name]["share_known"] = share_known(recognizer.bundle.words.words, kept)
    for peer in PEERS:
        if peer.name in args.peers:
            with PeerProcess(peer, args.environments) as process:
                measure(peer.name, lambda name, heard_N, p=process: p.hear(name, heard_N).text)
    report = {
        "question": (__doc__ or "").splitlines()[0],
        "command": "python benchmarks/slots.py --orders orders.jsonl --environments CACHE",
        "machine": f"{platform.machine()}, one thread, torch {torch.__version__}",
        "recordings": len(kept),
        "results": results,
    }
    args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
