# SPDX-License-Identifier: Apache-2.0
"""Does enrolling notice a file of somebody else among a person's, and leave the right ones alone?

    python benchmarks/wrong_files.py --data CORPORA/speechocean762 --data CORPORA/kokoro-english \
        --test CORPORA/speechocean762 --out benchmarks/results/wrong_files.json

The score from which on a file belongs to the others is chosen on the speakers that the recipe
`evenear-speaker` holds out of `--data`; false alarms and what is noticed are counted on the test
speakers. An enrolment is some random recordings of a speaker; for a wrong one, one of them is of
another speaker: any, or one of the same gender and age band. `varied` is the same where every
recording comes from a place of its own: half from a simulated room, half with noise of 10 to 30 dB,
a quarter by telephone.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from evenear.atomic import write_bytes
from evenear.audio import read_audio
from evenear.data.batching.augmentation import WaveformAugmentation, augment_waveform
from evenear.data.corpora.manifests import Utterance, load_cuts, utterance
from evenear.errors import AudioError
from evenear.recipes.speaker import recipe
from evenear.reproduction.reweighting.voices import age_band
from evenear.seeding import rng_for
from evenear.training.runs.preparation import Source, split_speakers
from evenear.training.runs.speaker import read_voices
from evenear.verification import Embedder, Voice
from evenear.verification.agreement import SAME_PERSON, least_alike

__all__ = ["main"]

_FILES = (2, 3, 5)
_EACH = 20
"""Enrolments of each speaker, for each number of files."""
_MOST_VOICES = 20
_SHARES = (0.005, 0.01, 0.02, 0.05)


class _Person(NamedTuple):
    voices: list[Voice]
    kind: tuple[str, ...]
    """Gender and age band."""


_PLACES = WaveformAugmentation(
    speeds=(1.0,),
    room_chance=0.5,
    noise_chance=0.5,
    noise_snr_db=(10.0, 30.0),
    telephone_chance=0.25,
)


def _people(
    rows: list[Utterance], embedder: Embedder, places: WaveformAugmentation | None = None
) -> dict[str, _Person]:
    by_speaker: dict[str, list[Utterance]] = defaultdict(list)
    for row in rows:
        if len(by_speaker[row.speaker]) < _MOST_VOICES:
            by_speaker[row.speaker].append(row)
    people = {}
    for name, own in sorted(by_speaker.items()):
        voices = []
        for row in own:
            try:
                sound = read_audio(row.audio)
                if places is not None:
                    sound = augment_waveform(sound, places, rng_for(0, "place", row.utterance_id))
                voices.append(embedder.embed(sound))
            except AudioError:
                continue
        known = own[0].attributes
        age = age_band(int(str(known["age"]))) if "age" in known else ""
        if len(voices) > max(_FILES):
            people[name] = _Person(voices, (str(known.get("gender", "")), age))
    return people


def _drawn(person: _Person, count: int, rng: np.random.Generator) -> list[Voice]:
    return [person.voices[i] for i in rng.choice(len(person.voices), count, replace=False)]


def _scores(people: dict[str, _Person], count: int, seed: int) -> dict[str, list[list[float]]]:
    """The least score of each enrolment, and whether it is that of the wrong file."""
    found: dict[str, list[list[float]]] = {"right": [], "wrong": [], "wrong, alike": []}
    for name, person in people.items():
        rng = rng_for(seed, "enrolments", f"{name} {count}")
        others = [other for other in people if other != name]
        alike = [other for other in others if people[other].kind == person.kind]
        for _ in range(_EACH):
            found["right"].append([least_alike(_drawn(person, count, rng)).score, 0.0])
            for kind, strangers in (("wrong", others), ("wrong, alike", alike)):
                if not strangers:
                    continue
                stranger = people[strangers[int(rng.integers(len(strangers)))]]
                place = int(rng.integers(count))
                files = _drawn(person, count - 1, rng)
                files.insert(place, _drawn(stranger, 1, rng)[0])
                odd = least_alike(files)
                found[kind].append([odd.score, float(odd.place == place)])
    return found


def _counted(found: dict[str, list[list[float]]], least: float) -> dict[str, object]:
    counts: dict[str, object] = {}
    for kind, rows in found.items():
        table = np.array(rows).reshape(-1, 2)
        is_refused = table[:, 0] < least
        counts[kind] = row = {"enrolments": len(table), "refused": int(is_refused.sum())}
        if kind != "right":
            row["refused_naming_the_wrong_file"] = int((is_refused & (table[:, 1] > 0)).sum())
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--model", default="evenear-speaker")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    settings = recipe().data
    known = read_voices([Source(path) for path in options.data], settings.excluded_splits)
    _, held_out = split_speakers(known, settings.dev_speakers, seed=options.seed)
    test = [utterance(cut) for cut in iter(load_cuts(options.test))]
    test = [row for row in test if row.attributes.get("split") == "test"]
    embedder = Embedder.load(options.model)
    sides = {
        "held_out": _people(held_out, embedder),
        "held_out, varied": _people(held_out, embedder, _PLACES),
        "test": _people(test, embedder),
        "test, varied": _people(test, embedder, _PLACES),
    }
    result: dict[str, object] = {
        "command": "python benchmarks/wrong_files.py "
        + " ".join(f"--data CORPORA/{path.name}" for path in options.data)
        + f" --test CORPORA/{options.test.name}",
        "model_version": embedder.version,
        "least_score": SAME_PERSON,
    }
    for side, people in sides.items():
        rows = {count: _scores(people, count, options.seed) for count in _FILES}
        right = np.array([score for found in rows.values() for score, _ in found["right"]])
        result[side] = {
            "speakers": len(people),
            "score_below_which_a_share_of_right_enrolments_lies": {
                str(share): float(np.quantile(right, share)) for share in _SHARES
            },
            "by_number_of_files": {
                str(count): _counted(found, SAME_PERSON) for count, found in rows.items()
            },
        }
    text = json.dumps(result, indent=2) + "\n"
    write_bytes(options.out, text.encode())
    print(text)


if __name__ == "__main__":
    main()
