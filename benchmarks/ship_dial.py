# SPDX-License-Identifier: Apache-2.0
"""Put the dial of one model into the folder of another with the same encoder.

    python benchmarks/ship_dial.py RUN/model src/evenear/shipped/evenear-en

RUN/model is what `gate_evenear_en.py` left. Heads may have been trained anew since; if the encoder
has moved, the dial is refused. Nothing else of the folder is touched, and nothing is measured: how
well words are heard at each setting is told by `evenear reproduce amortized`.
"""

import argparse
from pathlib import Path

import torch

from evenear.checkpoint import load_model, put_dial
from evenear.encoders.gated.encoder import GatedTransformer
from evenear.errors import EvenearError


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
    encoder = bundle.model.encoder
    assert isinstance(encoder, GatedTransformer), "it was just given gates"
    silence_1TF = bundle.model.normalize(torch.full((1, 320, bundle.features.dim), -1.0))
    with torch.inference_mode():
        for asked in (1.0, 0.4):
            _, state = encoder.step(silence_1TF, encoder.ask(encoder.initial_state(1), asked))
            print(f"asked {asked}: silence costs {float(encoder.spent(state)):.3f}")
    size = sum(path.stat().st_size for path in given.target.iterdir())
    print(f"{given.target}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
