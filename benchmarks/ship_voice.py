# SPDX-License-Identifier: Apache-2.0
"""Train the detector of voice and of ends of turns, and put it into the package.

    python benchmarks/ship_voice.py --data CORPORA/speechocean762 \
        --also CORPORA/kokoro-english --also CORPORA/commands --out MODEL
    python benchmarks/endpoints.py --data CORPORA/speechocean762 --peers turns/bin/python --out R
    python benchmarks/ship_voice.py --data CORPORA/speechocean762 --out MODEL --results R

Labels come from recordings as they are: voice is where the level is less than 30 dB below the
loudest (and over the recording's own floor), the turn is over behind the last window that is less
than 40 dB below it. What is heard is the recording at another level, in a room, in noise, joined
with others. A pause within a turn and the quiet behind it must sound alike, so that only what was
said tells them apart: in half of the examples everything between voices is silenced before the
noise comes, in the others what lies around a recording is noise like its own.
"""

import argparse
import itertools
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import signal
from torch.nn import functional as F  # noqa: N812

from evenear.checkpoint.voices import load_voice, save_voice
from evenear.data.conversations.rooms import colored_noise, quiet_like, room_response
from evenear.data.conversations.sounds import FileSounds
from evenear.data.corpora.manifests import Utterance, load_cuts, utterance
from evenear.features import FeatureConfig, extract
from evenear.models.voice import VoiceConfig, VoiceModel
from evenear.seeding import rng_for

RATE, WINDOW, SEED = 16_000, 160, 0
FEATURES = FeatureConfig(num_mel_bins=40, window_milliseconds=25.0, hop_milliseconds=20.0, stack=1)
UNKNOWN = -1.0
SOME = 400
"""Recordings of each further corpus."""


class Example(NamedTuple):
    """A made sound: its frames; for each, whether there is voice and whether the turn is over."""

    frames_TM: NDArray[np.float16]
    targets_T2: NDArray[np.float32]


def training_utterances(folders: list[Path]) -> list[Utterance]:
    found = []
    for folder in folders:
        found += [utterance(cut) for cut in iter(load_cuts(folder))]
    return [one for one in found if one.attributes.get("split") != "test"]


