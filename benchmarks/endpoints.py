# SPDX-License-Identifier: Apache-2.0
"""When is somebody done? Ends of turns that are said too soon, against the delay of the others.

Test recordings of speechocean762 as turns: each with 3 s of quiet noise behind it, so that the true
end of the speech is known (see `evenear.data.conversations.sounds`). Every way of ending turns is
tried at several settings; at each, a turn is *cut* if an end was said before its speech was over,
and the delay is from the true end to the first end that was said after it. Nobody hears more than
the sound so far. Ways:

- silence rule: the level is 35 dB below the loudest so far, for so long;
- silero-vad: below one half, for so long;
- Smart Turn v3.2 as pipecat uses it: asked at pauses of 200 ms that silero-vad finds, over from
  this probability on, and after 3 s of silence in any case;
- evenear-en: no token for so long (`TurnConfig.endpoint_seconds`; an eager end with
  `eager_seconds` is the same rule earlier).

Turns are a random sample of each speaker's. Slow speakers are the third that says the fewest words
a second. Intervals are 95 %, speakers resampled.

    python benchmarks/endpoints.py --data CORPORA/speechocean762 --peers turns/bin/python \
        --out benchmarks/results/endpoints.json
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from evenear.audio import read_audio
from evenear.data.conversations.sounds import speech_bounds
from evenear.data.corpora.manifests import Utterance, load_cuts, utterance
from evenear.metrics.emission import EndpointCounts, TrueTurn, endpoint_counts
from evenear.seeding import rng_for
from evenear.streaming import Recognizer
from evenear.streaming.turns import TurnConfig

RATE, QUIET_SECONDS, QUIET_DB = 16_000, 3.0, -70.0
PAUSES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5)
SURE = (0.1, 0.3, 0.5, 0.7, 0.9, 0.97)
MARGIN_SECONDS = 0.03
RUNNER = Path(__file__).parent / "peer_runners" / "run_turn_ends.py"
Ends = dict[str, dict[str, list[float]]]
"""By setting and recording: when an end was said."""


def turns_of(data: Path, each: int) -> list[Utterance]:
    """Some test recordings of each speaker."""
    by_speaker: dict[str, list[Utterance]] = {}
    for cut in iter(load_cuts(data)):
        one = utterance(cut)
        if one.attributes.get("split") == "test":
            by_speaker.setdefault(one.speaker, []).append(one)
    return [
        own[i]
        for speaker, own in sorted(by_speaker.items())
        for i in sorted(rng_for(0, "turns", speaker).permutation(len(own))[:each])
    ]


def sound_of(one: Utterance) -> tuple[NDArray[np.float32], TrueTurn]:
    """A recording up to the end of its speech, quiet noise behind it; and when its turn is."""
    samples_N = read_audio(one.audio)
    first, end = speech_bounds(samples_N)
    rng = rng_for(0, "quiet", one.utterance_id)
    noise_N = rng.standard_normal(round(QUIET_SECONDS * RATE)) * 10 ** (QUIET_DB / 20)
    sound_N = np.concatenate([samples_N[:end], noise_N.astype(np.float32)])
    return sound_N, TrueTurn(first / RATE, end / RATE - MARGIN_SECONDS)


def after_quiet(is_speech: list[bool], step: float, pause: float) -> list[float]:
    """When a pause of this length after speech was known, at each of them."""
    wanted, found, heard, quiet = max(1, round(pause / step)), [], False, 0
    for place, speech in enumerate(is_speech):
        heard, quiet = heard or speech, 0 if speech else quiet + 1
        if heard and quiet == wanted:
            found.append((place + 1) * step)
    return found


def silence_rule(sounds: dict[str, NDArray[np.float32]]) -> Ends:
    """35 dB below the loudest 10 ms so far."""
    levels = {}
    for name, samples_N in sounds.items():
        windows = samples_N[: len(samples_N) // 160 * 160].reshape(-1, 160)
        power = np.square(windows).mean(axis=1) + 1e-12
        levels[name] = (power > np.maximum.accumulate(power) * 10**-3.5).tolist()
    return {
        f"{pause:g} s": {name: after_quiet(one, 0.01, pause) for name, one in levels.items()}
        for pause in PAUSES
    }


def peers(sounds: dict[str, NDArray[np.float32]], python: Path) -> tuple[Ends, Ends, Any]:
    """Of silero-vad and of Smart Turn, from their own environment."""
    with tempfile.TemporaryDirectory() as folder:
        given, heard = Path(folder) / "sounds.npz", Path(folder) / "heard.json"
        np.savez(given, **sounds)  # pyright: ignore[reportArgumentType]
        subprocess.run([str(python), str(RUNNER), str(given), str(heard)], check=True)
        found = json.loads(heard.read_text())
    rows, step = found["sounds"], 512 / RATE
    is_speech = {name: [p >= 0.5 for p in row["speech"]] for name, row in rows.items()}
    silero = {
        f"{pause:g} s": {name: after_quiet(one, step, pause) for name, one in is_speech.items()}
        for pause in PAUSES
    }
    smart = {
        f"{sure:g}": {
            name: [p["seconds"] for p in row["pauses"] if p["is_over"] >= sure]
            + after_quiet(is_speech[name], step, 3.0)
            for name, row in rows.items()
        }
        for sure in SURE
    }
    return silero, smart, found["processor_seconds"]


def evenear(sounds: dict[str, NDArray[np.float32]], model: str) -> tuple[Ends, float]:
    """When the last token of a stream's best reading was so long ago, chunk by chunk."""
    recognizer = Recognizer.load(model, turns=TurnConfig(endpoint_seconds=30.0))
    clock = recognizer.bundle.features.clock
    block = recognizer.model.encoder.block_frames * clock.frame_seconds
    ends: Ends = {f"{pause:g} s": {} for pause in PAUSES}
    took = 0.0
    for name, samples_N in sounds.items():
        stream, began, last = recognizer.stream(), time.process_time(), None
        told: dict[str, list[float]] = {setting: [] for setting in ends}
        waiting = dict.fromkeys(PAUSES, False)
        for start in range(0, len(samples_N), 1600):
            for event in stream.accept(samples_N[start : start + 1600]):
                if event.words and event.words[-1].end_seconds != last:
                    last, waiting = event.words[-1].end_seconds, dict.fromkeys(PAUSES, True)
            now = min(start + 1600, len(samples_N)) / RATE
            encoded = now // block * block  # the rest of a block is not heard yet
            for pause in PAUSES:
                if waiting[pause] and last is not None and encoded - last >= pause:
                    waiting[pause] = False
                    told[f"{pause:g} s"].append(now)
        took += time.process_time() - began
        for setting, one in told.items():
            ends[setting][name] = one
    return ends, took


