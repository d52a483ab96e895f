# SPDX-License-Identifier: Apache-2.0
"""Teach a speech gate what need not be heard, from what the recognizer itself says; then measure.

    listened = [listen(model, batch.features_BTF, batch.lengths_B) for batch in batches]
    learn_speech(gate, listened, num_updates=1000, peak_rate=3e-3, seed=0)
    set_silence(gate, listened); set_threshold(gate, held, missed=0.005)
    gate.put_plans(measured_plans(model, sounds, right_frames=32))

No texts are used. The encoder hears whole utterances, the head for phones (or for tokens) says how
sure it is that each frame says something, and what is said within 80 ms counts, too, so that a
block is heard that a word begins or ends just beside.

Legend: B utterances, T feature frames, F feature width, K groups of `stride` feature frames, H
hidden units, D encoder width, V phones or tokens, N blocks of all utterances.

Source: ours.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from evenear.encoders.gated.encoder import GatedTransformer
from evenear.encoders.gated.speech import Plan, SpeechGate
from evenear.encoders.sparing import SparingHearing
from evenear.encoders.transformer import TransformerEncoder
from evenear.errors import ConfigError
from evenear.models.transducer import Transducer
from evenear.seeding import torch_rng_for
from evenear.units import Frames

__all__ = [
    "HOPS_AND_GATES",
    "Listened",
    "learn_speech",
    "listen",
    "measured_plans",
    "set_silence",
    "set_threshold",
]

_BESIDE_FRAMES = 2
"""Encoder frames (40 ms) on both sides of one that says something, which count as it does."""
_SAID, _SILENT = 0.5, 0.02
"""From where on something is said surely, and up to where surely nothing."""

HOPS_AND_GATES: tuple[tuple[int, float], ...] = (
    (32, 1.0),
    (64, 1.0),
    (96, 1.0),
    (160, 1.0),
    *product((320,), (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)),
)
"""Ways of hearing whose cost is measured: feature frames that a window settles, and what gates are
asked for."""


class Listened(NamedTuple):
    """What a recognizer made of a batch."""

    features_BTF: Tensor
    """Normalized."""
    said_BK: Tensor
    """How surely each encoder frame, or one beside it, says something; 0 to 1."""
    real_BK: Tensor
    """Which frames are no padding."""
    silence_D: Tensor
    """The sum of the encoder's frames that surely say nothing."""
    num_silent: int


@torch.no_grad()
def listen(model: Transducer, features_BTF: Tensor, lengths_B: Tensor) -> Listened:
    """Let a recognizer hear padded utterances whole.

    Args:
        model: A recognizer in evaluation mode whose encoder is the Transformer, with or without
            gates, and which has a head for phones or for tokens.
        features_BTF: Features, not normalized.
        lengths_B: Their lengths.

    Raises:
        ConfigError: It has another encoder, or no such head.
    """
    encoder = model.encoder
    backbone = encoder.backbone if isinstance(encoder, GatedTransformer) else encoder
    if not isinstance(backbone, TransformerEncoder):
        raise ConfigError(f"A speech gate stands before a Transformer, not {backbone}.")
    normed_BTF = model.normalize(features_BTF)
    places_T = torch.arange(features_BTF.shape[1])
    encoded_BKD = backbone.encode_unbounded(normed_BTF, places_T < lengths_B[:, None])
    said_BK = _said(model, encoded_BKD)
    real_BK = torch.arange(said_BK.shape[1]) < backbone.output_lengths(lengths_B)[:, None]
    said_BK = said_BK * real_BK
    silent_BK = real_BK & (said_BK < _SILENT)
    width = 2 * _BESIDE_FRAMES + 1
    said_BK = F.max_pool1d(said_BK[:, None], width, stride=1, padding=_BESIDE_FRAMES)[:, 0]
    return Listened(
        normed_BTF, said_BK, real_BK, encoded_BKD[silent_BK].sum(dim=0), int(silent_BK.sum())
    )


def learn_speech(
    gate: SpeechGate,
    listened: Sequence[Listened],
    *,
    num_updates: int,
    peak_rate: float = 3e-3,
    seed: int = 0,
    report: Callable[[int, float], None] | None = None,
) -> None:
    """Teach a gate, in place, with AdamW and a rate that falls in a line.

    Args:
        gate: The gate.
        listened: Batches, used in random order, again and again.
        num_updates: One batch each.
        peak_rate: The first rate.
        seed: Of the order.
        report: Told the number and the loss of each update.
    """
    optimizer = torch.optim.AdamW(gate.parameters(), lr=peak_rate, weight_decay=0.01)
    rng = torch_rng_for(seed, "speech gate")
    for update in range(num_updates):
        for group in optimizer.param_groups:
            group["lr"] = peak_rate * (1 - update / num_updates)
        batch = listened[int(torch.randint(len(listened), (), generator=rng))]
        logits_BK, _ = gate.step(batch.features_BTF, gate.initial_state(len(batch.said_BK)))
        loss_BK = F.binary_cross_entropy_with_logits(logits_BK, batch.said_BK, reduction="none")
        loss = (loss_BK * batch.real_BK).sum() / batch.real_BK.sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(gate.parameters(), 1.0)
        optimizer.step()
        if report is not None:
            report(update + 1, float(loss.detach()))


