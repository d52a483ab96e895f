# SPDX-License-Identifier: Apache-2.0
"""The upper part of a recognizer as a recognizer of its own, over stored outputs of the lower part.

Comparing a dozen ways to adapt means hearing the same speech again and again, and most of that
time goes into the lowest layers. Here the convolutions and the lower LSTM layers hear each
utterance once, their frames are stored, and what is adapted is the rest: the last LSTM layers,
predictor and joiner. The upper part says just what the whole recognizer says. What adapting the
lower part too would bring stays unknown; so does the gain of heads that are left out (phones).

Legend: T frames, D width.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from evenear.atomic import write_bytes, writing
from evenear.checkpoint import Bundle
from evenear.config import replace
from evenear.data.batching.store import FrameStore
from evenear.encoders.convrnn import ConvRnnConfig
from evenear.encoders.lstm import LstmEncoderConfig
from evenear.errors import ConfigError
from evenear.features import FeatureConfig
from evenear.models.transducer import Transducer
from evenear.search import BeamConfig
from evenear.training.encoding import encode, plain_batches

__all__ = ["stored_below", "upper_part"]


def upper_part(bundle: Bundle, num_layers: int) -> tuple[Bundle, Transducer]:
    """Cut a recognizer below its last LSTM layers.

    Args:
        bundle: The recognizer.
        num_layers: LSTM layers of the upper part.

    Returns:
        The upper part, which reads frames of the lower one, and a recognizer whose encoder is the
        lower part.

    Raises:
        ConfigError: Its encoder has no such layers.
    """
    encoder = bundle.model.config.encoder
    if not isinstance(encoder, (ConvRnnConfig, LstmEncoderConfig)):
        raise ConfigError(
            f"Cutting a recognizer needs an encoder that ends in LSTM layers, got {encoder.kind}.",
            hint="Give a model with a ConvRNN or LSTM encoder, such as evenear-en-small.",
        )
    below = encoder.lstm.num_layers - num_layers
    if below < 1 or num_layers < 1:
        raise ConfigError(
            f"Between 1 and {encoder.lstm.num_layers - 1} layers can be adapted, got {num_layers}."
        )
    stride = bundle.features.stack * bundle.model.encoder.stride
    features = FeatureConfig(
        num_mel_bins=encoder.lstm.dim,
        stack=1,
        hop_milliseconds=stride * bundle.features.hop_milliseconds,
    )
    whole = bundle.model.config
    upper_encoder = LstmEncoderConfig(
        feature_dim=encoder.lstm.dim, lstm=replace(encoder.lstm, num_layers=num_layers)
    )
    lower_encoder = replace(encoder, lstm=replace(encoder.lstm, num_layers=below))
    weights = bundle.model.state_dict()
    with torch.random.fork_rng(devices=[]):
        upper = Transducer(replace(whole, encoder=upper_encoder, phones=0))
        lower = Transducer(replace(whole, encoder=lower_encoder))
    own = upper.state_dict()
    upper.load_state_dict({n: weights[_above(n, below)] if _is_shared(n) else own[n] for n in own})
    lower.load_state_dict({name: weights[name] for name in lower.state_dict()})
    cut = Bundle(
        model=upper.eval(),
        features=features,
        tokenizer=bundle.tokenizer,
        card="",
        language_model=None,
        search=BeamConfig(width=1),
        words=None,
        word_search=bundle.word_search,
        name=f"{bundle.name}-upper-{num_layers}",
    )
    return cut, lower.eval()


@torch.inference_mode()
def stored_below(
    bundle: Bundle,
    lower: Transducer,
    store: FrameStore,
    folder: Path,
    *,
    progress: Callable[[int], None] | None = None,
) -> FrameStore:
    """Hear a store by the lower part, and store its frames; found again if they are there."""
    digest = hashlib.blake2b(digest_size=10)
    for tensor in lower.state_dict().values():
        digest.update(tensor.contiguous().numpy().tobytes())
    for part in store.parts:
        digest.update(part.name.encode())
    path = folder / f"below-{digest.hexdigest()}"
    if not path.with_suffix(".npy").exists():
        heard: dict[int, np.ndarray] = {}
        for places in plain_batches(store, bundle.features):
            encoded = encode(lower, store, places, bundle.features)
            for b, place in enumerate(places):
                frames_TD = encoded.encoded_BTD[b, : int(encoded.lengths_B[b])]
                heard[place] = frames_TD.numpy().astype(np.float16)
            if progress is not None:
                progress(len(places))
        _write(store, [heard[place] for place in range(len(store))], path)
    return FrameStore([path])


def _write(store: FrameStore, frames: Sequence[np.ndarray], path: Path) -> None:
    rows = [
        {**asdict(u), "num_frames": len(frames_TD)}
        for u, frames_TD in zip(store.utterances, frames, strict=True)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path.with_suffix(".jsonl"), lines.encode())
    with writing(path.with_suffix(".npy")) as file:
        np.save(file, np.concatenate(frames))


def _is_shared(name: str) -> bool:
    """Whether the whole recognizer has this weight; the frames of the lower part stay as are."""
    return name not in ("mean_F", "scale_F")


def _above(name: str, below: int) -> str:
    """The name that a weight of the upper part has in the whole: its layer counts from below."""
    parts = name.split(".")
    if parts[:2] == ["encoder", "lstm"] and len(parts) > 3 and parts[3].isdigit():
        parts[3] = str(int(parts[3]) + below)
    return ".".join(parts)
