# SPDX-License-Identifier: Apache-2.0
"""Make the shipped two-talker model of a run: 8-bit weights of the separator, and a card.

The recognizer behind the separator is named, not held: its heads may be replaced. So is the network
that tells voices apart, where words are attributed.

    python benchmarks/ship_duo.py --run RUN/model --card CARD.md --out MODEL
"""

import argparse
from pathlib import Path

from evenear.checkpoint.folders import find_folder
from evenear.checkpoint.twotalkers import TWO_TALKERS, load_two_talkers, save_two_talkers
from evenear.config import replace
from evenear.errors import ConfigError


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", required=True, help="the run's model folder")
    parser.add_argument("--card", type=Path, required=True)
    parser.add_argument("--endpoint-seconds", type=float, help="silence that ends a turn")
    parser.add_argument("--voices-of", help="network that tells voices apart")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    bundle = load_two_talkers(options.run)
    settings = bundle.settings
    if settings.transducer_of is None:
        raise ConfigError("What is shipped must name a shipped recognizer, not hold one.")
    if options.endpoint_seconds is not None:
        settings = replace(settings, endpoint_seconds=options.endpoint_seconds)
    if options.voices_of is not None:
        settings = replace(settings, voices_of=options.voices_of)
    save_two_talkers(
        options.out,
        model=bundle.model,
        settings=settings,
        tokenizer=bundle.tokenizer,
        card=options.card.read_text(encoding="utf-8"),
        provenance=bundle.provenance,
        dtype="int8",
    )
    folder = find_folder(options.out, kind=TWO_TALKERS)
    print(sum(path.stat().st_size for path in folder.iterdir()), "bytes")


if __name__ == "__main__":
    main()
