# SPDX-License-Identifier: Apache-2.0
"""What would it be worth to know who speaks, before a recognizer of single talkers?

The mixtures of `benchmarks/lists/two_talkers.jsonl`. Each channel is heard by the recognizer as a
perfect judge of who speaks would hand it on: the mixture where its talker is alone, silence where
they do not speak; and where both speak, one of

    own sound     the channel's own sound: what perfect gates would give
    mixture       the mixture on both channels: no gates at all
    earlier       the mixture to whoever began earlier, silence to the other
    shares        the mixture with so much of each bin as is the channel's, true shares of energy
    shares, 2     the same with shares whose log odds are wrong by 2 nats (4 nats), smooth over
                  three frames and bins: how good must a separator be?

beside one channel that hears everything, and each channel's own sound all the time. Intervals are
95 %, mixtures resampled.

    python benchmarks/who_speaks.py --data CORPORA/speechocean762.jsonl.gz \
        --out benchmarks/results/who_speaks.json
    python benchmarks/who_speaks.py --data CORPORA/speechocean762.jsonl.gz --gates evenear-en-duo \
        --out benchmarks/results/who_speaks.json

The second adds how many bins the gates of a two-channel model get right.

Legend: T frames, F feature width, C channels.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from evenear.checkpoint.twotalkers import load_two_talkers
from evenear.data.conversations.mixtures import MixturePlan, activity, render
from evenear.data.conversations.simulation import read_plans, reference_segments
from evenear.data.conversations.sounds import FileSounds
from evenear.features import FeatureConfig, extract
from evenear.models.twotalkers import SeparatorTransducer
from evenear.seeding import rng_for
from evenear.streaming import Recognizer
from evenear.streaming.twotalkers.scores import Heard, hear, normalized, score_session
from two_talkers import LIST, Row, compared, conditions, people_of, sounds_of, summary, together

Frames = NDArray[np.float32]


class Given:
    """Feature frames that were made before, in the place of those of samples."""

    def __init__(self, frames_TF: NDArray[np.float32]) -> None:
        self._frames_TF, self._samples, self._given = frames_TF, 0, 0

    def accept(self, samples_N: NDArray[np.float32]) -> NDArray[np.float32]:
        """As many frames as a stream knows after so many samples."""
        self._samples += len(samples_N)
        return self._until(max(0, self._samples // 160 - 2))

    def finish(self) -> NDArray[np.float32]:
        """The rest."""
        return self._until(len(self._frames_TF))

    def _until(self, end: int) -> NDArray[np.float32]:
        end = min(max(end, self._given), len(self._frames_TF))
        found_TF, self._given = self._frames_TF[self._given : end], end
        return found_TF


def handed_on(
    way: str, mixture_TF: Frames, sources: list[Frames], active_CT: NDArray[np.bool_]
) -> Iterator[Frames]:
    """What each channel hears of the mixture's frames, silence from the recognizer's own frames."""
    silence_F = mixture_TF[-1]  # of the silence behind the end
    both_T = np.all(active_CT, axis=0)
    began_CT = np.zeros(active_CT.shape, int)
    for t in range(1, active_CT.shape[1]):
        began_CT[:, t] = np.where(active_CT[:, t], began_CT[:, t - 1] + 1, 0)
    for c, source_TF in enumerate(sources):
        frames_TF = np.where(active_CT[c][:, None], mixture_TF, silence_F)
        if way == "own sound":
            frames_TF = np.where(both_T[:, np.newaxis], source_TF, frames_TF)
        elif way == "earlier":
            later_T = both_T & (began_CT[c] < began_CT[1 - c])
            frames_TF = np.where(later_T[:, None], silence_F, frames_TF)
        elif way.startswith("shares"):
            odds_TF = (source_TF - sources[1 - c]) / NAT
            shares_TF = 1.0 / (1.0 + np.exp(-np.clip(odds_TF + wrong(way, odds_TF, c), -9.0, 9.0)))
            given_TF = np.maximum(mixture_TF + NAT * np.log(shares_TF), silence_F)
            frames_TF = np.where(both_T[:, np.newaxis], given_TF, frames_TF)
        yield frames_TF.astype(np.float32)


def wrong(way: str, odds_TF: Frames, channel: int) -> Frames:
    """Errors of log odds, alike in neighbouring frames and bins."""
    size = float(way.partition(", ")[2] or 0.0)
    noise_TF = rng_for(channel, "shares", odds_TF.shape).standard_normal(odds_TF.shape)
    smooth_TF = gaussian_filter(noise_TF, (3.0, 3.0))
    return size * smooth_TF / smooth_TF.std()


def audible(sources: list[Frames], active_CT: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Bins where both speak, within 40 dB of the loudest."""
    loud_TF = np.maximum(*sources)
    return np.all(active_CT, axis=0)[:, np.newaxis] & (loud_TF > loud_TF.max() - 1.0)


