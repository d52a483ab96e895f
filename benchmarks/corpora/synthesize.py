# SPDX-License-Identifier: Apache-2.0
"""Speak prompts with a free synthesizer, as many made-up speakers, into a folder of labeled speech.

Lines are appended to `utterances.jsonl` only when their audio is complete, so that a training may
read what exists while more is made. The same seed gives each prompt the same speaker, whatever
the order; a second run goes on where the first one stopped. Everything is labeled synthesized.

Run: python synthesize.py ENGINE --prompts PROMPTS_JSONL --out DIR --hours 10
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
from voices import ENGINES, Engine, Samples, Speaker, speakers_of

from evenear.seeding import rng_for

__all__ = ["Job", "flaw_of", "jobs", "main", "render"]

SAMPLE_RATE = 16_000
FAMILIAR = ("speechocean762 train", "Common Voice prompts")


class Job(NamedTuple):
    """One utterance to make."""

    utterance_id: str
    text: str
    speaker: Speaker


def jobs(prompts: Path, engine: str, seed: int) -> Iterator[Job]:
    """Every utterance this engine shall speak, those of the wanted kind of speech mostly first."""
    speakers = speakers_of(engine, seed)
    order: list[tuple[float, str, str]] = []
    for line in prompts.read_text().splitlines():
        row = json.loads(line)
        for repeat in range(row["repeats"]):
            digest = hashlib.blake2b(f"{row['text']}/{repeat}".encode(), digest_size=6).hexdigest()
            utterance_id = f"{engine}-{digest}"
            place = rng_for(seed, "place", utterance_id).random()
            order.append(
                (place / (2.5 if row["source"] in FAMILIAR else 1), utterance_id, row["text"])
            )
    for _, utterance_id, text in sorted(order):
        who = rng_for(seed, "who", utterance_id).integers(len(speakers))
        yield Job(utterance_id, text, speakers[who])


def spoken(text: str, speaker: Speaker, rng: np.random.Generator) -> str:
    """The words as an engine wants them: lower case, a comma where the speaker hesitates."""
    words = [
        ("I" + word[1:].lower()) if word.split("'")[0] == "I" else word.lower()
        for word in text.split()
    ]
    pauses = rng.random(len(words)) < speaker.hesitation
    return " ".join(w + ("," if p else "") for w, p in zip(words, pauses, strict=True)).rstrip(",")


def render(job: Job, engine: Engine, rng: np.random.Generator) -> Samples:
    """The utterance at 16 kHz: scaled voice, tilted spectrum, own level, quiet before and after."""
    speaker = job.speaker
    speech = engine.speak(spoken(job.text, speaker, rng), speaker)
    samples = soxr.resample(speech.samples, speech.sample_rate * speaker.tract, SAMPLE_RATE, "HQ")
    tilted = samples.copy()
    tilted[1:] -= speaker.tilt * samples[:-1]
    quiet_samples = (rng.uniform(0.05, 0.5, size=2) * SAMPLE_RATE).astype(int)
    padded = np.pad(tilted, tuple(quiet_samples))
    peak = 10 ** (rng.uniform(-14, -2) / 20)
    padded *= peak / max(float(np.abs(padded).max()), 1e-6)
    hiss = 10 ** (rng.uniform(-85, -62) / 20)
    return (padded + hiss * rng.standard_normal(len(padded))).astype(np.float32)


def flaw_of(samples: Samples, text: str) -> str | None:
    """Why this rendering must be dropped, if it must."""
    seconds = len(samples) / SAMPLE_RATE
    if not 0.8 <= seconds <= 15:
        return "length"
    if not 0.03 <= seconds / len(text) <= 0.5:
        return "pace"
    if float(np.sqrt(np.mean(samples**2))) < 0.004:
        return "silent"
    if float(np.mean(np.abs(samples) > 0.99 * np.abs(samples).max())) > 0.01:
        return "clipped"
    return None


def write_audio(path: Path, samples: Samples) -> None:
    """Write whole files only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    soundfile.write(partial, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    partial.replace(path)


def already(manifest: Path) -> tuple[set[str], float]:
    """Ids and seconds of complete lines; a torn last line is cut away."""
    if not manifest.exists():
        return set(), 0.0
    content = manifest.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        os.truncate(manifest, len(whole))
    rows = [json.loads(line) for line in whole.splitlines()]
    return {row["utterance_id"] for row in rows}, sum(row["seconds"] for row in rows)


def make(args: argparse.Namespace) -> None:
    """Speak until the wanted hours exist or prompts run out."""
    folder = args.out / args.engine
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / "utterances.jsonl"
    done, seconds = already(manifest)
    engine = ENGINES[args.engine]()
    flaws: Counter[str] = Counter()
    start, at_start, made = time.monotonic(), seconds, 0
    with manifest.open("a", encoding="utf-8") as file:
        for job in jobs(args.prompts, args.engine, args.seed):
            if seconds >= args.hours * 3600:
                break
            if job.utterance_id in done:
                continue
            try:
                samples = render(job, engine, rng_for(args.seed, "render", job.utterance_id))
            except (
                subprocess.CalledProcessError,
                RuntimeError,
                soundfile.LibsndfileError,
            ) as error:
                flaws[type(error).__name__] += 1
                continue
            flaw = flaw_of(samples, job.text)
            if flaw:
                flaws[flaw] += 1
                continue
            audio = Path("audio") / job.speaker.name / f"{job.utterance_id}.flac"
            write_audio(folder / audio, samples)
            row = {
                "utterance_id": job.utterance_id,
                "speaker": job.speaker.name,
                "text": job.text,
                "audio": str(audio),
                "seconds": round(len(samples) / SAMPLE_RATE, 3),
                "synthesized": True,
                "engine": args.engine,
            }
            file.write(json.dumps(row) + "\n")
            done.add(job.utterance_id)
            seconds += row["seconds"]
            made += 1
            if made % 50 == 0:
                file.flush()
                spent = time.monotonic() - start
                rate = (seconds - at_start) / spent
                report = f"{seconds / 3600:.2f} h, {rate:.1f} x real time, dropped {dict(flaws)}"
                print(report, file=sys.stderr, flush=True)


def main() -> None:
    """Read the command line and make speech."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n\n")[0])
    parser.add_argument("engine", choices=sorted(ENGINES))
    parser.add_argument("--prompts", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    make(parser.parse_args())


if __name__ == "__main__":
    main()
