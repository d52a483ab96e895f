# SPDX-License-Identifier: Apache-2.0
"""When is somebody done? Ends of turns that are said too soon, against the delay of the others.

Test recordings of speechocean762 as turns: each with 3 s of noise behind it that sounds as its own
quietest tenth does, so that the true end of the speech is known (see
`evenear.data.conversations.sounds`) and no change of the background gives it away. Every way of
ending turns is tried at several settings; at each, a turn is *cut* if an end was said before its
speech was over, and the delay is from the true end to the first end that was said after it. Nobody
hears more than the sound so far. Ways:

- silence rule: the level is 35 dB below the loudest so far, for so long;
- silero-vad: below one half, for so long;
- Smart Turn v3.2 as pipecat uses it: asked at pauses of 200 ms that silero-vad finds, over from
  this probability on, and after 3 s of silence in any case;
- evenear-voice: no voice for so long, or for as long as the detector wants
  (`TurnConfig.silence_seconds`, here times a factor), which depends on how sure it is of an end;
- evenear-en with evenear-voice: what a stream says, `TurnEnded.known_seconds`;
- evenear-en, no token: the same without a detector (`TurnConfig.endpoint_seconds`).

The last two, which search for words, hear fewer turns of each speaker. Turns are a random sample of
each speaker's. Slow speakers are the third that says the fewest words a second. Intervals are 95 %,
speakers resampled.

    python benchmarks/endpoints.py --data CORPORA/speechocean762 --peers turns/bin/python \
        --out benchmarks/results/endpoints.json
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from evenear.audio import read_audio
from evenear.checkpoint.voices import load_voice
from evenear.data.conversations.rooms import quiet_like
from evenear.data.conversations.sounds import speech_bounds
from evenear.data.corpora.manifests import Utterance, load_cuts, utterance
from evenear.metrics.emission import EndpointCounts, TrueTurn, endpoint_counts
from evenear.seeding import rng_for
from evenear.streaming import Final, Recognizer, TurnConfig, TurnEnded
from evenear.streaming.silence import Silence, SilenceDetector

RATE, QUIET_SECONDS = 16_000, 3.0
PAUSES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5)
FACTORS = (0.5, 0.75, 1.0, 1.25, 1.5)
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
    """A recording up to the end of its speech, noise like its own behind it; when its turn is."""
    samples_N = read_audio(one.audio)
    first, end = speech_bounds(samples_N)
    rng = rng_for(0, "quiet", one.utterance_id)
    noise_N = quiet_like(samples_N, round(QUIET_SECONDS * RATE), rng)
    sound_N = np.concatenate([samples_N[:end], noise_N])
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


def voice(sounds: dict[str, NDArray[np.float32]]) -> tuple[Ends, Ends, float]:
    """When the detector alone ends a turn: after any silence of a length, and as it wants."""
    detector, turns = SilenceDetector(load_voice("evenear-voice")), TurnConfig()
    began = time.process_time()
    heard = {name: detector.stream().accept(sound) for name, sound in sounds.items()}
    took = time.process_time() - began
    plain: Ends = {
        f"{pause:g} s": {
            name: first_of_runs(one, lambda _, pause=pause: pause) for name, one in heard.items()
        }
        for pause in PAUSES
    }
    wanted: Ends = {
        f"times {factor:g}": {
            name: first_of_runs(
                one, lambda silence, factor=factor: factor * turns.needed_silence(silence.logit)
            )
            for name, one in heard.items()
        }
        for factor in FACTORS
    }
    return plain, wanted, took


def first_of_runs(heard: list[Silence], needed: Callable[[Silence], float]) -> list[float]:
    """When a silence was first as long as it needs to be, at each of them, after some voice."""
    found, is_over = [], True
    for silence in heard:
        if silence.quiet_seconds == 0:
            is_over = False
        elif not is_over and silence.quiet_seconds >= needed(silence) - 1e-9:
            found.append(silence.seconds)
            is_over = True
    return found


def evenear(
    sounds: dict[str, NDArray[np.float32]], model: str, listens: bool
) -> tuple[dict[str, list[float]], dict[str, str], float]:
    """When a recognizer's stream says that a turn has ended, and what its words are."""
    recognizer = Recognizer.load(model, voice="evenear-voice" if listens else None)
    ends, texts, began = {}, {}, time.process_time()
    for name, samples_N in sounds.items():
        stream, events = recognizer.stream(), []
        for start in range(0, len(samples_N), 1600):
            events += stream.accept(samples_N[start : start + 1600])
        ends[name] = [e.known_seconds for e in events if isinstance(e, TurnEnded)]
        texts[name] = " ".join(e.text for e in events + stream.finish() if isinstance(e, Final))
    return ends, texts, time.process_time() - began


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
    turns = [one for one in turns if one.utterance_id in ends]
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


def fewer(turns: list[Utterance], each: int) -> list[Utterance]:
    """The first so many of each speaker."""
    seen: dict[str, int] = {}
    found = []
    for one in turns:
        seen[one.speaker] = seen.get(one.speaker, 0) + 1
        if seen[one.speaker] <= each:
            found.append(one)
    return found


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
    parser.add_argument("--heard", type=int, default=1, help="of these, how many for words")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    turns = turns_of(options.data, options.each)
    made = {one.utterance_id: sound_of(one) for one in turns}
    sounds = {name: sound for name, (sound, _) in made.items()}
    truth = {name: turn for name, (_, turn) in made.items()}
    silero, smart, took = peers(sounds, options.peers)
    plain, wanted, took["evenear-voice"] = voice(sounds)
    few = {one.utterance_id: sounds[one.utterance_id] for one in fewer(turns, options.heard)}
    name = f"{options.model} with evenear-voice"
    listening, said, took[name] = evenear(few, options.model, True)
    alone, said_alone, took[options.model] = evenear(few, options.model, False)
    ways: dict[str, Ends] = {
        "silence rule": silence_rule(sounds),
        "silero-vad": silero,
        "Smart Turn v3.2": smart,
        "evenear-voice, any silence": plain,
        "evenear-voice": wanted,
        name: {"as shipped": listening},
        f"{options.model}, no token": {"0.8 s": alone},
        "of these turns, evenear-voice": {"times 1": {k: wanted["times 1"][k] for k in few}},
        "of these turns, silero-vad": {s: {k: ends[k] for k in few} for s, ends in silero.items()},
    }
    groups = groups_of(turns, truth)
    seconds = sum(len(sound) for sound in sounds.values()) / RATE
    results = {
        way: {
            setting: {
                **{
                    group: judged(ends, truth, [name for name in names if name in ends])
                    for group, names in groups.items()
                },
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
        "sound_seconds_heard_for_words": sum(len(sound) for sound in few.values()) / RATE,
        "turns_heard_for_words": len(few),
        "of_these_with_the_same_words": sum(said[k] == said_alone[k] for k in few),
        "processor_seconds": took,
        "results": results,
    }
    text = json.dumps(values, indent=1) + "\n"
    if options.out:
        options.out.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
