# SPDX-License-Identifier: Apache-2.0
"""What every encoder and recognizer must obey, and tiny models to hold it against.

Dimensions: B streams, T frames, F feature width, D width, V vocabulary.
"""

import copy
import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from evenear.checkpoint import Bundle
from evenear.config import replace
from evenear.encoders.base import Encoder
from evenear.encoders.conformer import ConformerConfig
from evenear.encoders.contextnet import ContextNetConfig
from evenear.encoders.convrnn import ConvRnnConfig, GlobalCnnConfig, LocalCnnConfig
from evenear.encoders.gated.encoder import GatedConfig
from evenear.encoders.lstm import LstmEncoderConfig
from evenear.encoders.transformer import TransformerConfig
from evenear.features import FeatureConfig, extract
from evenear.language import NgramModel, WordModel
from evenear.lexicon import Lexicon
from evenear.models.transducer import (
    LstmPredictorConfig,
    StatelessPredictorConfig,
    Transducer,
    TransducerConfig,
)
from evenear.nn.batchnorm import MaskedBatchNorm
from evenear.nn.recurrent import LstmStackConfig
from evenear.nn.state import map_state, split_state, stack_states, state_bytes, state_tensors
from evenear.search import BeamConfig, GreedySearch, LexiconConfig, greedy_search
from evenear.seeding import rng_for, torch_rng_for
from evenear.tokenizer import Tokenizer
from gating import BLOCKS, FRAMES, SPARING, THRIFTY, make_undecided
from once import made_once

__all__ = [
    "ENCODERS",
    "FEATURES",
    "LAW_TOLERANCE",
    "PREDICTORS",
    "chunkings",
    "encode_in_chunks",
    "law_batching_strangers_changes_nothing",
    "law_chunking_changes_nothing",
    "law_padding_changes_nothing",
    "law_state_size_is_constant",
    "law_step_does_not_touch_its_input",
    "law_the_future_is_invisible",
    "random_features",
    "random_projected",
    "random_sound",
    "tiny_bundle",
    "tiny_tokenizer",
    "tiny_transducer",
    "tiny_word_bundle",
]

LAW_TOLERANCE = 1e-4
FEATURES = FeatureConfig(num_mel_bins=8)

