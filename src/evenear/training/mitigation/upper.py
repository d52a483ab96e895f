# SPDX-License-Identifier: Apache-2.0
"""The upper part of a recognizer as a recognizer of its own, over stored outputs of the lower part.

    cut = cut_below(bundle, num_layers=1)
    store = heard_below(cut, utterances, settings, folder)      # each utterance is heard once
    … adapt cut.upper.model to `store` …
    whole = cut.joined(adapted)                   # an ordinary recognizer again

Adapting a recognizer means hearing the same speech again and again, and most of that time goes into
the layers that change least. Here they hear each utterance once, their frames are stored, and what
is adapted is the rest: the last layers of an LSTM or a Transformer encoder (none: its last
normalization, which a repair leaves alone), predictor, joiner and heads. The upper part says just
what the whole recognizer says. What adapting the lower part too would bring stays unknown.

A Transformer that hears with right context is heard so: without any layer in the upper part, its
frames are those that a stream settles; else both parts hear in blocks as long as a window, which is
what a stream computes but for where windows begin.

Legend: B utterances, T frames, F feature width, D width.
"""

import copy
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from dataclasses import replace as replace_fields
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from evenear.atomic import write_bytes, writing
from evenear.checkpoint import Bundle
from evenear.config import replace
from evenear.data.batching.batches import collate
from evenear.data.batching.store import FrameStore, StoreConfig, build_store
from evenear.data.corpora.manifests import Utterance
from evenear.encoders.convrnn import ConvRnnConfig
from evenear.encoders.lstm import LstmEncoderConfig
from evenear.encoders.rightcontext import RightContext
from evenear.encoders.transformer import (
    LayerCall,
    TransformerConfig,
    TransformerEncoder,
    TransformerState,
)
from evenear.errors import ConfigError
from evenear.features import FeatureConfig, stack_frames
from evenear.models.transducer import Transducer
from evenear.training.encoding import Precision, computing, plain_batches

__all__ = ["Cut", "Lower", "cut_below", "heard_below", "stored_below"]


