# SPDX-License-Identifier: Apache-2.0
"""Give a shipped recognizer the weights of a later stage of its training; all else of it stays.

Words, decoder, ways to search and the card are those of the shipped model, and weights are stored
in 8 bits. The gates of its dial are put around the new encoder as they are; its speech gate has to
be learned again behind this (`spare_evenear_en.py OUT SHIPPED --data …`).

    evenear average runs/repair/a/model runs/repair/b/model evenear-en --out runs/mean
    python benchmarks/ship_tuned.py runs/mean --shipped evenear-en --out runs/shipped
"""

import argparse
import json
from pathlib import Path

from evenear.checkpoint import Dial, load_model, put_dial, save_model
from evenear.checkpoint.folders import CONFIG, read_folder, shipped_folder, write_folder

WEIGHTS, PROVENANCE = "weights.safetensors", "provenance.json"


def main() -> None:
    """Store the weights, then put the dial around them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path, help="holds the weights")
    parser.add_argument("--shipped", default="evenear-en")
    parser.add_argument("--note", default="", help="what the weights are, for the provenance")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    tuned, shipped = load_model(given.model), load_model(given.shipped)
    save_model(
        given.out,
        model=tuned.model,
        features=tuned.features,
        tokenizer=tuned.tokenizer,
        dtype="int8",
    )
    files = dict(read_folder(shipped_folder(given.shipped), (CONFIG,)))
    files[WEIGHTS] = read_folder(given.out, (WEIGHTS,))[WEIGHTS]
    files = {name: content for name, content in files.items() if not name.startswith("dial.")}
    provenance = json.loads(files.get(PROVENANCE, b"{}"))
    provenance["tuned"] = {"weights": given.model.name, "note": given.note}
    files[PROVENANCE] = (json.dumps(provenance, indent=2) + "\n").encode()
    write_folder(given.out, files)
    if shipped.dial is not None:
        gated = shipped.dial.onto(load_model(given.out).model)
        put_dial(given.out, Dial.of(gated, shipped.dial.provenance))
    load_model(given.out).with_gates()  # or the parts do not belong together
    print(f"{sum(f.stat().st_size for f in given.out.iterdir()):,} bytes")


if __name__ == "__main__":
    main()
