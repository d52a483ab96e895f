# SPDX-License-Identifier: Apache-2.0
"""Where a recognizer with a dial thought harder: what of its encoder ran, block by block.

    seen = explain(recognizer, samples_N, compute=0.4)
    seen.spent_K                  the share of the dense work that each block cost
    off_rates(seen)               how much was off, in silence and in speech, layer by layer

The sound is heard once more for it, as a stream hears it, without the silence that a stream puts
behind the end. A stream that hears sparingly hears blocks in windows: what ran for a window ran for
each block that it settled, and what it cost is shared by them.

Legend: B streams (1), N audio samples, T feature frames, F feature width, K blocks, D encoder
width, L layers, P parts of a layer, H heads.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evenear.encoders.gated.encoder import GatedTransformer
from evenear.encoders.gated.layer import Toggles
from evenear.encoders.sparing import SparingHearing, SparingState
from evenear.errors import ConfigError
from evenear.features import extract
from evenear.streaming.ear import Ear
from evenear.streaming.recognizer import Recognizer
from evenear.units import Frames, Seconds

__all__ = ["PARTS", "Explained", "explain", "off_rates"]

PARTS = ("attention", "keys", "feed-forward")
"""What is switched of a layer: who asks, who may be asked, and the feed-forward module."""


@dataclass(frozen=True)
class Explained:
    """What ran for a recording."""

    features_TF: NDArray[np.float32]
    """Normalized features."""
    block_seconds: Seconds
    on_LKP: NDArray[np.float32]
    """Of each layer and block, the share of each of `PARTS` that was on."""
    spent_K: NDArray[np.float64]
    """The share of the dense encoder's work that each block cost."""
    is_loud_K: NDArray[np.bool_]
    """Whether a block is louder than halfway between the softest and the loudest."""
    asked: float
    compute: float
    """The share that was spent in all."""


@torch.inference_mode()
def explain(
    recognizer: Recognizer, samples_N: NDArray[np.float32], compute: float | None = None
) -> Explained:
    """Hear a recording's samples (16 kHz, mono) and note what ran.

    Raises:
        ConfigError: The recognizer has no dial, or the sound is shorter than a block.
    """
    encoder, bundle = recognizer.model.encoder, recognizer.bundle
    if not isinstance(encoder, GatedTransformer):
        raise ConfigError(
            f"{bundle.name} has no compute dial, so all of it always runs.",
            hint="Take a model with gates, as evenear-en.",
        )
    asked = recognizer.compute if compute is None else compute
    block = encoder.block_frames
    frames = torch.from_numpy(extract(samples_N, bundle.features))
    num_blocks = len(frames) // block
    if not num_blocks:
        raise ConfigError(
            f"There is less than one block of {block / 100:.2f} s of sound to explain."
        )
    features_1TF = recognizer.model.normalize(frames[: num_blocks * block])[None]
    blocks = features_1TF.split(block, dim=1)
    if asked < 1 and Ear(recognizer.model).sparing is not None:
        ran = _ran_sparingly(recognizer, blocks, asked)
    else:
        ran = _ran(encoder, blocks, asked)
    on, spent, dense = zip(*ran, strict=True)
    loud_K = features_1TF[0].mean(dim=1).unflatten(0, (num_blocks, block)).mean(dim=1).numpy()
    return Explained(
        features_TF=features_1TF[0].numpy(),
        block_seconds=block * bundle.features.clock.frame_seconds,
        on_LKP=torch.stack(on, dim=1).numpy(),
        spent_K=np.array(spent) / np.array(dense),
        is_loud_K=loud_K > (loud_K.max() + loud_K.min()) / 2,
        asked=asked,
        compute=sum(spent) / sum(dense),
    )


class _Watched(SparingHearing):
    """Hears sparingly and notes what ran: for each block, of each layer and part, and its cost."""

    def __init__(self, encoder: GatedTransformer, right_frames: Frames) -> None:
        super().__init__(encoder, right_frames)
        self.ran: list[tuple[Tensor, float]] = []

    def _skipped(self, state: SparingState) -> tuple[Tensor, SparingState]:
        settled_1TD, after = super()._skipped(state)
        count = state.speech_BK.shape[1] - after.speech_BK.shape[1]
        nothing = torch.zeros(len(self.encoder.backbone.layers), len(PARTS))
        self.ran += [(nothing, 0.0)] * count
        return settled_1TD, after

    def _heard(self, count: int, state: SparingState) -> tuple[Tensor, SparingState]:
        toggles = self.encoder.watched_window(state.waiting_BTF, state.gated)
        settled_1TD, after = super()._heard(count, state)
        cost = float(after.spent_B - state.spent_B) / count
        self.ran += [(_shares(toggles), cost)] * count
        return settled_1TD, after


def _ran_sparingly(
    recognizer: Recognizer, blocks: Sequence[Tensor], asked: float
) -> list[tuple[Tensor, float, float]]:
    """Of each block: what ran, its cost, and what right context would have cost."""
    ear = Ear(recognizer.model)
    assert ear.sparing is not None, "only such streams are asked"
    hearing = _Watched(ear.sparing.encoder, ear.right_frames)
    state = hearing.initial_state(asked)
    for block_1TF in blocks:
        _, state = hearing.step(block_1TF, state)
    hearing.finish(blocks[0][:, :0], state)
    block = hearing.encoder.block_frames
    listening = hearing.speech.macs * block // hearing.encoder.stride
    return [
        (on, cost + listening, hearing.full_macs(block, number * block))
        for number, (on, cost) in enumerate(hearing.ran)
    ]


def _ran(
    encoder: GatedTransformer, blocks: Sequence[Tensor], asked: float
) -> list[tuple[Tensor, float, float]]:
    """Of each block: what ran, its cost, and what it would have cost without gates."""
    state, ran = encoder.ask(encoder.initial_state(1), asked), []
    for block_1TF in blocks:
        before = state
        state, toggles = encoder.watched(block_1TF, state)
        spent, dense = state.spent_B - before.spent_B, state.dense_B - before.dense_B
        ran.append((_shares(toggles), float(spent), float(dense)))
    return ran


def _shares(toggles: Sequence[Toggles]) -> Tensor:
    """Of each layer and part, the share that was on."""
    shares = [
        (t.query_BTH.float().mean(), t.key_BTH.float().mean(), t.ff_share.mean()) for t in toggles
    ]
    return torch.tensor(shares)


def off_rates(seen: Explained) -> list[dict[str, dict[str, float | None]]]:
    """Of each layer and part, the share of its work that was off, in silence and in speech."""
    kinds = {"silence": ~seen.is_loud_K, "speech": seen.is_loud_K}
    return [
        {
            part: {
                kind: float(1.0 - on_KP[of_K, number].mean()) if of_K.any() else None
                for kind, of_K in kinds.items()
            }
            for number, part in enumerate(PARTS)
        }
        for on_KP in seen.on_LKP
    ]
