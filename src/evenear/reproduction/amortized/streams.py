# SPDX-License-Identifier: Apache-2.0
"""The dial as its users have it, and its rivals: streams, read by the search that is shipped.

    all            everything, with right context: what is compared with
    dial 0.4       the share that is asked for; silence is left out, windows are longer
    once           each block is heard once, without right context
    once, longer   the same with blocks twice as long
    window         right context, and a past of 300 ms instead of all of it
    random         as much is left out as at a setting of the dial, by lot instead of by hearing
    exit           right context, without the last layer

Counted are multiply-accumulates of the encoder and of all that decides, over those of `all`.
Processor time is that of the encoder alone, the ways in turn, block by block as a stream has them.

Legend: B streams, N audio samples, T feature frames, F feature width, K frames of the speech gate,
H what it remembers.

Source: rivals after Xie et al. 2022, arXiv:2207.02393, table 3; right context and leaving silence
out are ours.
"""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from evenear.audio import read_audio
from evenear.checkpoint import Bundle
from evenear.config import replace as changed
from evenear.data.corpora.manifests import Utterance
from evenear.encoders.gated.encoder import GatedTransformer
from evenear.encoders.rightcontext import window_macs
from evenear.encoders.transformer import TransformerConfig
from evenear.features import extract
from evenear.metrics.words import normalize, word_errors
from evenear.models.transducer import Transducer
from evenear.reproduction.amortized.summary import GROUPS, Heard
from evenear.seeding import torch_rng_for
from evenear.streaming import Final, Recognizer
from evenear.streaming.ear import Ear
from evenear.units import SAMPLE_RATE, Frames

__all__ = [
    "DenseShape",
    "StreamWay",
    "hear_streams",
    "is_sparing",
    "stream_ways",
    "time_streams",
]

_SHORT_PAST = 15
"""Frames (20 ms) of the past that the sliding window keeps: the paper's 10 frames of 30 ms."""
_CHUNK = 2560
_LOTS_AT = 0.4
"""The setting of the dial whose silence is left out by lot."""


class StreamWay(NamedTuple):
    """A way of hearing."""

    recognizer: Recognizer
    compute: float
    """What its streams ask for."""
    dense: "DenseShape | None"
    """What its encoder looks like, if nothing decides; None: its streams know what they spent."""


@dataclass(frozen=True)
class DenseShape:
    """What decides how much a dense encoder multiplies."""

    config: TransformerConfig
    block_frames: Frames
    right_frames: Frames

    def macs(self, num_frames: Frames) -> float:
        """Multiply-accumulates for so many feature frames of a stream."""
        return window_macs(
            self.config,
            block_frames=self.block_frames,
            right_frames=self.right_frames,
            num_frames=num_frames,
        )


def is_sparing(bundle: Bundle) -> bool:
    """Whether a model's dial leaves silence out."""
    encoder = bundle.model.encoder
    return isinstance(encoder, GatedTransformer) and encoder.speech is not None


def stream_ways(bundle: Bundle, shares: Sequence[float]) -> dict[str, StreamWay]:
    """All ways of hearing, by name.

    Args:
        bundle: A model with a dial that leaves silence out.
        shares: What is asked of the dial.
    """
    encoder = bundle.model.encoder
    assert isinstance(encoder, GatedTransformer), "only gates have a dial"
    assert encoder.speech is not None, "only a speech gate leaves silence out"
    recognizer = Recognizer(bundle)
    own = encoder.config.backbone
    block, right = encoder.block_frames, encoder.backbone.right_frames
    ways = {"all": StreamWay(recognizer, 1.0, DenseShape(own, block, right))}
    ways |= {f"dial {share}": StreamWay(recognizer, share, None) for share in shares}
    shorter = changed(own, left_frames=_SHORT_PAST)
    fewer = changed(own, num_layers=own.num_layers - 1)
    for name, config, own_block, own_right in (
        ("once", own, block, 0),
        ("once, longer", own, 2 * block, 0),
        ("window", shorter, block, right),
        (f"exit {fewer.num_layers}", fewer, block, right),
    ):
        plain = _plain(bundle, config, own_block, own_right)
        ways[name] = StreamWay(Recognizer(plain), 1.0, DenseShape(config, own_block, own_right))
    by_lot = replace(bundle, model=copy.deepcopy(bundle.model))
    ways[f"random {_LOTS_AT}"] = StreamWay(Recognizer(by_lot), _LOTS_AT, None)
    return ways