_LSTM = LstmStackConfig(num_layers=2, hidden_dim=12, dim=10, layer_norm=True, residual=True)
_PLAIN_LSTM = LstmStackConfig(num_layers=1, hidden_dim=12, dim=10)
_LOCAL = LocalCnnConfig(channels=(3, 4), kernel=3, frequency_strides=(2, 1), planes=3)
_TALL = LocalCnnConfig(channels=(3, 4), kernel=3, frequency_strides=(1, 2), separable=True)
_WIDE = GlobalCnnConfig(num_blocks=3, se_reduction=2)
_SEPARABLE = GlobalCnnConfig(num_blocks=2, separable=True)
_UNGATED = GlobalCnnConfig(num_blocks=2, squeeze_excite="off", normalization="layer")
_CONFORMER = ConformerConfig(
    feature_dim=FEATURES.dim,
    dim=12,
    num_heads=2,
    num_layers=2,
    ff_dim=16,
    kernel=3,
    left_frames=5,
    reduction=1,
)
_CONTEXTNET = ContextNetConfig(
    feature_dim=FEATURES.dim, channels=(8, 8, 10, 12), layers_per_block=2, kernel=3, se_reduction=2
)
_WIDTH = FEATURES.dim
_TRANSFORMER = TransformerConfig(
    feature_dim=FEATURES.dim,
    dim=12,
    num_heads=2,
    num_layers=2,
    ff_dim=16,
    block_frames=8,
    left_frames=5,
    position_cycle=7,
)
ENCODERS = {
    "lstm": LstmEncoderConfig(feature_dim=_WIDTH, lstm=_LSTM),
    "transformer-upper": replace(
        _TRANSFORMER, dim=_WIDTH, convolved=False, num_heads=4, num_layers=1, block_frames=4
    ),
    "lstm-reduced-2": LstmEncoderConfig(feature_dim=_WIDTH, lstm=_LSTM, reduction=2),
    "lstm-reduced-3": LstmEncoderConfig(feature_dim=_WIDTH, lstm=_PLAIN_LSTM, reduction=3),
    "convrnn": ConvRnnConfig(feature_dim=_WIDTH, local=_LOCAL, global_cnn=_WIDE, lstm=_LSTM),
    "convrnn-reduced-2": ConvRnnConfig(
        feature_dim=_WIDTH, local=_LOCAL, global_cnn=_SEPARABLE, lstm=_LSTM, reduction=2
    ),
    "convrnn-local-only": ConvRnnConfig(
        feature_dim=_WIDTH, local=_TALL, global_cnn=None, lstm=_PLAIN_LSTM
    ),
    "convrnn-global-only": ConvRnnConfig(
        feature_dim=_WIDTH, local=None, global_cnn=_UNGATED, lstm=_PLAIN_LSTM, reduction=2
    ),
    "conformer": _CONFORMER,
    "conformer-reduced-2": replace(_CONFORMER, left_frames=40, reduction=2),
    "contextnet": _CONTEXTNET,
    "transformer": _TRANSFORMER,
    "transformer-right": replace(_TRANSFORMER, right_frames=16),
    "transformer-no-past": replace(_TRANSFORMER, block_frames=4, left_frames=0, reduction=1),
    "gated-blocks": GatedConfig(backbone=_TRANSFORMER, gates=BLOCKS),
    "gated-frames": GatedConfig(backbone=_TRANSFORMER, gates=FRAMES),
    "gated-thrifty": GatedConfig(backbone=_TRANSFORMER, gates=THRIFTY),
    "gated-sparing": GatedConfig(
        backbone=replace(_TRANSFORMER, right_frames=8, left_frames=16), gates=SPARING
    ),
    "contextnet-reduced-3": replace(_CONTEXTNET, squeeze_excite="off", reduction=3),
}
"""Small encoders that between them use every option."""

PREDICTORS = {
    "lstm": LstmPredictorConfig(
        embedding_dim=6, lstm=LstmStackConfig(num_layers=1, hidden_dim=8, dim=9, dropout=0.2)
    ),
    "stateless": StatelessPredictorConfig(dim=9, context_tokens=2),
}


@made_once
def tiny_transducer(
    encoder: str = "lstm-reduced-2",
    predictor: str = "lstm",
    *,
    vocabulary_size: int = 40,
    blank_id: int = 1,
    seed: int = 0,
) -> Transducer:
    """A random model that emits tokens now and then; copy it before changing it."""
    config = TransducerConfig(
        encoder=ENCODERS[encoder],
        predictor=PREDICTORS[predictor],
        joiner_dim=11,
        vocabulary_size=vocabulary_size,
        blank_id=blank_id,
    )
    for attempt in itertools.count():
        rng = torch_rng_for(seed, "tiny model", (encoder, predictor, attempt))
        model = _random_model(config, rng)
        if _is_talkative(model):
            return model
    raise AssertionError("unreachable")


@made_once
def tiny_tokenizer() -> Tokenizer:
    """Forty pieces, learned from a few lines."""
    lines = [
        "THE CAT SAT ON THE MAT AND LOOKED AT THE MOON",
        "A DOG RAN OVER THE HILL TO FETCH THE BALL",
        "WE WILL MEET AT THE STATION BEFORE THE TRAIN LEAVES",
        "JUST QUIZ ME ABOUT EXTRA VOWELS PLEASE DON'T WAIT",
    ]
    return Tokenizer.train(lines, 40)


