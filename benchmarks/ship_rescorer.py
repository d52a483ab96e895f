# SPDX-License-Identifier: Apache-2.0
"""Ship `evenear-en` with the decoder that `rescore_evenear_en.py` learned.

Sets how words are searched for, and takes the words from the shipped `evenear-en-small`, which has
the same; all else of the model stays as it is. The card is written by hand.

    python benchmarks/ship_rescorer.py MODEL --width 200 --readings 32 --transducer 0.3 \
        --decoder 1.0 --out src/evenear/shipped/evenear-en
"""

import argparse
import json
from pathlib import Path

from evenear.checkpoint.folders import CONFIG, read_folder, shipped_folder, write_folder

WORDS = "words.npz"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--width", type=int, required=True)
    parser.add_argument("--gap", type=float, default=14.0)
    parser.add_argument("--readings", type=int, required=True)
    parser.add_argument("--transducer", type=float, required=True)
    parser.add_argument("--decoder", type=float, required=True)
    parser.add_argument("--words-of", default="evenear-en-small")
    parser.add_argument("--card", type=Path, help="A card to put in place of the model's.")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    files = dict(read_folder(given.model, (CONFIG,)))
    settings = json.loads(files[CONFIG])
    settings["word_search"] |= {
        "width": given.width,
        "max_gap": given.gap,
        "num_readings": given.readings,
        "transducer_weight": given.transducer,
        "rescorer_weight": given.decoder,
    }
    same = read_folder(shipped_folder(given.words_of), (WORDS,))[WORDS]
    if files.pop(WORDS, same) != same:
        parser.error(f"{given.words_of} has other words.")
    settings["words_of"] = given.words_of
    files[CONFIG] = (json.dumps(settings, indent=2) + "\n").encode()
    if given.card is not None:
        files["card.md"] = given.card.read_bytes()
    write_folder(given.out, files)
    print(f"{sum(map(len, files.values())):,} bytes")


if __name__ == "__main__":
    main()