def judged(ends: dict[str, list[float]], truth: dict[str, TrueTurn], names: list[str]) -> Any:
    """Counts of some recordings, as plain values."""
    total = EndpointCounts()
    for name in names:
        total += endpoint_counts([truth[name]], ends[name])
    return {
        "turns": total.turns,
        "false_cuts": total.false_cut_rate,
        "missed": total.missed_rate,
        "delay_p50_milliseconds": total.delay_milliseconds(50),
        "delay_p90_milliseconds": total.delay_milliseconds(90),
    }


def interval(
    ends: dict[str, list[float]], truth: dict[str, TrueTurn], turns: list[Utterance]
) -> list[float]:
    """95 % interval of the rate of false cuts, speakers resampled."""
    speakers = sorted({one.speaker for one in turns})
    counts = np.zeros((len(speakers), 2))
    for one in turns:
        name = one.utterance_id
        row = counts[speakers.index(one.speaker)]
        row += (endpoint_counts([truth[name]], ends[name]).cut, 1)
    picks = rng_for(0, "speakers").integers(len(speakers), size=(2000, len(speakers)))
    sums = counts[picks].sum(axis=1)
    low, high = np.percentile(sums[:, 0] / sums[:, 1], [2.5, 97.5])
    return [float(low), float(high)]


def groups_of(turns: list[Utterance], truth: dict[str, TrueTurn]) -> dict[str, list[str]]:
    """Recordings of children and adults, of slow and of fast speakers."""
    words: dict[str, list[float]] = {}
    for one in turns:
        turn = truth[one.utterance_id]
        own = words.setdefault(one.speaker, [0.0, 0.0])
        own[0] += len(one.text.split())
        own[1] += turn.end_seconds - turn.start_seconds
    pace = {speaker: count / seconds for speaker, (count, seconds) in words.items()}
    slow, fast = np.percentile(list(pace.values()), [100 / 3, 200 / 3])
    found: dict[str, list[str]] = {"all": [one.utterance_id for one in turns]}
    for one in turns:
        is_child = float(str(one.attributes.get("age", 99))) < 18
        found.setdefault("children" if is_child else "adults", []).append(one.utterance_id)
        if pace[one.speaker] <= slow:
            found.setdefault("slow speakers", []).append(one.utterance_id)
        if pace[one.speaker] >= fast:
            found.setdefault("fast speakers", []).append(one.utterance_id)
    return found


def main() -> None:
    """Hear every turn every way, and count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--peers", type=Path, required=True, help="python of the peers' environment"
    )
    parser.add_argument("--model", default="evenear-en")
    parser.add_argument("--each", type=int, default=2, help="recordings of each speaker")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    turns = turns_of(options.data, options.each)
    made = {one.utterance_id: sound_of(one) for one in turns}
    sounds = {name: sound for name, (sound, _) in made.items()}
    truth = {name: turn for name, (_, turn) in made.items()}
    silero, smart, took = peers(sounds, options.peers)
    own, own_took = evenear(sounds, options.model)
    ways = {
        "silence rule": silence_rule(sounds),
        "silero-vad": silero,
        "Smart Turn v3.2": smart,
        options.model: own,
    }
    groups = groups_of(turns, truth)
    seconds = sum(len(sound) for sound in sounds.values()) / RATE
    results = {
        way: {
            setting: {
                **{group: judged(ends, truth, names) for group, names in groups.items()},
                "false_cuts_interval": interval(ends, truth, turns),
            }
            for setting, ends in settings.items()
        }
        for way, settings in ways.items()
    }
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
    values = {
        "question": __doc__.splitlines()[0],
        "command": " ".join(["python", *sys.argv])
        .replace(str(options.data.parent), "CORPORA")
        .replace(str(options.peers), "turns/bin/python"),
        "commit": commit.stdout.strip(),
        "turns": len(turns),
        "speakers": len({one.speaker for one in turns}),
        "sound_seconds": seconds,
        "processor_seconds": {**took, options.model: own_took},
        "results": results,
    }
    text = json.dumps(values, indent=1) + "\n"
    if options.out:
        options.out.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
