# SPDX-License-Identifier: Apache-2.0
"""A corpus of noise, of which a random model hears something: not what its texts say."""

from pathlib import Path
from typing import Any

import soundfile

from laws import random_sound
from tiny_corpora import write_json_lines

__all__ = ["rows_of", "write_noise_corpus"]

TEXTS = ("T t, t?", "", "A TA A", "“Wait” PPPP", "THE MOON T T T TPPPP", "AND A DOG")


def rows_of(num_utterances: int = 6) -> list[dict[str, Any]]:
    """Rows of three speakers, one of whom did not give an age."""
    ages = {"ann": 9, "bob": 31, "cy": None}
    genders = {"ann": "female", "bob": "male", "cy": "female"}
    return [
        {
            "utterance_id": f"u{k}",
            "speaker": speaker,
            "text": TEXTS[k % len(TEXTS)],
            "audio": f"u{k}.wav",
            "seconds": 1.0 + k / 10,
            "age": ages[speaker],
            "gender": genders[speaker],
            "split": "dev" if speaker == "ann" else "test",
        }
        for k in range(num_utterances)
        for speaker in [("ann", "bob", "cy")[k % 3]]
    ]


def write_noise_corpus(folder: Path, rows: list[dict[str, Any]] | None = None) -> Path:
    """Write these rows as an `utterances.jsonl`, and a sound for each."""
    rows = rows_of() if rows is None else rows
    folder.mkdir(parents=True, exist_ok=True)
    for k, row in enumerate(rows):
        if not (folder / row["audio"]).exists():
            sound = random_sound(row["seconds"], seed=k)
            soundfile.write(folder / row["audio"], sound, 16_000, subtype="FLOAT")
    return write_json_lines(folder / "utterances.jsonl", rows)
