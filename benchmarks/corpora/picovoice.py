# SPDX-License-Identifier: Apache-2.0
"""Give Picovoice's spoken coffee orders the words that a Whisper model hears in them.

The recordings come with the slots that were ordered and without transcripts. Words that another
recognizer wrote are second best, and are marked so: `transcribed_by` names it. Every fifth of the
recordings (by id) is of the split `test` and keeps no transcript, so that nothing trains on it.
A transcript that lacks a word of the order is left empty: the recognizer misheard. Who speaks is
not known, so all are given one speaker: a training that holds speakers out keeps its others.

    python benchmarks/corpora/picovoice.py CORPORA/picovoice-commands --whisper FOLDER \
        --out orders.jsonl

FOLDER is a CTranslate2 model of Whisper. Needs the package faster-whisper, in an environment of its
own if need be: this script imports nothing of ours.

Source: Picovoice, speech-to-intent-benchmark (Apache-2.0).
"""

import argparse
import json
import re
from pathlib import Path

EVERY = 5


def words(text: str) -> str:
    """As transcripts are written here: upper case, without punctuation."""
    return " ".join(re.sub(r"[^A-Z' ]", " ", text.upper().replace("-", " ")).split())


def holds(heard: str, slots: dict[str, str]) -> bool:
    """Whether every word of the order was heard."""
    return set(words(" ".join(slots.values())).split()) <= set(heard.split())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--whisper", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    from faster_whisper import WhisperModel

    model = WhisperModel(str(args.whisper), device="cpu", compute_type="int8", cpu_threads=1)
    rows = [
        json.loads(line)
        for line in (args.corpus / "recordings.jsonl").read_text().split("\n")
        if line
    ]
    rows.sort(key=lambda row: row["utterance_id"])
    with args.out.open("w") as out:
        for number, row in enumerate(rows):
            audio = (args.corpus / row["audio"]).resolve()
            made = {
                "utterance_id": row["utterance_id"],
                "speaker": "picovoice",
                "audio": str(audio),
                "seconds": row["seconds"],
                "slots": json.dumps(row["slots"]),
                "split": "test" if number % EVERY == 0 else "train",
                "text": "",
            }
            if made["split"] == "train":
                segments, _ = model.transcribe(
                    str(audio), language="en", beam_size=1, without_timestamps=True
                )
                heard = words(" ".join(segment.text for segment in segments))
                made["text"] = heard if holds(heard, row["slots"]) else ""
                made["transcribed_by"] = args.whisper.name
            out.write(json.dumps(made) + "\n")
            out.flush()


if __name__ == "__main__":
    main()
