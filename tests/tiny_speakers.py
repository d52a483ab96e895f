# SPDX-License-Identifier: Apache-2.0
"""Speakers who are buzzes: each has a pitch and a resonance of its own, so voices can be learned.

Dimensions: N audio samples.
"""

import json
from pathlib import Path

import numpy as np

from evenear.audio import write_audio
from evenear.seeding import rng_for

__all__ = ["buzz", "write_speakers"]


def buzz(speaker: int, take: int, seconds: float = 1.0) -> np.ndarray:
    """A second of a voice: a pulse train through a resonance, in syllables, with some noise."""
    rng = rng_for(0, "buzz", (speaker, take))
    num_samples = round(seconds * 16_000)
    time_N = np.arange(num_samples) / 16_000
    pitch = 90.0 + 37.0 * (speaker % 5)
    formant = 500.0 + 310.0 * (speaker % 7)
    wave_N = np.zeros(num_samples)
    for harmonic in range(1, int(4000 / pitch)):
        hz = harmonic * pitch * (1 + 0.01 * rng.standard_normal())
        gain = 1.0 / (1.0 + ((hz - formant) / 200.0) ** 2)
        wave_N += gain * np.sin(2 * np.pi * hz * time_N + rng.uniform(0, 6))
    rate, phase = rng.uniform(3, 5), rng.uniform(0, 6)
    syllables_N = 0.15 + np.square(np.sin(np.pi * rate * time_N + phase))
    wave_N = wave_N * syllables_N + 0.02 * rng.standard_normal(num_samples)
    return (0.2 * wave_N / np.abs(wave_N).max()).astype(np.float32)


def write_speakers(folder: Path, num_speakers: int = 8, num_each: int = 4) -> Path:
    """A corpus of buzzing speakers, half of them women and half of each old; its manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for speaker in range(num_speakers):
        for take in range(num_each):
            name = f"s{speaker}-{take}"
            write_audio(folder / f"{name}.wav", buzz(speaker, take), sample_rate=16_000)
            rows.append(
                {
                    "utterance_id": name,
                    "speaker": f"s{speaker}",
                    "text": "BUZZ",
                    "audio": f"{name}.wav",
                    "seconds": 1.0,
                    "gender": "female" if speaker % 2 else "male",
                    "age": 8 if speaker % 4 < 2 else 30,
                }
            )
    manifest = folder / "utterances.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return manifest
