# SPDX-License-Identifier: Apache-2.0
"""PocketSphinx 5 with the US English models that come in its package, at its default settings.

Each utterance is handed over whole, so that its cepstral means are those of the utterance: that
favors it over live use, where they are guessed from what was heard before.
"""

import re
from array import array
from pathlib import Path

import pocketsphinx
from wire import answer, versions

__all__ = ["main"]

_VARIANT = re.compile(r"\(\d+\)")
"""How PocketSphinx marks which pronunciation of a word it heard."""


def pulse_code(samples: array) -> bytes:
    """16-bit samples, the only kind that PocketSphinx takes."""
    return array("h", (max(-32768, min(32767, round(32767 * s))) for s in samples)).tobytes()


def main() -> None:
    """Load, then answer."""
    decoder = pocketsphinx.Decoder(loglevel="FATAL")

    def hear(pulses: bytes) -> str:
        decoder.start_utt()
        decoder.process_raw(pulses, full_utt=True)
        decoder.end_utt()
        found = decoder.hyp()
        return _VARIANT.sub("", found.hypstr) if found is not None else ""

    files = [file for file in Path(pocketsphinx.get_model_path()).rglob("*") if file.is_file()]
    facts = {
        "versions": versions("pocketsphinx"),
        "parameters": None,  # hidden Markov models, a dictionary and a trigram model
        "megabytes": round(sum(file.stat().st_size for file in files) / 1e6, 1),
        "settings": "default decoder, en-us acoustic and language model, whole utterances",
    }
    answer(facts, pulse_code, hear)


if __name__ == "__main__":
    main()
