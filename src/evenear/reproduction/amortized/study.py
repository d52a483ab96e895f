# SPDX-License-Identifier: Apache-2.0
"""Accuracy against computation of one model with a dial, its rivals, and who pays for the saving.

Every way of computing hears the same utterances, whole, in batches, and all are read by one search:
greedily, or, where the model has words, for those, with a beam that is narrow and without the
transducer's judgement, since there are many ways to measure.
Counted is the share of the dense encoder's multiply-accumulates. Intervals resample speakers, all
ways with the same draws. Milliseconds are those of the encoder on a stream, block by block, dense
and gated in turn, in processor time of one thread.

Legend: B utterances, T feature frames, F feature width, N samples, S speakers.

Source: Xie et al. 2022, arXiv:2207.02393, table 3 and figure 3. What saving costs which group was
not published.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evenear.audio import read_audio
from evenear.checkpoint import Bundle
from evenear.config import replace, to_dict
from evenear.data.batching.batches import padded
from evenear.data.corpora.manifests import Utterance
from evenear.encoders.base import Encoded
from evenear.encoders.gated.encoder import GatedEncoded, GatedTransformer
from evenear.errors import ConfigError
from evenear.evaluation.conditions import condition_named
from evenear.features import extract
from evenear.metrics.words import normalize, word_errors
from evenear.reproduction.amortized.rivals import (
    blank_rule,
    encode_by,
    exit_rule,
    random_rule,
    with_window,
)
from evenear.reproduction.amortized.streams import (
    hear_streams,
    is_sparing,
    stream_ways,
    time_streams,
)
from evenear.reproduction.amortized.summary import (
    GROUPS,
    Heard,
    by_group,
    errors_of,
    share_of,
    summary,
)
from evenear.reproduction.statistics import Speakers
from evenear.search import BeamConfig, Hypothesis, LexiconConfig
from evenear.seeding import torch_rng_for
from evenear.streaming.searches import build_search

__all__ = ["SHARES", "Heard", "measure", "quick_search"]

SHARES = (0.8, 0.6, 0.4, 0.2)
"""What is asked of the dial, besides all."""
_STREAM_SHARES = (0.8, 0.6, 0.45, 0.3, 0.2)
"""What streams ask of a dial that leaves silence out."""
_WINDOW = 15
"""Frames (20 ms) of the past that the sliding window keeps: the paper's 10 frames of 30 ms."""
_BATCH_SECONDS = 60.0
_Way = Callable[[Tensor, Tensor], GatedEncoded]


