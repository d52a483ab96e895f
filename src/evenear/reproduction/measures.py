# SPDX-License-Identifier: Apache-2.0
"""What a trained recognizer costs, how fast it is, and whether a stream of it is the whole.

Counts are exact (`evenear.models.cost`). Time is measured on one thread, chunk by chunk as it would
be live, so it wants an otherwise idle machine. The streaming check cuts real features into chunks
of random lengths, and spoils the future of each utterance, and reports the largest change of what
should not change.

Legend: B utterances, T frames, F feature width, D encoder width.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from evenear.config import replace
from evenear.data.corpora.manifests import Utterance
from evenear.encoders.base import Encoder
from evenear.encoders.conformer import ConformerConfig
from evenear.encoders.convrnn import ConvRnnConfig, ConvRnnEncoder
from evenear.evaluation import recognize
from evenear.metrics.latency import ComputeTime
from evenear.models.cost import encoder_cost, paper_flops, transducer_cost
from evenear.models.transducer import Transducer
from evenear.recipes.convrnnt import PAPER
from evenear.seeding import rng_for
from evenear.streaming import Recognizer
from evenear.units import Seconds

__all__ = ["Costs", "Counts", "costs", "counts_of_the_paper", "streaming_gap", "timed", "trap_gap"]

_FRAMES = (200, 400, 800, 1600)
_FRAME_SECONDS = 0.03


@dataclass(frozen=True)
class Costs:
    """What a recognizer costs for each second of speech."""

    num_parameters: int
    encoder_macs_per_second: float
    macs_per_second: float
    """Predictor and joiner included, at the rate of tokens of the test."""
    state_bytes: int


@dataclass(frozen=True)
class Counts:
    """What the encoders cost at the paper's sizes, by the paper's count and by the true one."""

    num_frames: tuple[int, ...]
    papers_convrnn: tuple[float, ...]
    """Floating point operations on so many frames, as the paper counts them."""
    papers_conformer: tuple[float, ...]
    """The same of a Conformer at full frame rate, which fits the paper's figure."""
    true_macs: Mapping[str, float]
    """Multiply-accumulates of an encoder for each second, by name."""


def costs(model: Transducer, frame_seconds: Seconds, tokens_per_second: float) -> Costs:
    """Count what a recognizer costs."""
    found = transducer_cost(model, frame_seconds)
    return Costs(
        num_parameters=found.num_parameters,
        encoder_macs_per_second=found.encoder.macs_per_second,
        macs_per_second=found.macs_per_second(tokens_per_second),
        state_bytes=found.encoder.state_bytes,
    )


@cache
def counts_of_the_paper() -> Counts:
    """Count the encoders at the paper's sizes, on feature frames of 30 ms."""
    configs = {name: preset() for name, preset in PAPER.items()}
    conformer = configs["conformer"].encoder
    assert isinstance(conformer, ConformerConfig)
    full_rate = replace(conformer, reduction=1)
    configs["conformer-full-rate"] = replace(configs["conformer"], encoder=full_rate)
    return Counts(
        num_frames=_FRAMES,
        papers_convrnn=tuple(paper_flops(configs["convrnn"].encoder, n) for n in _FRAMES),
        papers_conformer=tuple(paper_flops(full_rate, n) for n in _FRAMES),
        true_macs={
            name: encoder_cost(Transducer(config).encoder, _FRAME_SECONDS).macs_per_second
            for name, config in configs.items()
        },
    )


def timed(recognizer: Recognizer, utterances: Iterable[Utterance]) -> ComputeTime:
    """Stream utterances on as many threads as torch may use, and add up the time."""
    return ComputeTime.total(row.compute for row in recognize(recognizer, utterances))


@torch.inference_mode()
def streaming_gap(encoder: Encoder, features_BTF: Tensor, *, seed: int = 0) -> float:
    """Largest change of an encoder frame by chunking, or by a future that it must not hear."""
    lengths_B = torch.full((len(features_BTF),), features_BTF.shape[1])
    whole_BTD = encoder(features_BTF, lengths_B).encoded_BTD
    gap = float((_streamed(encoder, features_BTF, seed) - whole_BTD).abs().max())
    frame = features_BTF.shape[1] // 2
    other_BTF = features_BTF.clone()
    other_BTF[:, frame:] = other_BTF[:, frame:].flip(1) * 2.0 + 1.0
    other_BTD = encoder(other_BTF, lengths_B).encoded_BTD
    num_equal = max(0, -(-(frame - encoder.lookahead_frames) // encoder.stride))
    if num_equal:
        leak_BTD = whole_BTD[:, :num_equal] - other_BTD[:, :num_equal]
        gap = max(gap, float(leak_BTD.abs().max()))
    return gap


def trap_gap(encoder: Encoder, features_BTF: Tensor) -> float | None:
    """`streaming_gap` of the same weights with a squeeze of whole utterances; None without one."""
    if not isinstance(encoder, ConvRnnEncoder) or encoder.config.global_cnn is None:
        return None
    config: ConvRnnConfig = encoder.config
    if config.global_cnn is None or config.global_cnn.squeeze_excite != "running-mean":
        return None
    wide = replace(config.global_cnn, squeeze_excite="whole-utterance")
    trapped = ConvRnnEncoder(replace(config, global_cnn=wide)).eval()
    trapped.load_state_dict(encoder.state_dict())
    return streaming_gap(trapped, features_BTF)


def _streamed(encoder: Encoder, features_BTF: Tensor, seed: int) -> Tensor:
    """Encoder frames of a stream whose chunks have random lengths."""
    rng = rng_for(seed, "streaming gap")
    state, parts, start = encoder.initial_state(len(features_BTF)), [], 0
    while start < features_BTF.shape[1]:
        end = start + int(rng.integers(1, 24))
        encoded_BTD, state = encoder.step(features_BTF[:, start:end], state)
        parts.append(encoded_BTD)
        start = end
    return torch.cat([*parts, encoder.flush(state)], dim=1)
