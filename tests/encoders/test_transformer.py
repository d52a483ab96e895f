# SPDX-License-Identifier: Apache-2.0
"""The Transformer written out, and what makes it stream: blocks, a bounded past, a circle."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from evenear.config import replace
from evenear.encoders.transformer import TransformerConfig, TransformerEncoder
from evenear.errors import ConfigError
from evenear.nn.attention import block_mask
from evenear.seeding import torch_rng_for
from laws import ENCODERS, encode_in_chunks, random_features

SETTINGS = ENCODERS["transformer"]


def encoder(**changes) -> TransformerEncoder:
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(3)
        return TransformerEncoder(replace(SETTINGS, **changes)).eval()


def _gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1.0 + np.vectorize(math.erf)(x / math.sqrt(2.0)))


def _normed(x: np.ndarray, weights: dict, name: str) -> np.ndarray:
    spread = np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)
    return (x - x.mean(axis=-1, keepdims=True)) / spread * weights[f"{name}.weight"] + weights[
        f"{name}.bias"
    ]


def written_out(model: TransformerEncoder, features_TF: Tensor, *, first: int = 0) -> np.ndarray:
    """In float64, frame by frame and head by head, for whole blocks only."""
    settings, block = model.config, model.block_frames
    w = {name: t.double().numpy() for name, t in model.state_dict().items()}
    x = features_TF.double().numpy()
    first_conv = []
    for t in range(len(x)):
        before = x[t - 1] if t else np.zeros(x.shape[1])
        after = x[t] if t % block == block - 1 else x[t + 1]
        taps = [before, x[t], after]
        total = sum(w["conv1.weight"][:, :, k] @ taps[k] for k in range(3))
        first_conv.append(_gelu(total + w["conv1.bias"]))
    first_conv = [np.zeros(settings.dim), *first_conv]
    frames = []
    for j in range(len(x) // 2):
        total = sum(w["conv2.weight"][:, :, k] @ first_conv[2 * j + k] for k in range(3))
        frames.append(_gelu(total + w["conv2.bias"]))
    half = settings.dim // 2
    for j, frame in enumerate(frames):
        place = (first + j) % settings.position_cycle
        rates = [10_000.0 ** -(i / (half - 1)) for i in range(half)]
        frame += np.array(
            [*(math.sin(place * r) for r in rates), *(math.cos(place * r) for r in rates)]
        )
    x = np.stack(frames)
    width, of_block = settings.dim // settings.num_heads, block // 2
    for n in range(settings.num_layers):
        at = f"layers.{n}.attention"
        h = _normed(x, w, f"layers.{n}.attention_norm")
        q = h @ w[f"{at}.query.weight"].T + w[f"{at}.query.bias"]
        k = h @ w[f"{at}.key.weight"].T
        v = h @ w[f"{at}.value.weight"].T + w[f"{at}.value.bias"]
        gathered = np.zeros_like(x)
        for t in range(len(x)):
            start = t // of_block * of_block
            seen = range(max(0, start - settings.left_frames), min(len(x), start + of_block))
            for head in range(settings.num_heads):
                part = slice(head * width, (head + 1) * width)
                scores = np.array([q[t, part] @ k[s, part] / math.sqrt(width) for s in seen])
                share = np.exp(scores - scores.max())
                share /= share.sum()
                gathered[t, part] = sum(a * v[s, part] for a, s in zip(share, seen, strict=True))
        x = x + gathered @ w[f"{at}.out.weight"].T + w[f"{at}.out.bias"]
        h = _normed(x, w, f"layers.{n}.ff_norm")
        h = _gelu(h @ w[f"layers.{n}.widen.weight"].T + w[f"layers.{n}.widen.bias"])
        x = x + h @ w[f"layers.{n}.narrow.weight"].T + w[f"layers.{n}.narrow.bias"]
    return _normed(x, w, "norm").reshape(-1, settings.dim * settings.reduction)


@torch.no_grad()
def test_it_computes_what_the_formulas_say():
    model, features_BTF = encoder(), random_features(32)
    found = model(features_BTF, torch.tensor([32])).encoded_BTD[0]
    np.testing.assert_allclose(found.numpy(), written_out(model, features_BTF[0]), atol=1e-5)


def test_whisper_tiny_has_its_published_number_of_weights():
    model = TransformerEncoder(TransformerConfig())
    assert sum(p.numel() for p in model.parameters()) == 8_208_384 - 1500 * 384  # fixed positions


@torch.no_grad()
@pytest.mark.parametrize("block", [4, 8, 16, 32])
def test_one_set_of_weights_serves_blocks_of_any_length(block):
    model, features_BTF = encoder(), random_features(37, batch_size=2)
    model.set_block(block)
    whole = model(features_BTF, torch.tensor([37, 37])).encoded_BTD
    assert model.lookahead_frames == block - 1
    assert torch.allclose(encode_in_chunks(model, features_BTF, [5, 0, 21, 11]), whole, atol=1e-5)
    again = encoder(block_frames=block)
    assert torch.equal(again(features_BTF, torch.tensor([37, 37])).encoded_BTD, whole)


@pytest.mark.parametrize("block", [0, 2, 6, 9])
def test_a_block_that_no_group_of_frames_fits_is_refused(block):
    with pytest.raises(ConfigError, match="multiple of 4 feature frames"):
        encoder().set_block(block)


@torch.no_grad()
def test_an_endless_stream_goes_round_the_circle():
    """After whole circles a stream is where it was, but for what it remembers."""
    settings = {"left_frames": 0, "position_cycle": 8}
    model = encoder(**settings)
    loop_BTF = random_features(16)
    state = model.initial_state(1)
    encoded, state = model.step(loop_BTF, state)
    first = model.step(loop_BTF, state)[0]
    for _ in range(50):
        encoded, state = model.step(loop_BTF, state)
    assert torch.allclose(encoded, first, atol=1e-5)


@torch.no_grad()
def test_in_training_utterances_begin_anywhere_on_the_circle():
    model = encoder(offset_chance=1.0, position_cycle=40).train()
    features_BTF = random_features(16)
    valid_BT = torch.ones(1, 16, dtype=torch.bool)
    starts = [written_out(model, features_BTF[0], first=k) for k in range(40)]
    met = set()
    with torch.random.fork_rng(devices=[]):
        for seed in range(12):
            torch.random.set_rng_state(torch_rng_for(seed, "offset").get_state())
            found = model.encode(features_BTF, valid_BT)[0].numpy()
            gaps = [np.abs(found - one).max() for one in starts]
            assert min(gaps) < 1e-4
            met.add(int(np.argmin(gaps)))
    assert len(met) > 6


@torch.no_grad()
def test_in_training_blocks_of_each_length_are_drawn():
    model = encoder(training_blocks=(4, 8, 16), offset_chance=0.0)
    features_BTF, valid_BT = random_features(32), torch.ones(1, 32, dtype=torch.bool)
    expected = []
    for block in (4, 8, 16):
        model.set_block(block)
        expected.append(model.encode(features_BTF, valid_BT))
    model.train()
    met = set()
    with torch.random.fork_rng(devices=[]):
        for seed in range(20):
            torch.random.set_rng_state(torch_rng_for(seed, "block").get_state())
            found = model.encode(features_BTF, valid_BT)
            met |= {k for k, one in enumerate(expected) if torch.allclose(found, one, atol=1e-5)}
    assert met == {0, 1, 2}


@torch.no_grad()
def test_unbounded_all_is_seen_from_everywhere():
    model, features_BTF = encoder(), random_features(20)
    valid_BT = torch.ones(1, 20, dtype=torch.bool)
    other_BTF = features_BTF.clone()
    other_BTF[:, -1] += 1.0
    one, two = (model.encode_unbounded(each, valid_BT) for each in (features_BTF, other_BTF))
    assert bool(((one - two).abs().amax(dim=2) > 1e-6).all())


def test_the_mask_shows_a_block_and_what_came_before():
    none = torch.zeros(1, dtype=torch.int64)
    attend_TS = block_mask(6, 0, 2, 2, none, None)[0].int()
    assert attend_TS.tolist() == [
        [1, 1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [0, 0, 1, 1, 1, 1],
        [0, 0, 1, 1, 1, 1],
    ]
    with_past = block_mask(2, 3, 2, 2, torch.tensor([1, 3]), None).int()
    assert with_past[0].tolist() == [[0, 0, 1, 1, 1]] * 2
    assert with_past[1].tolist() == [[0, 1, 1, 1, 1]] * 2