def measure(
    bundle: Bundle,
    utterances: Sequence[Utterance],
    *,
    smaller: Bundle | None = None,
    search: BeamConfig | LexiconConfig | None = None,
    without: Sequence[str] = (),
    shares: Sequence[float] = SHARES,
    report: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """All numbers of the study.

    Args:
        bundle: A model with gates.
        utterances: What is heard.
        smaller: The same model with gates that hear nothing, so that each of its settings is one
            smaller dense encoder; None: there is none to compare with.
        search: How words are read; None: as `quick_search` says.
        without: What is left out for want of time: window, exit, blank, random, noise, streams.
        shares: What is asked of the dial.
        report: Told what is measured next.

    Raises:
        ConfigError: The model has no dial.
    """
    encoder = bundle.model.encoder
    if not isinstance(encoder, GatedTransformer):
        raise ConfigError(
            f"{bundle.name} has no compute dial to study.", hint="Give a model with gates."
        )
    settings = search or quick_search(bundle)
    read = build_search(bundle, settings, None).read
    clean = list(_batches(bundle, utterances, None))
    ways = _ways(bundle, encoder, shares)
    if smaller is not None:
        ways |= _smaller_ways(smaller, shares)
    ways = {name: way for name, way in ways.items() if name.split()[0] not in without}
    heard: dict[str, list[Heard]] = {}
    for name, way in ways.items():
        report(name)
        heard[name] = _hear(bundle, clean, way, read)
    for share in shares[1:3] if "random" not in without else ():
        spent = share_of(heard[f"gates {share}"])
        report(f"random {share}")
        heard[f"random {share}"] = _hear(bundle, clean, _random(encoder, clean, spent), read)
    loud: dict[str, list[Heard]] = {}
    if "noise" not in without:
        report("noise")
        noisy = list(_batches(bundle, utterances, "noise-10"))
        names = ("dense", *(f"gates {share}" for share in shares))
        loud = {name: _hear(bundle, noisy, ways[name], read) for name in names}
    report("milliseconds")
    has_streams = "streams" not in without and is_sparing(bundle)
    return {
        "utterances": len(utterances),
        "speakers": len({u.speaker for u in utterances}),
        "search": {"kind": type(settings).__name__, **to_dict(settings)},
        "ways": summary(heard),
        "left_out": list(without),
        "noise_10_db": summary(loud) if loud else {},
        "groups": {
            name: by_group(heard, name, [f"gates {share}" for share in shares]) for name in GROUPS
        },
        "noise": _noise(heard, loud, shares) if loud else {},
        "off": _off_rates(encoder, clean, shares),
        "streams": _streams(bundle, utterances, report) if has_streams else {},
        "milliseconds": [
            _milliseconds(bundle, utterances[:4], share, block)
            for block in _blocks(encoder)
            for share in shares
        ],
    }


def _streams(
    bundle: Bundle,
    utterances: Sequence[Utterance],
    report: Callable[[str], None],
) -> dict[str, Any]:
    """The dial as its users have it."""
    report("streams")
    ways = stream_ways(bundle, _STREAM_SHARES)
    heard = hear_streams(ways, utterances, report)
    dials = [name for name in ways if name.startswith("dial ")]
    return {
        "ways": summary(heard, "all"),
        "groups": {name: by_group(heard, name, dials, "all") for name in GROUPS},
        "time": time_streams(ways, utterances[:: max(1, len(utterances) // 20)]),
    }


def quick_search(bundle: Bundle) -> BeamConfig | LexiconConfig:
    """A search that is quick enough for many ways: for the model's words, if it has some."""
    if bundle.words is None:
        return BeamConfig(width=1)
    return replace(bundle.word_search, width=24, transducer_weight=0.0)


def _blocks(encoder: GatedTransformer) -> tuple[int, ...]:
    """Lengths of blocks, in feature frames, that it was trained for."""
    own = encoder.config.backbone
    return own.training_blocks or (own.block_frames,)


def _batches(
    bundle: Bundle, utterances: Sequence[Utterance], condition: str | None
) -> Iterator[tuple[list[Utterance], Tensor, Tensor]]:
    """Utterances of like length with their features, normalized."""
    group: list[Utterance] = []
    for u in [*sorted(utterances, key=lambda u: u.seconds), None]:
        if group and (u is None or u.seconds * (len(group) + 1) > _BATCH_SECONDS):
            frames = []
            for one in group:
                samples_N = read_audio(one.audio)
                if condition is not None:
                    samples_N = condition_named(condition).apply(samples_N, one.utterance_id)
                frames.append(extract(samples_N, bundle.features))
            lengths_B = torch.tensor([len(frames_TF) for frames_TF in frames])
            yield group, bundle.model.normalize(padded(frames)), lengths_B
            group = []
        if u is not None:
            group.append(u)


def _ways(bundle: Bundle, encoder: GatedTransformer, shares: Sequence[float]) -> dict[str, _Way]:
    """Ways of computing, by name."""
    shorter = with_window(encoder, _WINDOW)
    ways: dict[str, _Way] = {
        "dense": lambda f, n: encode_by(encoder, f, n, 1.0),
        "window": lambda f, n: encode_by(shorter, f, n, 1.0),
    }
    for share in shares:
        ways[f"gates {share}"] = lambda f, n, s=share: encode_by(encoder, f, n, s)
    num_layers = encoder.config.backbone.num_layers
    for layers in range(num_layers // 2, num_layers):
        rule = exit_rule(encoder, layers)
        ways[f"exit {layers}"] = lambda f, n, r=rule: encode_by(encoder, f, n, 0.5, r)
    middle = num_layers // 2
    if bundle.model.ctc is not None and middle in encoder.starts:
        for threshold in (0.8, 0.98):
            rule = blank_rule(bundle.model, middle, threshold)
            ways[f"blank {threshold}"] = lambda f, n, r=rule: encode_by(encoder, f, n, 0.5, r)
    return ways


def _smaller_ways(smaller: Bundle, shares: Sequence[float]) -> dict[str, _Way]:
    """What the settings of gates that hear nothing leave of the encoder."""
    encoder = smaller.model.encoder
    assert isinstance(encoder, GatedTransformer), "a smaller model is one with gates"

    def at(share: float) -> _Way:
        return lambda features_BTF, lengths_B: encode_by(encoder, features_BTF, lengths_B, share)

    return {f"smaller {share}": at(share) for share in shares}


@torch.inference_mode()
def _hear(
    bundle: Bundle,
    batches: Sequence[tuple[list[Utterance], Tensor, Tensor]],
    way: _Way,
    read: Callable[[Encoded], Sequence[Hypothesis]],
) -> list[Heard]:
    """Recognize all utterances one way."""
    rows = []
    for group, features_BTF, lengths_B in batches:
        found = way(features_BTF, lengths_B)
        readings = read(found.encoded)
        spent_B, dense_B = found.spent_BT.double().sum(1), found.dense_BT.double().sum(1)
        for b, (u, reading) in enumerate(zip(group, readings, strict=True)):
            said = normalize(u.text, "basic")
            text = normalize(bundle.tokenizer.decode(list(reading.tokens)), "basic")
            errors = word_errors(said, text)
            known = {name: of(dict(u.attributes)) for name, of in GROUPS.items()}
            rows.append(
                Heard(
                    u.speaker,
                    errors.errors,
                    errors.reference_words,
                    float(spent_B[b]),
                    float(dense_B[b]),
                    age=known["age"],
                    gender=known["gender"],
                )
            )
    return rows


def _random(
    encoder: GatedTransformer,
    batches: Sequence[tuple[list[Utterance], Tensor, Tensor]],
    spent: float,
) -> _Way:
    """By lot, with the chance that spends this share."""
    _, features_BTF, lengths_B = batches[len(batches) // 2]
    low, high = 0.0, 1.0
    for _ in range(6):
        chance = (low + high) / 2
        rule = random_rule(encoder, chance, torch_rng_for(0, "chance"))
        found = encode_by(encoder, features_BTF, lengths_B, 0.5, rule)
        share = float(found.spent_BT.sum() / found.dense_BT.sum())
        low, high = (chance, high) if share < spent else (low, chance)
    rule = random_rule(encoder, (low + high) / 2, torch_rng_for(0, "lots"))
    return lambda f, n: encode_by(encoder, f, n, 0.5, rule)


def _noise(
    quiet: dict[str, list[Heard]], loud: dict[str, list[Heard]], shares: Sequence[float]
) -> dict[str, Any]:
    """How much more saving costs in noise, in errors per word, with its interval."""
    speakers = sorted({row.speaker for row in quiet["dense"]})
    draws = Speakers(len(speakers))
    found = {}
    for share in shares:
        name = f"gates {share}"
        gain = draws.change_of_gain(
            errors_of(quiet["dense"], speakers),
            errors_of(quiet[name], speakers),
            errors_of(loud["dense"], speakers),
            errors_of(loud[name], speakers),
        )
        found[name] = {**asdict(gain), "compute": share_of(loud[name])}
    return found


@torch.inference_mode()
def _off_rates(
    encoder: GatedTransformer,
    batches: Sequence[tuple[list[Utterance], Tensor, Tensor]],
    shares: Sequence[float],
) -> dict[str, Any]:
    """Off-rates of each layer in speech and in silence, told apart by energy."""
    found: dict[str, Any] = {}
    for share in shares:
        sums = np.zeros((encoder.config.backbone.num_layers, 3, 2, 2))
        for _, features_BTF, lengths_B in batches[:: max(1, len(batches) // 8)]:
            got = encode_by(encoder, features_BTF, lengths_B, share)
            energy_BT = features_BTF.mean(dim=2)
            paired_BT = energy_BT[:, : energy_BT.shape[1] // 2 * 2].unflatten(1, (-1, 2)).mean(2)
            num_frames = min(paired_BT.shape[1], got.spent_BT.shape[1])
            real_BT = got.dense_BT[:, :num_frames] > 0
            paired_BT = paired_BT[:, :num_frames]
            middle_B1 = (paired_BT.amax(1) + paired_BT.amin(1))[:, None] / 2
            for layer, toggles in enumerate(got.toggles):
                asks_BT, answers_BT = (
                    each.float().mean(dim=2) for each in (toggles.query_BTH, toggles.key_BTH)
                )
                for kind, on_BT in enumerate((toggles.ff_share, asks_BT, answers_BT)):
                    for loud in (0, 1):
                        chosen_BT = real_BT & ((paired_BT > middle_B1) == bool(loud))
                        off = 1.0 - on_BT[:, :num_frames][chosen_BT]
                        sums[layer, kind, loud] += (float(off.sum()), off.numel())
        rates = sums[..., 0] / np.maximum(sums[..., 1], 1)
        found[f"gates {share}"] = [
            {
                name: {
                    "silence": float(rates[layer, kind, 0]),
                    "speech": float(rates[layer, kind, 1]),
                }
                for kind, name in enumerate(("feed-forward", "queries", "keys"))
            }
            for layer in range(len(rates))
        ]
    return found


@torch.inference_mode()
def _milliseconds(
    bundle: Bundle, utterances: Sequence[Utterance], share: float, block: int
) -> dict[str, Any]:
    """Encoder time of streams, block by block, dense and gated in turn; and what was counted."""
    encoder = bundle.model.encoder
    assert isinstance(encoder, GatedTransformer), "only gates have a dial"
    usual = encoder.block_frames
    encoder.set_block(block)
    took = {"dense": 0.0, "gated": 0.0}
    spent = dense = seconds = 0.0
    for u in utterances:
        seconds += u.seconds
        frames_TF = extract(read_audio(u.audio), bundle.features)
        features_BTF = bundle.model.normalize(torch.from_numpy(frames_TF)[None])
        plain = encoder.backbone.initial_state(1)
        state = encoder.ask(encoder.initial_state(1), share)
        for chunk_BTF in features_BTF.split(encoder.block_frames, dim=1):
            began = time.process_time()
            _, plain = encoder.backbone.step(chunk_BTF, plain)
            between = time.process_time()
            _, state = encoder.step(chunk_BTF, state)
            took["dense"] += between - began
            took["gated"] += time.process_time() - between
        spent, dense = spent + float(state.spent_B), dense + float(state.dense_B)
    encoder.set_block(usual)
    counted = 1.0 - spent / dense
    saved = 1.0 - took["gated"] / took["dense"]
    return {
        "asked": share,
        "dense_milliseconds_a_second": 1000 * took["dense"] / max(seconds, 1e-9),
        "gated_milliseconds_a_second": 1000 * took["gated"] / max(seconds, 1e-9),
        "block_milliseconds": 10 * block,
        "counted_saving": counted,
        "time_saving": saved,
        "kept_of_counted": saved / counted if counted > 0 else None,
    }