def random_features(num_frames: int, *, batch_size: int = 1, seed: int = 0) -> Tensor:
    """Feature frames that no speech made, (B, T, F)."""
    rows = [torch_rng_for(seed, "features", b) for b in range(batch_size)]
    return torch.stack([torch.randn(num_frames, FEATURES.dim, generator=rng) for rng in rows])


@torch.no_grad()
def random_projected(
    model: Transducer, num_frames: int, *, batch_size: int = 1, seed: int = 0
) -> Tensor:
    """Encoder frames of random features, ready for a search, (B, T, D)."""
    num_features = num_frames * model.encoder.stride
    features_BTF = random_features(num_features, batch_size=batch_size, seed=seed)
    encoded = model.encode(features_BTF, torch.full((batch_size,), num_features))
    return model.joiner.encoder_proj(encoded.encoded_BTD)


@made_once
def tiny_bundle(encoder: str = "lstm-reduced-2", predictor: str = "lstm") -> Bundle:
    """A recognizer of noise: a talkative model that knows the statistics of `random_sound`."""
    model = copy.deepcopy(tiny_transducer(encoder, predictor))
    frames_TF = torch.from_numpy(extract(random_sound(20.0, seed=99), FEATURES))
    model.mean_F.copy_(frames_TF.mean(dim=0))
    model.scale_F.copy_(1.0 / frames_TF.std(dim=0))
    return Bundle(
        model=model,
        words=None,
        word_search=LexiconConfig(),
        features=FEATURES,
        tokenizer=tiny_tokenizer(),
        card="",
        language_model=NgramModel.train(["THE CAT SAT ON THE MAT", "A DOG RAN"], tiny_tokenizer()),
        search=BeamConfig(width=1),
        name="tiny",
    )


@made_once
def tiny_word_bundle(encoder: str = "lstm-reduced-2", predictor: str = "lstm") -> Bundle:
    """The same with a head for phones and six words, some of which begin others."""
    bundle = tiny_bundle(encoder, predictor)
    said = {"A": (1,), "AT": (1, 2), "CAT": (3, 1, 2), "MAT": (4, 1, 2), "THE": (2, 1), "ON": (4,)}
    lexicon = Lexicon(("AE", "T", "K", "M"), {word: (way,) for word, way in said.items()})
    lines = ["A CAT ON THE MAT", "THE CAT AT A MAT", "ON A MAT"]
    model = Transducer(replace(bundle.model.config, phones=len(lexicon.phones))).eval()
    model.load_state_dict(bundle.model.state_dict(), strict=False)
    assert model.phones is not None
    with torch.no_grad():
        model.phones.weight.normal_(std=1.5, generator=torch_rng_for(0, "phones"))
        model.phones.bias.zero_()
    return dataclasses.replace(
        bundle,
        model=model,
        words=WordModel.train(lines, lexicon),
        word_search=LexiconConfig(width=16, lm_weight=0.4),
    )


def random_sound(seconds: float, *, sample_rate: int = 16_000, seed: int = 0) -> np.ndarray:
    """Noise whose color changes ten times a second, in [-1, 1]."""
    rng = rng_for(seed, "sound")
    num_samples = round(seconds * sample_rate)
    pieces, length = [], sample_rate // 10
    while sum(map(len, pieces)) < num_samples:
        noise = rng.standard_normal(length)
        gain, mix = 10 ** rng.uniform(-2.5, -1.0), rng.uniform(-0.95, 0.95)
        pieces.append(gain * (noise + mix * np.roll(noise, 1)))
    return np.concatenate([*pieces, np.zeros(0)])[:num_samples].clip(-1, 1).astype(np.float32)


@st.composite
def chunkings(draw: st.DrawFn, total: int, max_chunks: int = 8) -> list[int]:
    """Lengths, zeros among them, that add up to `total`."""
    cuts = sorted(draw(st.lists(st.integers(0, total), max_size=max_chunks - 1)))
    return [b - a for a, b in zip([0, *cuts], [*cuts, total], strict=True)]