@torch.inference_mode()
def hear_streams(
    ways: Mapping[str, StreamWay],
    utterances: Sequence[Utterance],
    report: Callable[[str], None] = lambda _: None,
) -> dict[str, list[Heard]]:
    """Let every way hear every utterance as a stream, in chunks of 160 ms."""
    found: dict[str, list[Heard]] = {name: [] for name in ways}
    whole = ways["all"].dense
    assert whole is not None, "all is dense"
    _draw_lots(ways, utterances)
    for number, u in enumerate(utterances):
        samples_N = read_audio(u.audio)
        known = {name: of(dict(u.attributes)) for name, of in GROUPS.items()}
        for name, way in ways.items():
            stream = way.recognizer.stream(compute=way.compute)
            texts, delays = [], []
            for start in range(0, len(samples_N) + _CHUNK, _CHUNK):
                piece_N = samples_N[start : start + _CHUNK]
                events = stream.accept(piece_N) if len(piece_N) else stream.finish()
                now = min(start + _CHUNK, len(samples_N)) / SAMPLE_RATE
                for event in events:
                    if isinstance(event, Final):
                        texts.append(event.text)
                        delays += [now - word.end_seconds for word in event.words]
                if stream.is_finished:
                    break
            errors = word_errors(normalize(u.text, "basic"), normalize(" ".join(texts), "basic"))
            tail = way.recognizer.turns.tail_seconds
            frames = round((len(samples_N) / SAMPLE_RATE + tail) * 100)
            dense = whole.macs(frames)
            spent = dense * stream.compute if way.dense is None else way.dense.macs(frames)
            found[name].append(
                Heard(
                    u.speaker,
                    errors.errors,
                    errors.reference_words,
                    spent,
                    dense,
                    age=known["age"],
                    gender=known["gender"],
                    final_delays=tuple(delays),
                )
            )
        if (number + 1) % 50 == 0:
            report(f"{number + 1} of {len(utterances)} utterances, as streams")
    return found


@torch.inference_mode()
def time_streams(
    ways: Mapping[str, StreamWay], utterances: Sequence[Utterance]
) -> dict[str, dict[str, float]]:
    """Processor time of each way's encoder for a second of sound, all ways in turn, in ms.

    Of an utterance all ways hear the first block, then all the second, and so on.
    """
    took = dict.fromkeys(ways, 0.0)
    seconds = 0.0
    ears = {name: Ear(way.recognizer.model) for name, way in ways.items()}
    for u in utterances:
        seconds += u.seconds
        bundle = ways["all"].recognizer.bundle
        frames_TF = torch.from_numpy(extract(read_audio(u.audio), bundle.features))
        states = {name: ear.initial_state(ways[name].compute) for name, ear in ears.items()}
        starts = dict.fromkeys(ways, 0)
        blocks = {name: way.recognizer.model.encoder.block_frames for name, way in ways.items()}
        for end in range(0, len(frames_TF) + 1, min(blocks.values())):
            for name, ear in ears.items():
                if end - starts[name] < blocks[name]:
                    continue
                block_TF = frames_TF[starts[name] : end]
                starts[name] = end
                began = time.process_time()
                states[name] = ear.step(block_TF[None], [states[name]]).states[0]
                took[name] += time.process_time() - began
        for name, ear in ears.items():
            rest_TF = frames_TF[starts[name] :]
            began = time.process_time()
            ear.finish(rest_TF, states[name])
            took[name] += time.process_time() - began
    return {
        name: {
            "milliseconds_a_second": 1000 * each / max(seconds, 1e-9),
            "time_saving": 1.0 - each / max(took["all"], 1e-12),
        }
        for name, each in took.items()
    }


def _draw_lots(ways: Mapping[str, StreamWay], utterances: Sequence[Utterance]) -> None:
    """Let the way `random` leave out as many blocks as the dial does, whatever is in them."""
    own = next((way for name, way in ways.items() if name.startswith("random ")), None)
    if own is None:
        return
    ear = Ear(ways["all"].recognizer.model)
    assert ear.sparing is not None, "as the ways were made"
    heard = blocks = 0
    for u in utterances[:: max(1, len(utterances) // 20)]:
        frames_TF = torch.from_numpy(extract(read_audio(u.audio), own.recognizer.bundle.features))
        normed_1TF = ear.model.normalize(frames_TF[None])
        memory_BH = ear.sparing.speech.initial_state(1)
        for block_1TF in normed_1TF.split(ear.sparing.encoder.block_frames, dim=1):
            logits_BK, memory_BH = ear.sparing.speech.step(block_1TF, memory_BH)
            heard += ear.sparing.speech.is_speech(logits_BK[0])
            blocks += 1
    rng, chance = torch_rng_for(0, "lots of blocks"), heard / max(blocks, 1)
    encoder = own.recognizer.model.encoder
    assert isinstance(encoder, GatedTransformer), "a copy of one"
    assert encoder.speech is not None, "a copy of one"

    def by_lot(_: Tensor) -> bool:
        return bool(torch.rand((), generator=rng) < chance)

    encoder.speech.is_speech = by_lot  # pyright: ignore[reportAttributeAccessIssue]


def _plain(
    bundle: Bundle, config: TransformerConfig, block_frames: Frames, right_frames: Frames
) -> Bundle:
    """A copy of the model without gates, its encoder changed but for the weights."""
    settings = changed(config, block_frames=block_frames, right_frames=right_frames)
    model = Transducer(changed(bundle.model.config, encoder=settings))
    own = {}
    for name, weight in bundle.model.state_dict().items():
        own[name.replace("encoder.backbone.", "encoder.")] = weight
    model.load_state_dict({name: own[name] for name in model.state_dict()})
    return replace(bundle, model=model.eval(), dial=None)
