# SPDX-License-Identifier: Apache-2.0
"""Put a trained verifier into the package, with a card whose numbers come from a measurement.

    python benchmarks/ship_speaker.py RUN/model
    python benchmarks/speaker_verification.py --data CORPORA/speechocean762 --each 10 \
        --peer Resemblyzer=resemblyzer.npz --out benchmarks/results/speaker_verification.json
    python benchmarks/ship_speaker.py RUN/model \
        --results benchmarks/results/speaker_verification.json

The version of a model is that of its weights and settings, so the card may follow the measurement.
"""

import argparse
import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import evenear
from evenear.checkpoint.speakers import SpeakerBundle, load_speaker, save_speaker

__all__ = ["card", "main"]

_OUT = Path(evenear.__file__).parent / "shipped" / "evenear-speaker"
_NOT_YET = "Not measured yet: `python benchmarks/speaker_verification.py` does it.\n"


def card(bundle: SpeakerBundle, results: Mapping[str, Any] | None) -> str:
    """The card, in Markdown."""
    known = bundle.provenance
    parameters = sum(p.numel() for p in bundle.model.parameters())
    width = bundle.model.config.embedding_dim
    return f"""# evenear-speaker

An embedding of voices: {parameters / 1e6:.2f} M parameters, {width} numbers for a voice. The first
two convolutions of the recognizer `{known["stem_from"]}` (which began as OpenAI's Whisper tiny.en,
MIT license) listen and stay as they were, though that
recognizer may be trained further; means and deviations of what they say, and of the mel bins, are
projected by Fisher's linear discriminants. There is nothing else in it. A stream has an
embedding of what was heard so far, and ends with that of the whole.

## Numbers

{_NOT_YET if results is None else _table(results)}
## Data and recipe

Solved for in {known["cpu_seconds"]:.0f} s of processor time ({known["device"]}), with most frames
stored before (which takes some minutes), seed {known["seed"]}; nothing was trained by updates:

    evenear train evenear-speaker --data CORPORA/speechocean762 --data CORPORA/kokoro-english \\
        --out RUN

| data | license |
|---|---|
| speechocean762, train split without the held-out speakers | free for any use (OpenSLR 101) |
| Kokoro-82M, synthesized, 54 voices | Apache-2.0 |

{known["speakers"]} speakers, {known["hours_with_copies"]} hours: each utterance once as it is, and
once in a simulated room or noise, which counts {known["copy_weight"]} of the other. How much that
counts, the shrinkage and the width were chosen by four-fold cross-validation over the speakers of
the train split. The {known["held_out_utterances"]} utterances of the held-out speakers have an EER
of {100 * known["held_out_eer"]:.1f} %. speech-commands was left out: with its clips of one second,
held-out speakers of sentences were told apart worse.

## What it is for, and what not

To group recordings by voice in an audit, to tell two talkers of a conversation apart, and to try
verification. It must not guard anything. It has met read sentences of speakers whose first language
is Mandarin, and synthesized voices; other accents, languages, telephones and moods nobody has
measured. It hears microphones and rooms as well as voices: every speaker of its data has one
microphone, so numbers on such data, ours and others', flatter whoever hears microphones. Recordings
of one person on two devices score lower. Men are told apart worse than women, and children worse
than adults. Music or noise has an embedding too. A threshold is not
shipped: `evenear calibrate` finds one from your own recordings, or says why there is none.
Templates are personal data. Enroll people who agreed to it.
"""


def _table(results: Mapping[str, Any]) -> str:
    """EERs of all systems over all sets of trials."""
    trials = results["trials"]
    systems = list(results["cpu_seconds"])
    ours = systems[0]
    heads = ["evenear-speaker", *systems[1:]]
    each = results["command"].partition("--each ")[2].split()[0]
    lines = [
        _wrapped(
            "speechocean762, official test split: 90 speakers of whom none was trained on, the "
            f"first {each} recordings of each, whole. Equal error rate in %; 95 % intervals "
            "resample speakers, both sides jointly."
        ),
        "",
        "| trials | speakers | " + " | ".join(heads) + " |",
        "|---|---|" + "---|" * len(heads),
    ]
    for name, table in trials.items():
        cells = []
        for system in systems:
            low, high = table[system]["eer_interval"]
            cells.append(f"{100 * table[system]['eer']:.2f} [{100 * low:.2f}, {100 * high:.2f}]")
        label = f"{name} (hard)" if name.startswith("same") else name
        lines.append(f"| {label} | {table['speakers']} | " + " | ".join(cells) + " |")
    notes = [
        "Both speakers of a group's trials are in the group, and its EER is at its own threshold; "
        "intervals of groups of this size overlap."
    ]
    for peer in systems[1:]:
        gaps = []
        for name in list(trials)[:2]:
            gap = trials[name][f"difference to {peer}"]
            low, high = gap["interval"]
            gaps.append(
                f"{100 * gap['eer']:+.2f} points [{100 * low:+.2f}, {100 * high:+.2f}] on {name}"
            )
        notes.append(f"The difference to {peer} is {', and '.join(gaps)}.")
    speed = results["times_real_time_of_cpu"][ours]
    notes.append(
        f"Files are embedded {speed:.0f} times as fast as they last, on one thread of a busy "
        "machine. Made by:"
    )
    return "\n".join([*lines, "", _wrapped(" ".join(notes)), "", f"    {results['command']}", ""])


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 98, break_on_hyphens=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--out", type=Path, default=_OUT)
    options = parser.parse_args()
    bundle = load_speaker(options.model)
    results = json.loads(options.results.read_text()) if options.results else None
    provenance = dict(bundle.provenance)
    written = {"model": bundle.model, "features": bundle.features, "provenance": provenance}
    save_speaker(options.out, **written, card=card(bundle, results), dtype="float16")
    version = load_speaker(options.out).version
    if results is not None and results["model_version"] != version:
        raise SystemExit(f"The results are of {results['model_version']}, and this is {version}.")
    print(f"{options.out.name}: {version}")


if __name__ == "__main__":
    main()
