# SPDX-License-Identifier: Apache-2.0
"""Where a recognizer with a dial thought harder: what of its encoder ran, block by block.

    seen = explain(recognizer, samples_N, compute=0.4)
    seen.spent_K                  the share of the dense work that each block cost
    off_rates(seen)               how much was off, in silence and in speech, layer by layer

The sound is heard once more for it, as a stream hears it, without the silence that a stream puts
behind the end.

Legend: N audio samples, T feature frames, F feature width, K blocks, L layers, P parts
of a layer.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from evenear.encoders.gated.encoder import GatedTransformer
from evenear.errors import ConfigError
from evenear.features import extract
from evenear.streaming.recognizer import Recognizer
from evenear.units import Seconds

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
    state = encoder.ask(encoder.initial_state(1), asked)
    on, spent, dense = [], [], []
    for block_1TF in features_1TF.split(block, dim=1):
        before = state
        state, toggles = encoder.watched(block_1TF, state)
        shares = [
            (t.query_BTH.float().mean(), t.key_BTH.float().mean(), t.ff_share.mean())
            for t in toggles
        ]
        on.append(torch.tensor(shares))
        spent.append(float(state.spent_B - before.spent_B))
        dense.append(float(state.dense_B - before.dense_B))
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
