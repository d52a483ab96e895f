# SPDX-License-Identifier: Apache-2.0
"""Tiny corpora of every kind, written for a test: tones of known length with known labels."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile

from evenear.data.corpora.manifests import Utterance


def write_tone(path: Path, seconds: float, *, sample_rate: int = 16_000, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    time_N = np.arange(round(seconds * sample_rate)) / sample_rate
    tone_N = (0.1 * np.sin(2 * np.pi * 220 * time_N)).astype(np.float32)
    soundfile.write(path, np.stack([tone_N] * channels, axis=1), sample_rate)
    return path


def spoken_tone(path: Path, name: str, text: str, seconds: float) -> Utterance:
    """An utterance whose sound is a tone."""
    return Utterance(name, f"speaker of {name}", text, write_tone(path, seconds), 0.0, seconds)


def write_lines(path: Path, lines: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def write_json_lines(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    return write_lines(path, [json.dumps(row) for row in rows])


def write_utterances(folder: Path) -> Path:
    """Three utterances of two speakers, with attributes."""
    rows = []
    places = ((1, 0.5, "ann"), (2, 0.8, "ann"), (3, 1.1, "bob"))
    for number, seconds, speaker in places:
        name = f"audio/u{number}.wav"
        write_tone(folder / name, seconds)
        rows.append(
            {
                "utterance_id": f"u{number}",
                "speaker": speaker,
                "text": f"TEXT {number}",
                "audio": name,
                "seconds": seconds,
                "gender": "female" if speaker == "ann" else "male",
                "age": 7 * number,
                "lat": 42.37,
                "lon": -71.11,
                "zip": "02138",
                "split": None,
            }
        )
    return write_json_lines(folder / "utterances.jsonl", rows)


def write_librispeech(root: Path) -> Path:
    """Two chapters of two readers, in root/dev-clean."""
    write_lines(
        root / "SPEAKERS.TXT",
        [
            "; comment | with | bars",
            "14   | F | dev-clean | 25.03 | Reader One",
            "19   | M | dev-clean | 25.05 | Reader Two",
        ],
    )
    for speaker, chapter, seconds in (("14", "208", 0.6), ("19", "198", 0.9)):
        folder = root / "dev-clean" / speaker / chapter
        stem = f"{speaker}-{chapter}"
        lines = [f"{stem}-0000 HE SAID IT", f"{stem}-0001 AND AGAIN"]
        write_lines(folder / f"{stem}.trans.txt", lines)
        write_tone(folder / f"{stem}-0000.flac", seconds)
        write_tone(folder / f"{stem}-0001.flac", seconds + 0.1)
    return root / "dev-clean"


def write_kaldi(folder: Path, *, segments: bool) -> Path:
    """Two speakers; with segments, both in one recording."""
    write_tone(folder / "wav/r1.wav", 2.0)
    write_tone(folder / "wav/r2.wav", 1.0)
    names = ["ann-1", "bob-1"] if segments else ["r1", "r2"]
    write_lines(folder / "wav.scp", ["r1 wav/r1.wav", f"r2 {folder / 'wav/r2.wav'}"])
    write_lines(folder / "text", [f"{names[0]} HELLO THERE", f"{names[1]} GOOD  MORNING"])
    write_lines(folder / "utt2spk", [f"{names[0]} ann", f"{names[1]} bob"])
    write_lines(folder / "spk2gender", ["ann f", "bob m"])
    write_lines(folder / "spk2region", ["ann north coast", "bob south"])
    if segments:
        write_lines(folder / "segments", ["ann-1 r1 0.25 0.75", "bob-1 r1 1.0 -1"])
    return folder


def write_nemo(folder: Path) -> Path:
    write_tone(folder / "long.wav", 3.0)
    write_tone(folder / "short.wav", 0.7)
    rows: list[dict[str, object]] = [
        {"audio_filepath": "long.wav", "offset": 0.5, "duration": 1.0, "text": "one", "lon": 8.5},
        {"audio_filepath": "long.wav", "offset": 1.5, "duration": 1.5, "text": "two", "speaker": 3},
        {"audio_filepath": "short.wav", "duration": 0.7, "text": "three", "lang": "en"},
    ]
    return write_json_lines(folder / "manifest.json", rows)


def write_common_voice(folder: Path) -> Path:
    write_tone(folder / "clips/common_voice_en_1.wav", 0.6)
    write_tone(folder / "clips/common_voice_en_2.wav", 0.9)
    columns = "client_id\tpath\tsentence\tup_votes\tage\tgender\taccents\tlocale"
    lines = [
        columns,
        'c1\tcommon_voice_en_1.wav\tShe said "no".\t2\tthirties\tfemale_feminine\tScottish\ten',
        "c2\tcommon_voice_en_2.wav\tIt's late.\t3\t\t\t\ten",
    ]
    return write_lines(folder / "validated.tsv", lines)