class Lower(ABC):
    """The part that stays as it is."""

    @abstractmethod
    def hear(self, features_BTF: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Frames (B, T, D) for the upper part, and how many of each utterance are real."""

    @abstractmethod
    def name_of(self, name: str) -> str:
        """The name that a weight of the upper part has in the whole recognizer."""


@dataclass(frozen=True)
class Cut:
    """A recognizer in two parts."""

    whole: Bundle
    upper: Bundle
    lower: Lower
    precision: Precision = "float32"
    """Arithmetic of the lower part; bfloat16 is quicker, and says nearly the same."""

    @cached_property
    def digest(self) -> bytes:
        """What tells the lower part from others; another upper part above it changes nothing."""
        above = {self.lower.name_of(n) for n in self.upper.model.state_dict() if _is_shared(n)}
        digest = hashlib.blake2b(self.precision.encode(), digest_size=10)
        for name, tensor in self.whole.model.state_dict().items():
            if name not in above:
                digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
        encoder = self.whole.model.encoder
        blocks = [getattr(encoder, f"{side}_frames", None) for side in ("block", "right")]
        digest.update(f"{blocks}".encode())
        return digest.digest()

    def joined(self, upper: Transducer) -> Transducer:
        """The whole recognizer with an upper part that has changed."""
        model = copy.deepcopy(self.whole.model)
        weights = model.state_dict()
        for name, tensor in upper.state_dict().items():
            if _is_shared(name):
                weights[self.lower.name_of(name)] = tensor
        model.load_state_dict(weights)
        return model.eval()


def cut_below(bundle: Bundle, num_layers: int, *, precision: Precision = "float32") -> Cut:
    """Cut a recognizer below its last layers.

    Args:
        bundle: The recognizer.
        num_layers: Encoder layers of the upper part; of a Transformer it may be none.
        precision: Arithmetic of the lower part.

    Raises:
        ConfigError: Its encoder has no such layers.
    """
    encoder = bundle.model.config.encoder
    if isinstance(encoder, TransformerConfig) and encoder.convolved:
        return replace_fields(_cut_transformer(bundle, encoder, num_layers), precision=precision)
    if isinstance(encoder, (ConvRnnConfig, LstmEncoderConfig)):
        return replace_fields(_cut_lstm(bundle, encoder, num_layers), precision=precision)
    raise ConfigError(
        "Cutting a recognizer needs an encoder that ends in LSTM layers or is a Transformer, got "
        f"{encoder.kind}.",
        hint="Adapt all of it.",
    )


@torch.inference_mode()
def stored_below(
    cut: Cut,
    store: FrameStore,
    folder: Path,
    *,
    progress: Callable[[int], None] | None = None,
) -> FrameStore:
    """Hear a store by the lower part, and store its frames; found again if they are there."""
    digest = hashlib.blake2b(cut.digest, digest_size=10)
    for part in store.parts:
        digest.update(part.name.encode())
    path = folder / f"below-{digest.hexdigest()}"
    if not path.with_suffix(".npy").exists():
        heard: dict[int, np.ndarray] = {}
        features = cut.whole.features
        for places in plain_batches(store, features):
            frames = [stack_frames(store.frames(place), features) for place in places]
            batch = collate([str(place) for place in places], frames, [[] for _ in places])
            with computing(cut.precision):
                frames_BTD, lengths_B = cut.lower.hear(batch.features_BTF, batch.lengths_B)
            for b, place in enumerate(places):
                heard[place] = frames_BTD[b, : int(lengths_B[b])].half().numpy()
            if progress is not None:
                progress(len(places))
        _write(store, [heard[place] for place in range(len(store))], path)
    return FrameStore([path])


def heard_below(
    cut: Cut,
    utterances: Sequence[Utterance],
    settings: StoreConfig,
    folder: Path,
    *,
    progress: Callable[[int], None] | None = None,
) -> FrameStore:
    """Store utterances as the lower part hears them, or find them there.

    Each speaker has a file, so whoever was killed goes on there, and what is stored of a speaker
    serves every division of speakers.
    """
    by_speaker: dict[str, list[Utterance]] = {}
    for u in utterances:
        by_speaker.setdefault(u.speaker, []).append(u)
    parts = []
    for _, own in sorted(by_speaker.items()):
        sound = build_store(own, folder / "frames", settings)
        parts += stored_below(cut, sound, folder / "below").parts
        if progress is not None:
            progress(len(own))
    return FrameStore(parts)


class _LowerLstm(Lower):
    """Convolutions and the lower LSTM layers."""

    def __init__(self, model: Transducer, below: int) -> None:
        self._model, self._below = model, below

    def hear(self, features_BTF: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        encoded = self._model.encode(features_BTF, lengths_B)
        return encoded.encoded_BTD, encoded.lengths_B

    def name_of(self, name: str) -> str:
        parts = name.split(".")
        if parts[:2] == ["encoder", "lstm"] and len(parts) > 3 and parts[3].isdigit():
            parts[3] = str(int(parts[3]) + self._below)
        return ".".join(parts)


class _LowerTransformer(Lower):
    """Convolutions, positions and the lower layers."""

    def __init__(self, model: Transducer, below: int) -> None:
        assert isinstance(model.encoder, TransformerEncoder), "checked by whoever cuts"
        self._model, self._encoder, self._below = model, copy.deepcopy(model.encoder), below
        self._right = None
        if model.encoder.right_frames and below == model.encoder.config.num_layers:
            self._right = RightContext(model.encoder, model.encoder.right_frames)
        self._encoder.set_block(_window(model.encoder))

    def hear(self, features_BTF: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        features_BTF = self._model.normalize(features_BTF)
        reduction = self._encoder.config.reduction
        out_lengths_B = self._encoder.output_lengths(lengths_B) * reduction
        if self._right is not None:
            lengths = lengths_B.tolist()
            alone = [self._settled(x[None, :n]) for x, n in zip(features_BTF, lengths, strict=True)]
            return torch.nn.utils.rnn.pad_sequence(alone, batch_first=True), out_lengths_B
        valid_BT = torch.arange(features_BTF.shape[1]) < lengths_B[:, None]
        reached: list[Tensor] = []

        def run(call: LayerCall, x_BTD: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
            if call.number < self._below:
                x_BTD, past = call(x_BTD)
            else:
                past = call.past
            if call.number + 1 == max(self._below, 1):
                reached.append(x_BTD)
            return x_BTD, past

        self._encoder.encode(features_BTF, valid_BT, run)
        return reached[0], out_lengths_B

    def _settled(self, features_1TF: Tensor) -> Tensor:
        """Frames (T, D) that a stream settles, before the last normalization."""
        assert self._right is not None, "asked for by whoever has right context"
        encoder, reached = self._right.encoder, list[Tensor]()

        def hear(
            features_BTF: Tensor, state: TransformerState, block: int
        ) -> tuple[Tensor, TransformerState]:
            _, state = encoder.hear(features_BTF, state, block)
            frames_BTD = reached.pop()
            return frames_BTD.unflatten(1, (-1, encoder.config.reduction)).flatten(2), state

        hook = encoder.norm.register_forward_pre_hook(lambda _, given: reached.append(given[0]))
        try:
            joined_1TD = self._right.whole(features_1TF, hear)
        finally:
            hook.remove()
        return joined_1TD[0].unflatten(1, (encoder.config.reduction, -1)).flatten(0, 1)

    def name_of(self, name: str) -> str:
        parts = name.split(".")
        if parts[:2] == ["encoder", "layers"]:
            parts[2] = str(int(parts[2]) + self._below)
        return ".".join(parts)


def _window(encoder: TransformerEncoder) -> int:
    """Feature frames that are heard together."""
    return encoder.block_frames + encoder.right_frames


def _cut_transformer(bundle: Bundle, encoder: TransformerConfig, num_layers: int) -> Cut:
    below = encoder.num_layers - num_layers
    if below < 1 or num_layers < 0:
        raise ConfigError(
            f"Between 0 and {encoder.num_layers - 1} layers can be adapted, got {num_layers}."
        )
    whole = bundle.model.encoder
    assert isinstance(whole, TransformerEncoder), "its settings say so"
    upper = replace(
        encoder,
        feature_dim=encoder.dim,
        convolved=False,
        num_layers=num_layers,
        block_frames=_window(whole) // 2,
        right_frames=0,
        training_blocks=(),
        offset_chance=0.0,
    )
    lower = _LowerTransformer(bundle.model, below)
    hop = 2 * bundle.features.stack * bundle.features.hop_milliseconds
    return _cut(bundle, upper, lower, FeatureConfig(num_mel_bins=encoder.dim, stack=1), hop)


def _cut_lstm(bundle: Bundle, encoder: ConvRnnConfig | LstmEncoderConfig, num_layers: int) -> Cut:
    below = encoder.lstm.num_layers - num_layers
    if below < 1 or num_layers < 1:
        raise ConfigError(
            f"Between 1 and {encoder.lstm.num_layers - 1} layers can be adapted, got {num_layers}."
        )
    upper = LstmEncoderConfig(
        feature_dim=encoder.lstm.dim, lstm=replace(encoder.lstm, num_layers=num_layers)
    )
    shape = replace(encoder, lstm=replace(encoder.lstm, num_layers=below))
    weights = bundle.model.state_dict()
    with torch.random.fork_rng(devices=[]):
        lower = Transducer(replace(bundle.model.config, encoder=shape))
    lower.load_state_dict({name: weights[name] for name in lower.state_dict()})
    hop = bundle.features.stack * bundle.model.encoder.stride * bundle.features.hop_milliseconds
    features = FeatureConfig(num_mel_bins=encoder.lstm.dim, stack=1)
    return _cut(bundle, upper, _LowerLstm(lower.eval(), below), features, hop)


def _cut(
    bundle: Bundle,
    encoder: TransformerConfig | LstmEncoderConfig,
    lower: Lower,
    features: FeatureConfig,
    hop_milliseconds: float,
) -> Cut:
    """Make the upper part, with the weights of the whole."""
    whole = bundle.model
    shape = replace(
        whole.config,
        encoder=encoder,
        phone_steps=whole.phone_steps if whole.config.phones else whole.config.phone_steps,
    )
    weights = whole.state_dict()
    with torch.random.fork_rng(devices=[]):
        upper = Transducer(shape)
    own = upper.state_dict()
    upper.load_state_dict({n: weights[lower.name_of(n)] if _is_shared(n) else own[n] for n in own})
    layers = (
        encoder.lstm.num_layers if isinstance(encoder, LstmEncoderConfig) else (encoder.num_layers)
    )
    made = Bundle(
        model=upper.eval(),
        features=replace(features, hop_milliseconds=hop_milliseconds),
        tokenizer=bundle.tokenizer,
        card="",
        language_model=bundle.language_model,
        search=bundle.search,
        words=bundle.words,
        word_search=bundle.word_search,
        rescorer=bundle.rescorer,
        name=f"{bundle.name}-upper-{layers}",
    )
    return Cut(bundle, made, lower)


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