def encode_in_chunks(encoder: Encoder, features_BTF: Tensor, chunks: Sequence[int]) -> Tensor:
    """What a stream hears: chunk by chunk, then flushed."""
    state = encoder.initial_state(len(features_BTF))
    parts = []
    for chunk_BTF in features_BTF.split(list(chunks), dim=1):
        encoded_BTD, state = encoder.step(chunk_BTF, state)
        parts.append(encoded_BTD)
    return torch.cat([*parts, encoder.flush(state)], dim=1)


def law_chunking_changes_nothing(
    encoder: Encoder, features_BTF: Tensor, chunks: Sequence[int]
) -> None:
    """The frames of a stream are those of the whole utterance, whatever its chunks."""
    lengths_B = torch.full((len(features_BTF),), features_BTF.shape[1])
    whole = encoder(features_BTF, lengths_B)
    streamed_BTD = encode_in_chunks(encoder, features_BTF, chunks)
    assert streamed_BTD.shape[1] == int(whole.lengths_B[0]) == whole.encoded_BTD.shape[1]
    _assert_near(streamed_BTD, whole.encoded_BTD)


def law_padding_changes_nothing(encoder: Encoder, features_BTF: Tensor, lengths: list[int]) -> None:
    """An utterance padded in a batch is encoded as it is alone."""
    together = encoder(features_BTF, torch.tensor(lengths))
    for b, length in enumerate(lengths):
        alone = encoder(features_BTF[b : b + 1, :length], torch.tensor([length]))
        num_frames = int(alone.lengths_B[0])
        assert num_frames == int(together.lengths_B[b])
        _assert_near(together.encoded_BTD[b : b + 1, :num_frames], alone.encoded_BTD)


