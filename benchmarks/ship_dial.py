# SPDX-License-Identifier: Apache-2.0
"""Put the dial of one model into the folder of another with the same encoder.

    python benchmarks/ship_dial.py RUN/model src/evenear/shipped/evenear-en

RUN/model is what `gate_evenear_en.py` left. Heads may have been trained anew since; if the encoder
has moved, the dial is refused. Nothing else of the folder is touched, and nothing is measured: how
well words are heard at each setting is told by `evenear reproduce amortized`.
"""

import argparse
from pathlib import Path

import numpy as np

from evenear.checkpoint import load_model, put_dial
from evenear.errors import EvenearError
from evenear.search import BeamConfig
from evenear.streaming import Recognizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="a model with a dial")
    parser.add_argument("target", type=Path, help="the folder of a model without, or with an older")
    given = parser.parse_args()
    dial = load_model(given.source).dial
    if dial is None:
        raise SystemExit(f"{given.source} has no dial.")
    try:
        dial.around(load_model(given.target).model)
    except EvenearError as error:
        raise SystemExit(str(error)) from None
    put_dial(given.target, dial)
    bundle = load_model(given.target).with_gates()
    recognizer = Recognizer(bundle, beam=BeamConfig(width=1))
    for asked in (1.0, 0.4):
        stream = recognizer.stream(compute=asked)
        stream.accept(np.zeros(64_000, np.float32))
        stream.finish()
        print(f"asked {asked}: silence costs {stream.compute:.3f}")
    size = sum(path.stat().st_size for path in given.target.iterdir())
    print(f"{given.target}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
