# SPDX-License-Identifier: Apache-2.0
"""How long does a chunk take, for one listener or many, in steady talk and for hours?

Joins utterances of a split without a pause between them into one endless talk for each listener,
feeds all listeners a chunk at a time through one recognizer, and times every chunk: on the clock,
and of the processor alone, which other work on the machine disturbs less. Memory is read once a
minute of sound. A model of two talkers hears simulated conversations, one after another.

    python benchmarks/streams.py --data CORPORA/speechocean762 --streams 16 --minutes 5
    python benchmarks/streams.py --data CORPORA/speechocean762 --minutes 30
    evenear data simulate CORPORA/speechocean762 --split test --mixtures 60 --seed 1 --out TALKS
    python benchmarks/streams.py --two-talkers --data TALKS --model evenear-en-duo --minutes 60
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evenear.audio import read_audio
from evenear.evaluation import draw_utterances, load_utterances
from evenear.search import BeamConfig
from evenear.streaming import Recognizer
from evenear.streaming.twotalkers.recognizer import TwoTalkerRecognizer
from evenear.units import SAMPLE_RATE

WARM_CHUNKS = 20
"""The first chunks of a process allocate and compile; they are counted apart."""


def talk(recordings: list[Any], start: int, num_samples: int) -> Iterator[np.ndarray]:
    """Chunks of one listener: recording after recording, for ever."""
    left_N = np.zeros(0, np.float32)
    for recording in cycle([*recordings[start:], *recordings[:start]]):
        samples_N = read_audio(recording)
        left_N = np.concatenate([left_N, samples_N])
        while len(left_N) >= num_samples:
            yield left_N[:num_samples]
            left_N = left_N[num_samples:]


def measure(
    recognizer: Recognizer | TwoTalkerRecognizer,
    recordings: list[Any],
    *,
    num_streams: int,
    minutes: float,
    chunk_seconds: float,
) -> dict[str, Any]:
    """Time every chunk of `minutes` of talk of `num_streams` listeners."""
    num_samples = round(chunk_seconds * SAMPLE_RATE)
    step = max(1, len(recordings) // num_streams)
    talks = [talk(recordings, b * step, num_samples) for b in range(num_streams)]
    streams = [recognizer.stream() for _ in talks]
    resident = []
    clock, processor, num_events = [], [], 0
    for number in range(WARM_CHUNKS + round(60 * minutes / chunk_seconds)):
        chunks = [next(talk) for talk in talks]
        at, spent = time.perf_counter(), time.process_time()
        if isinstance(recognizer, Recognizer):
            events = recognizer.advance(streams, chunks)
        else:
            pairs = zip(streams, chunks, strict=True)
            events = [stream.accept(chunk) for stream, chunk in pairs]
        clock.append(time.perf_counter() - at)
        processor.append(time.process_time() - spent)
        num_events += sum(map(len, events))
        if number % max(1, round(60 / chunk_seconds)) == 0:
            resident.append(resident_mib())
    clock, processor = clock[WARM_CHUNKS:], processor[WARM_CHUNKS:]
    heard = len(clock) * chunk_seconds * num_streams
    return {
        "streams": num_streams,
        "minutes": minutes,
        "chunk_seconds": chunk_seconds,
        "events": num_events,
        "clock_milliseconds": quantiles(clock),
        "processor_milliseconds": quantiles(processor),
        "real_time_factor": {"clock": sum(clock) / heard, "processor": sum(processor) / heard},
        "resident_mib": resident,
    }


def resident_mib() -> int:
    """Memory of this process now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return round(pages * resource.getpagesize() / 2**20)


def quantiles(seconds: list[float]) -> dict[str, float]:
    """Median, 95th percentile and maximum, in milliseconds."""
    p50, p95, worst = np.quantile(seconds, [0.5, 0.95, 1.0]) * 1000
    return {"p50": round(p50, 1), "p95": round(p95, 1), "max": round(worst, 1)}


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--model", default="evenear-en")
    parser.add_argument("--block", type=int, help="milliseconds that the encoder sees together")
    parser.add_argument("--right", type=int, help="milliseconds behind a block that it waits for")
    parser.add_argument("--two-talkers", action="store_true", help="DATA: simulated conversations")
    parser.add_argument("--greedy", action="store_true", help="greedy search instead of words")
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--chunk", type=float, default=0.16, help="seconds")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON; a report with the same name is added to")
    args = parser.parse_args()
    recognizer: Recognizer | TwoTalkerRecognizer
    if args.two_talkers:
        recordings: list[Any] = sorted((args.data / "audio").glob("*.wav"))
        recognizer = TwoTalkerRecognizer.load(
            args.model, use_words=not args.greedy, threads=args.threads
        )
    else:
        utterances = load_utterances(args.data, split=args.split)
        recordings = [u.audio for u in draw_utterances(utterances, 400, seed=args.seed)]
        recognizer = Recognizer.load(
            args.model,
            beam=BeamConfig(width=1) if args.greedy else None,
            block_milliseconds=args.block,
            right_milliseconds=args.right,
            threads=args.threads,
        )
    found = measure(
        recognizer,
        recordings,
        num_streams=args.streams,
        minutes=args.minutes,
        chunk_seconds=args.chunk,
    )
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    command = f"python benchmarks/streams.py --data {args.data.name} --model {args.model} "
    command += f"--streams {args.streams} --minutes {args.minutes:g} --chunk {args.chunk:g}"
    command += f" --threads {args.threads}" + (" --greedy" if args.greedy else "")
    command += f" --block {args.block}" if args.block else ""
    command += f" --right {args.right}" if args.right is not None else ""
    command += " --two-talkers" if args.two_talkers else ""
    found = {
        "command": command,
        "commit": commit,
        "machine": f"{platform.machine()}, torch {torch.__version__}",
        **found,
    }
    print(json.dumps(found, indent=1))
    if args.out is not None:
        reports = json.loads(args.out.read_text()) if args.out.is_file() else []
        reports = [r for r in reports if r["command"] != command] + [found]
        args.out.write_text(json.dumps(reports, indent=1) + "\n", encoding="utf-8")
        print(f"written: {args.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
