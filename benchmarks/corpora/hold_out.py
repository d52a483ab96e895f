# SPDX-License-Identifier: Apache-2.0
"""Mark every n-th speaker of a corpus without splits as `test`, so that nobody trains on them.

python benchmarks/corpora/hold_out.py CORPORA/speech-commands/utterances.jsonl --every 5 \
        --out commands.jsonl
"""

import argparse
import json
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("utterances", type=Path)
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    rows = [json.loads(line) for line in args.utterances.read_text().split("\n") if line]
    speakers = sorted({row["speaker"] for row in rows})
    held = set(speakers[:: args.every])
    with args.out.open("w") as out:
        for row in rows:
            row["split"] = "test" if row["speaker"] in held else "train"
            row["audio"] = str((args.utterances.parent / row["audio"]).resolve())
            out.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