def bins_right(way: str, sources: list[Frames], active_CT: NDArray[np.bool_]) -> tuple[int, int]:
    """In how many audible bins the channel of the louder talker gets more, and of how many."""
    counted_TF = audible(sources, active_CT)
    odds_TF = (sources[0] - sources[1]) / NAT
    given_TF = odds_TF + wrong(way, odds_TF, 0)
    return int(((given_TF > 0) == (odds_TF > 0))[counted_TF].sum()), int(counted_TF.sum())


@torch.inference_mode()
def bins_of_gates(
    model: SeparatorTransducer,
    sources: list[Frames],
    mixture_TF: Frames,
    active_CT: NDArray[np.bool_],
) -> tuple[int, int]:
    """In how many of those a model's gates give it more, in the better order of its channels."""
    lengths_B = torch.tensor([len(mixture_TF)])
    separated = model.separate(torch.from_numpy(mixture_TF)[None], lengths_B)
    assert separated.gates_STF is not None
    first_TF, second_TF = separated.gates_STF.numpy()
    counted_TF = audible(sources, active_CT)
    agree_TF = (first_TF > second_TF) == (sources[0] > sources[1])
    right, number = int(agree_TF[counted_TF].sum()), int(counted_TF.sum())
    return max(right, number - right), number


NAT = FeatureConfig.whisper().nat


def heard_of(
    way: str, plan: Any, mixture: Any, recognizer: Recognizer, right: dict[str, NDArray[np.int64]]
) -> Heard:
    """What the recognizer makes of a mixture, handed on in some way; counts bins that are right."""
    if way == "one channel":
        return hear(recognizer.stream(), mixture.samples_N)
    if way == "own sound always":
        return together([hear(recognizer.stream(), own_N) for own_N in mixture.sources_CN])
    features = recognizer.bundle.features
    tail_N = np.zeros(round(recognizer.turns.tail_seconds * 16_000) + 3200, np.float32)
    frames = [
        extract(np.concatenate([own_N, tail_N]), features)
        for own_N in (mixture.samples_N, *mixture.sources_CN)
    ]
    active_CT = activity(plan, features.clock, len(frames[0]))
    if way in SHARES:
        right[way] = right.get(way, np.zeros(2, np.int64)) + bins_right(way, frames[1:], active_CT)
    channels = []
    for frames_TF in handed_on(way, frames[0], frames[1:], active_CT):
        stream = recognizer.stream()
        stream._features = Given(frames_TF)  # pyright: ignore[reportAttributeAccessIssue]
        channels.append(hear(stream, mixture.samples_N))
    return together(channels)


def right_of(name: str, plans: list[MixturePlan], sounds: FileSounds) -> float:
    """The part of bins that a model's gates get right."""
    bundle, places = load_two_talkers(name), sounds.by_id()
    features, counts = bundle.settings.features, np.zeros(2, np.int64)
    for plan in plans:
        mixture = render(plan, sounds, places)
        frames = [extract(n, features) for n in (mixture.samples_N, *mixture.sources_CN)]
        active_CT = activity(plan, features.clock, len(frames[0]))
        counts += bins_of_gates(bundle.model, frames[1:], frames[0], active_CT)
    return float(counts[0] / counts[1])


SHARES = ("shares", "shares, 2", "shares, 4")
WAYS = ("one channel", "earlier", "mixture", "own sound", "own sound always", *SHARES)


def main() -> None:
    """Hear the mixtures in every way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=120)
    parser.add_argument("--ways", nargs="+", default=WAYS, choices=WAYS)
    parser.add_argument("--model", default="evenear-en")
    parser.add_argument("--gates", help="a two-channel model whose gates are counted, no more")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    plans, sounds = read_plans(LIST)[: options.limit], sounds_of(options.data)
    people, places = people_of(sounds), sounds.by_id()
    if options.gates is not None:
        values = json.loads(options.out.read_text())
        values["bins_right"][options.gates] = right_of(options.gates, plans, sounds)
        options.out.write_text(json.dumps(values, indent=1) + "\n")
        return
    recognizer = Recognizer.load(options.model)
    rows: dict[str, list[Row]] = {way: [] for way in options.ways}
    right: dict[str, NDArray[np.int64]] = {}
    for plan in plans:
        mixture = render(plan, sounds, places)
        for way in options.ways:
            heard = heard_of(way, plan, mixture, recognizer, right)
            rows[way].append((plan, score_session(normalized(reference_segments(plan)), heard)))
        print(".", end="", file=sys.stderr, flush=True)
    groups = sorted({group for plan in plans for group in conditions(plan, people)})
    results: dict[str, Any] = {}
    for group in groups:
        own = {
            way: [row for row in found if group in conditions(row[0], people)]
            for way, found in rows.items()
        }
        results[group] = {way: summary(found) for way, found in own.items()}
        for way in options.ways[1:]:
            results[group][f"{way} / one channel"] = compared(own[way], own["one channel"])
    command = " ".join(["python", *sys.argv]).replace(str(options.data.parent), "CORPORA")
    values = {
        "question": (__doc__ or "").splitlines()[0],
        "command": command,
        "bins_right": {way: float(found[0] / found[1]) for way, found in right.items()},
        "results": results,
    }
    options.out.write_text(json.dumps(values, indent=1) + "\n")


if __name__ == "__main__":
    main()