def law_batching_strangers_changes_nothing(
    encoder: Encoder, features_BTF: Tensor, heard: Sequence[int]
) -> None:
    """Streams at different positions, stacked for one step, get what they get alone.

    `heard[b]` blocks were heard by stream b before they meet, as far as there are so many.
    """
    states = []
    for b, groups in enumerate(heard):
        num_whole = min(groups, features_BTF.shape[1] // encoder.block_frames)
        past_1TF = features_BTF[b : b + 1, : num_whole * encoder.block_frames]
        states.append(encoder.step(past_1TF, encoder.initial_state(1))[1])
    next_BTF = features_BTF[:, -2 * encoder.block_frames - 1 :]
    together_BTD, stacked = encoder.step(next_BTF, stack_states(states))
    for b, (state, after) in enumerate(zip(states, split_state(stacked, len(states)), strict=True)):
        alone_1TD, alone_state = encoder.step(next_BTF[b : b + 1], state)
        _assert_near(together_BTD[b : b + 1], alone_1TD)
        _assert_near(encoder.flush(after), encoder.flush(alone_state))


def law_the_future_is_invisible(encoder: Encoder, features_BTF: Tensor, frame: int) -> None:
    """Feature frames beyond an encoder frame's own and its look-ahead do not change it.

    `frame` is the first feature frame that differs; encoder frame t owns feature frame t * stride.
    """
    other_BTF = features_BTF.clone()
    other_BTF[:, frame:] = other_BTF[:, frame:].flip(1) * 3.0 + 1.0
    lengths_B = torch.full((len(features_BTF),), features_BTF.shape[1])
    first_BTD = encoder(features_BTF, lengths_B).encoded_BTD
    other_BTD = encoder(other_BTF, lengths_B).encoded_BTD
    num_equal = max(0, -(-(frame - encoder.lookahead_frames) // encoder.stride))
    _assert_near(first_BTD[:, :num_equal], other_BTD[:, :num_equal])
    assert (first_BTD[:, num_equal:] - other_BTD[:, num_equal:]).abs().max() > 1e-3  # not deaf


def law_step_does_not_touch_its_input(encoder: Encoder, features_BTF: Tensor, heard: int) -> None:
    """A step changes neither the state nor the frames that it is given."""
    _, state = encoder.step(features_BTF[:, :heard], encoder.initial_state(len(features_BTF)))
    before: Any = map_state(torch.clone, state)
    frames_BTF = features_BTF.clone()
    encoder.step(frames_BTF, state)
    encoder.flush(state)
    assert all(
        torch.equal(a, b) for a, b in zip(state_tensors(state), state_tensors(before), strict=True)
    )
    assert torch.equal(frames_BTF, features_BTF)


def law_state_size_is_constant(encoder: Encoder, features_BTF: Tensor) -> None:
    """A state is as large after many frames as before the first."""
    state = encoder.initial_state(len(features_BTF))
    size = state_bytes(state)
    for frame in range(features_BTF.shape[1]):
        _, state = encoder.step(features_BTF[:, frame : frame + 1], state)
        assert state_bytes(state) == size


@torch.no_grad()
def _random_model(config: TransducerConfig, rng: torch.Generator) -> Transducer:
    with torch.random.fork_rng(devices=[]):
        torch.random.set_rng_state(rng.get_state())
        model = Transducer(config).eval()
    for module in model.modules():  # statistics as after some training
        make_undecided(module, rng)
        if isinstance(module, MaskedBatchNorm):
            module.mean_D.uniform_(-0.5, 0.5, generator=rng)
            module.variance_D.uniform_(0.5, 2.0, generator=rng)
    _make_talkative(model, rng)
    return model


def _is_talkative(model: Transducer) -> bool:
    """Whether three streams of noise each make it say several different things, now and then."""
    for seed in range(3):
        search = GreedySearch(model)
        projected_BTD = random_projected(model, 40, seed=seed)
        found = search.best(search.step(projected_BTD, [search.initial_state()])[0])
        if len(set(found.tokens)) < 2 or not 4 <= len(set(found.frames)) <= 25:
            return False
        if found.frames[0] > 15:
            return False
    return True


def _make_talkative(model: Transducer, rng: torch.Generator) -> None:
    """Scale a random model so that its words differ, about one every two frames."""
    features_BTF = torch.randn(3, 60, FEATURES.dim, generator=rng)
    encoded = model.encode(features_BTF, torch.full((3,), 60))
    joiner, output = model.joiner, model.joiner.output
    late_ND = encoded.encoded_BTD[:, 3:].flatten(0, 1)
    joiner.encoder_proj.weight.mul_(1.5 / joiner.encoder_proj(late_ND).std(dim=0)[:, None])
    joiner.encoder_proj.bias.sub_(joiner.encoder_proj(late_ND).mean(dim=0))
    predicted_1UD = model.predict(torch.arange(model.config.vocabulary_size)[None])
    weight: Tensor = joiner.predictor_proj.weight  # pyright: ignore[reportAssignmentType]
    weight.mul_(0.35 / predicted_1UD[0].std(dim=0).mean())
    predicted_1UD = model.predict(torch.arange(model.config.vocabulary_size)[None])
    logits_NV = joiner(joiner.encoder_proj(late_ND)[:, None], predicted_1UD).flatten(0, 1)
    output.weight.mul_(3.0 / logits_NV.std(dim=0)[:, None])
    logits_NV = joiner(joiner.encoder_proj(late_ND)[:, None], predicted_1UD).flatten(0, 1)
    output.bias.sub_(logits_NV.mean(dim=0))  # else one token wins nearly always
    low, high = -20.0, 20.0
    for _ in range(10):
        output.bias[model.blank_id] = (low + high) / 2
        num_tokens = sum(len(h.tokens) for h in greedy_search(model, encoded))
        if num_tokens > 0.5 * int(encoded.lengths_B.sum()):
            low = (low + high) / 2
        else:
            high = (low + high) / 2


def _assert_near(first: Tensor, second: Tensor) -> None:
    assert first.shape == second.shape
    if first.numel():
        assert (first - second).abs().max().item() <= LAW_TOLERANCE