def voiced(samples_N: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether there is voice in each 10 ms; gaps of less than 60 ms count as voice."""
    windows = samples_N[: len(samples_N) // WINDOW * WINDOW].reshape(-1, WINDOW)
    power = np.square(windows, dtype=np.float64).mean(axis=1) + 1e-12
    least = max(np.percentile(power, 95) * 10**-3.0, np.percentile(power, 5) * 10**0.8)
    loud = power > least
    places = np.flatnonzero(loud)
    for before, after in itertools.pairwise(places):
        if after - before <= 6:
            loud[before:after] = True
    return loud


def gated(samples_N: NDArray[np.float32], loud_W: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The sound with silence where there is no voice, with soft edges."""
    kept_W = np.convolve(loud_W, np.ones(9), "same") > 0
    gain_W = np.convolve(kept_W, np.ones(5) / 5, "same")
    places = np.arange(len(samples_N)) / WINDOW - 0.5
    return (samples_N * np.interp(places, np.arange(len(gain_W)), gain_W)).astype(np.float32)


def example(sounds: FileSounds, number: int, copy: int) -> Example:
    """One sound made of a recording, and perhaps of another of its speaker."""
    rng = rng_for(SEED, "voice", (sounds.voices[number].utterance_id, copy))
    own = sounds.by_speaker[sounds.voices[number].speaker]
    chosen = [number]
    while len(chosen) < 3 and rng.random() < 0.25:
        chosen.insert(0, int(rng.choice(own)))
    is_gated = rng.random() < 0.5
    lead = round(rng.uniform(0.1, 1.2) * RATE) // WINDOW * WINDOW
    parts = [around(sounds.samples(chosen[0]), lead, rng, is_gated)]
    labels = [np.tile([0.0, UNKNOWN], (len(parts[0]) // WINDOW, 1))]
    for place, index in enumerate(chosen):
        first, end = sounds.bounds(index)
        whole_N = sounds.samples(index)
        loud_W = voiced(whole_N)
        if is_gated:
            whole_N = gated(whole_N, loud_W)
        first, end = first // WINDOW * WINDOW, end // WINDOW * WINDOW
        sound_N, loud_W = whole_N[first:end], loud_W[first // WINDOW : end // WINDOW]
        is_last = place == len(chosen) - 1
        gap = (
            rng.uniform(1.0, 3.0)
            if is_last
            else rng.choice([0.2, 0.4, 0.8, 1.5]) * rng.uniform(0.7, 1.3)
        )
        gap_W = round(gap * RATE) // WINDOW
        parts += [sound_N, around(sounds.samples(index), gap_W * WINDOW, rng, is_gated)]
        labels.append(np.stack([loud_W.astype(float), np.zeros(len(loud_W))], axis=1))
        over = 1.0 if is_last or gap > 1.0 else UNKNOWN
        labels.append(np.tile([0.0, over], (gap_W, 1)))
    heard_N = heard(np.concatenate(parts), rng)
    frames_TM = extract(heard_N, FEATURES)
    labels_W2 = np.concatenate(labels)
    ends = np.minimum(np.arange(len(frames_TM)) * 2 + 1, len(labels_W2) - 1)
    return Example(frames_TM.astype(np.float16), labels_W2[ends].astype(np.float32))


def around(
    samples_N: NDArray[np.float32], size: int, rng: np.random.Generator, is_gated: bool
) -> NDArray[np.float32]:
    """What lies around a recording: silence, or noise like its own."""
    return np.zeros(size, np.float32) if is_gated else quiet_like(samples_N, size, rng)


def heard(samples_N: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """The sound at some level, in a room, in noise, with other sounds that nobody says."""
    size = len(samples_N)
    if rng.random() < 0.35:
        response_N = room_response(float(rng.uniform(0.1, 0.5)), rng)
        samples_N = signal.fftconvolve(samples_N, response_N)[:size].astype(np.float32)
    loud = float(np.sqrt(np.percentile(np.square(samples_N), 90)) + 1e-9)
    level = 10 ** (rng.uniform(-45, -12) / 20)
    snr = rng.uniform(5, 40) if rng.random() < 0.7 else rng.uniform(35, 60)
    noise_N = colored_noise(size, rng) * level * 10 ** (-snr / 20)
    if rng.random() < 0.3:
        swells = 10 ** (rng.uniform(-8, 8, 8) / 20)
        noise_N = noise_N * np.interp(np.arange(size), np.linspace(0, size, 8), swells)
    if rng.random() < 0.3:
        for _ in range(int(rng.integers(1, 5))):
            burst_N = burst(rng) * level
            start = int(rng.integers(0, max(size - len(burst_N), 1)))
            noise_N[start : start + len(burst_N)] += burst_N[: size - start]
    quiet_N = rng.standard_normal(size) * 10 ** (rng.uniform(-90, -65) / 20)
    return np.clip(samples_N * (level / loud) + noise_N + quiet_N, -1, 1).astype(np.float32)


def burst(rng: np.random.Generator) -> NDArray[np.float64]:
    """A knock, a rustle or a beep, at most as loud as 1."""
    time_N = np.arange(round(rng.uniform(0.01, 0.4) * RATE)) / RATE
    if rng.random() < 0.4:
        sound_N = 1.4 * np.sin(2 * np.pi * rng.uniform(150, 3000) * time_N)
    else:
        sound_N = colored_noise(len(time_N), rng).astype(np.float64)
    return sound_N * np.exp(-time_N * rng.uniform(0, 40)) * 10 ** (rng.uniform(-25, 0) / 20)


def train(examples: list[Example], held_out: list[Example], epochs: int) -> VoiceModel:
    """A network that was trained on these, in one go."""
    torch.manual_seed(SEED)
    model = VoiceModel(VoiceConfig(num_mel_bins=FEATURES.num_mel_bins))
    size = 32
    by_length = sorted(range(len(examples)), key=lambda i: len(examples[i].frames_TM))
    groups = [by_length[i : i + size] for i in range(0, len(by_length), size)]
    num_updates = epochs * len(groups)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=num_updates)
    for epoch in range(epochs):
        model.train()
        began, total = time.process_time(), 0.0
        for place in rng_for(SEED, "order of examples", epoch).permutation(len(groups)):
            loss = losses(model, [examples[i] for i in groups[place]]).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        model.eval()
        with torch.inference_mode():
            parts = [losses(model, held_out[i : i + size]) for i in range(0, len(held_out), size)]
        voice, over = torch.stack(parts).mean(dim=0).tolist()
        print(
            f"epoch {epoch + 1}: {total / len(groups):.4f}, held out {voice:.4f} {over:.4f}, "
            f"{time.process_time() - began:.0f} s",
            flush=True,
        )
    return model


def losses(model: VoiceModel, examples: list[Example]) -> torch.Tensor:
    """Cross-entropies of voice and of ends, over the frames of which each is known, (2,)."""
    longest = max(len(one.frames_TM) for one in examples)
    frames_BTM = torch.zeros(len(examples), longest, examples[0].frames_TM.shape[1])
    targets_BT2 = torch.full((len(examples), longest, 2), UNKNOWN)
    for b, one in enumerate(examples):
        frames_BTM[b, : len(one.frames_TM)] = torch.from_numpy(one.frames_TM.astype(np.float32))
        targets_BT2[b, : len(one.targets_T2)] = torch.from_numpy(one.targets_T2)
    known_BT2 = (targets_BT2 != UNKNOWN).float()
    all_BT2 = F.binary_cross_entropy_with_logits(
        model(frames_BTM), targets_BT2.clamp(min=0), reduction="none"
    )
    return (all_BT2 * known_BT2).sum(dim=(0, 1)) / known_BT2.sum(dim=(0, 1)).clamp(min=1)


def speakers_apart(utterances: list[Utterance]) -> tuple[list[Utterance], list[Utterance]]:
    """Recordings to train on, and those of every tenth speaker, to judge by."""
    held_out = set(sorted({one.speaker for one in utterances})[::10])
    train = [one for one in utterances if one.speaker not in held_out]
    return train, [one for one in utterances if one.speaker in held_out]


def card(provenance: dict[str, Any], results: dict[str, Any] | None) -> str:
    """The card, in Markdown."""
    numbers = "Not measured yet: `python benchmarks/endpoints.py` does it."
    if results is not None:
        numbers = table(results)
    return f"""# evenear-voice

Hears every 20 ms whether somebody speaks, and how sure it is that whoever spoke is done:
{provenance["parameters"]:,} parameters, two layers of gated recurrent units over 40 log-mel bins.
It says when a turn ends; it makes no words. The bits depend neither on chunks nor on other streams.

## Numbers

{numbers}

## Data and recipe

    {provenance["command"]}

{provenance["examples"]} examples ({provenance["hours"]:.1f} h) in {provenance["epochs"]} epochs,
{provenance["cpu_seconds"]:.0f} s of one core, sound included. Train split of speechocean762 without
every tenth speaker (free for any use, OpenSLR 101), some synthesized voices (Kokoro-82M,
Apache-2.0), some speech commands (CC BY 4.0). Nobody labeled anything: voice is what is less than
30 dB below a recording's loudest, a turn is a recording. The silences that end a turn
(`TurnConfig.silence_seconds`) were chosen on the speakers left out, not on those of the test.

## What it is for, and what not

To end turns, in `evenear listen` and `Recognizer.load(…, voice="evenear-voice")`. It has met read
sentences of learners and synthesized voices. Dialogue, music, crowds, coughs, crying and telephones
nobody has measured; other people in the background are voice to it, too. Learners who read slowly
pause long within sentences, and are cut more often than fast ones: see the table.
"""


def table(results: dict[str, Any]) -> str:
    """What ends turns how soon, of the detector and of its rivals."""
    lines = [
        f"{results['turns']} turns of {results['speakers']} test speakers of speechocean762, "
        "none of whom was trained on: turns that were cut before their speech was over, and delays",
        f"from its end (`{results['command']}`).",
        "",
        "| way | setting | cut, % | slow speakers | fast | children | adults | p50, ms | p90 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    groups = ("slow speakers", "fast speakers", "children", "adults")
    for way, settings in results["results"].items():
        for setting, row in settings.items():
            cuts = [f"{100 * row[group]['false_cuts']:.0f}" for group in groups]
            low, high = row["false_cuts_interval"]
            own = row["all"]
            head = f"{100 * own['false_cuts']:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
            delays = [f"{own[f'delay_p{p}_milliseconds']:.0f}" for p in (50, 90)]
            if 150 <= own["delay_p50_milliseconds"] <= 1000:
                lines.append(f"| {' | '.join([way, setting, head, *cuts, *delays])} |")
    return "\n".join(lines)


def main() -> None:
    """Make the examples, train, write the folder; or write a new card only."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="some speakers are left out")
    parser.add_argument("--also", type=Path, action="append", default=[], help="some of it, too")
    parser.add_argument("--copies", type=int, default=2, help="examples of each recording of DATA")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--results", type=Path, help="only write a card with these numbers")
    options = parser.parse_args()
    results = json.loads(options.results.read_text()) if options.results else None
    if results is not None:
        bundle = load_voice(options.out)
        model, provenance = bundle.model, dict(bundle.provenance)
    else:
        model, provenance = trained(options)
    written = {"model": model, "features": FEATURES, "provenance": provenance}
    save_voice(options.out, **written, card=card(provenance, results))
    print(load_voice(options.out).version)


def trained(options: argparse.Namespace) -> tuple[VoiceModel, dict[str, Any]]:
    """A network, and how it came to be."""
    torch.set_num_threads(1)
    began = time.process_time()
    train_on, held_out = speakers_apart(training_utterances([options.data]))
    num_first = len(train_on)
    for folder in options.also:
        found = training_utterances([folder])
        picks = rng_for(SEED, "some of", folder.name).permutation(len(found))[:SOME]
        train_on += [found[i] for i in picks]
    sounds, others = FileSounds(train_on, cached=16), FileSounds(held_out[::2], cached=16)
    examples = [
        example(sounds, number, copy)
        for copy in range(options.copies)
        for number in range(num_first if copy else len(train_on))
    ]
    judged = [example(others, number, 0) for number in range(len(others.voices))]
    print(f"{len(examples)} examples after {time.process_time() - began:.0f} s", flush=True)
    model = train(examples, judged, options.epochs)
    places = " ".join(f"--also CORPORA/{folder.name.partition('.')[0]}" for folder in options.also)
    return model, {
        "command": f"python benchmarks/ship_voice.py --data "
        f"CORPORA/{options.data.name.partition('.')[0]} {places} --out MODEL",
        "parameters": sum(p.numel() for p in model.parameters()),
        "examples": len(examples),
        "hours": sum(len(one.frames_TM) for one in examples) * 0.02 / 3600,
        "epochs": options.epochs,
        "copies": options.copies,
        "cpu_seconds": time.process_time() - began,
        "seed": SEED,
        "device": "cpu",
        "torch": torch.__version__,
    }


if __name__ == "__main__":
    main()