def set_silence(gate: SpeechGate, listened: Iterable[Listened]) -> None:
    """Let the mean of what the encoder says of silence stand for frames that are not heard.

    Raises:
        ConfigError: Nothing in it is silent.
    """
    batches = list(listened)
    count = sum(batch.num_silent for batch in batches)
    if not count:
        raise ConfigError("There is no silence in this speech to learn it from.")
    total_D = torch.stack([batch.silence_D for batch in batches]).sum(dim=0)
    gate.silence_D.copy_(total_D / count)


@torch.no_grad()
def set_threshold(
    gate: SpeechGate, listened: Iterable[Listened], block: int, missed: float
) -> float:
    """Put the threshold so that this part of the blocks with speech would not be heard.

    Args:
        gate: The gate.
        listened: Speech of others than it learned from.
        block: Encoder frames of a block.
        missed: The part, 0 to 1.

    Returns:
        The part of the blocks without speech that then need not be heard.
    """
    loudest, is_said = [], []
    for batch in listened:
        logits_BK, _ = gate.step(batch.features_BTF, gate.initial_state(len(batch.said_BK)))
        logits_BK = logits_BK.masked_fill(~batch.real_BK, -torch.inf)
        whole = logits_BK.shape[1] // block * block
        blocks_BTK = logits_BK[:, :whole].unflatten(1, (-1, block))
        loudest.append(blocks_BTK.amax(dim=2).flatten())
        said_BTK = batch.said_BK[:, :whole].unflatten(1, (-1, block))
        is_said.append((said_BTK.amax(dim=2) > _SAID).flatten())
    logits_N, said_N = torch.cat(loudest), torch.cat(is_said)
    there_N = logits_N > -torch.inf
    spoken = logits_N[there_N & said_N]
    gate.threshold.copy_(torch.quantile(spoken, missed))
    return float((logits_N[there_N & ~said_N] <= gate.threshold).float().mean())


@torch.inference_mode()
def measured_plans(
    model: Transducer,
    sounds: Iterable[Tensor],
    right_frames: Frames,
    ways: Sequence[tuple[int, float]] = HOPS_AND_GATES,
) -> list[Plan]:
    """What each way of hearing costs, of what right context would.

    Args:
        model: A recognizer whose gates have learned, in evaluation mode.
        sounds: Features (T, F) of utterances, not normalized.
        right_frames: Right context, in feature frames.
        ways: Feature frames that a window settles, and the share that gates are asked for.
    """
    encoder = model.encoder
    assert isinstance(encoder, GatedTransformer), "only an encoder with gates has a speech gate"
    hearing = SparingHearing(encoder, right_frames)
    block = encoder.block_frames
    utterances = [model.normalize(features_TF[None]) for features_TF in sounds]
    plans = []
    for hop, gates in ways:
        hearing.speech.put_plans([Plan(1.0, hop, gates)])
        spent = full = 0.0
        for features_1TF in utterances:
            state = hearing.initial_state(0.5)
            whole = features_1TF.shape[1] // block * block
            for block_1TF in features_1TF[:, :whole].split(block, dim=1) if whole else ():
                _, state = hearing.step(block_1TF, state)
            _, state = hearing.finish(features_1TF[:, whole:], state)
            spent, full = spent + float(state.spent_B), full + float(state.full_B)
        plans.append(Plan(spent / max(full, 1.0), hop, gates))
    return plans


def _said(model: Transducer, encoded_BKD: Tensor) -> Tensor:
    """How surely each frame says something, (B, K)."""
    if model.phones is not None:
        logits_BKV = model.phone_logits(model.joiner.encoder_proj(encoded_BKD))
        blank_BK = logits_BKV.softmax(dim=2)[:, :, 0]
        return 1 - blank_BK.unflatten(1, (-1, model.phone_steps)).amin(dim=2)
    if model.ctc is not None:
        return 1 - model.ctc(encoded_BKD).softmax(dim=2)[:, :, model.blank_id]
    raise ConfigError(
        "A speech gate learns from a head for phones or a CTC head; this model has neither.",
        hint="Train a model with objective.phone_weight or objective.ctc_weight.",
    )
