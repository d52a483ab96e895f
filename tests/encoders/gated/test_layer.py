# SPDX-License-Identifier: Apache-2.0
"""A layer in part: written out, skipped as masked, and safe where nothing may be heard.

Legend: B streams, T frames, S frames that may be attended to, P frames of the past, D width,
H heads.
"""

import math

import numpy as np
import pytest
import torch

from evenear.encoders.gated.layer import StandIns, Toggles, run_masked, run_skipping
from evenear.encoders.transformer import LayerCall, TransformerConfig, TransformerLayer
from evenear.nn.attention import block_mask
from evenear.seeding import torch_rng_for
from gating import make_undecided

WIDTH, HEADS, PAST = 12, 3, 4


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.no_grad():
        yield


def layer() -> TransformerLayer:
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(5)
        return TransformerLayer(TransformerConfig(dim=WIDTH, num_heads=HEADS, ff_dim=16)).eval()


def case(num_frames: int, chance: float, *, seed: int = 0, same: bool = False, parts: int = 1):
    """A call of two streams, their frames, their toggles and the keys of their past."""
    rng = torch_rng_for(seed, "gated layer", (num_frames, chance))

    def drawn(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=rng) < chance

    x_BTD = torch.randn(2, num_frames, WIDTH, generator=rng)
    query_BTH, key_BTH = drawn(2, num_frames, HEADS), drawn(2, num_frames, HEADS)
    if same:
        query_BTH, key_BTH = query_BTH[..., :1].expand(-1, -1, HEADS), key_BTH[..., :1]
        key_BTH = key_BTH.expand(-1, -1, HEADS)
    present_BPH = drawn(2, PAST, HEADS)
    there_BPD = present_BPH.repeat_interleave(WIDTH // HEADS, dim=2).float()
    past = tuple(torch.randn(2, PAST, WIDTH, generator=rng) * there_BPD for _ in range(2))
    attend_BTS = block_mask(num_frames, PAST, 3, 3, torch.tensor([PAST, 2]), None)
    call = LayerCall(0, layer(), past, attend_BTS, 3, None)

    def some_parts() -> torch.Tensor:
        parts_BTG = drawn(2, num_frames, parts).to(torch.uint8)
        return parts_BTG.cumprod(dim=2).bool()

    return call, x_BTD, Toggles(some_parts(), query_BTH, key_BTH), present_BPH


@pytest.mark.parametrize("chance", [0.0, 0.3, 0.8, 1.0])
@pytest.mark.parametrize("num_frames", [1, 3, 7])
@pytest.mark.parametrize("same", [False, True])
def test_skipping_what_is_off_is_masking_it(chance, num_frames, same):
    stand_ins = StandIns(WIDTH, 2) if same else None
    if stand_ins is not None:
        make_undecided(stand_ins.ff, torch_rng_for(0, "stand-in"))
    for seed in range(3):
        given = case(num_frames, chance, seed=seed, same=same, parts=4 if same else 1)
        skipped_BTD, skipped = run_skipping(*given, stand_ins)
        masked_BTD, masked = run_masked(*given, stand_ins)
        torch.testing.assert_close(skipped_BTD, masked_BTD)
        toggles = given[2]
        there_BTD = toggles.key_BTH.repeat_interleave(WIDTH // HEADS, dim=2)
        for one, other in zip(skipped, masked, strict=True):
            torch.testing.assert_close(one, other * there_BTD)


def test_with_everything_on_it_is_the_layer_itself():
    call, x_BTD, toggles, present_BPH = case(6, 1.0)
    for run in (run_masked, run_skipping):
        torch.testing.assert_close(run(call, x_BTD, toggles, present_BPH)[0], call(x_BTD)[0])


@pytest.mark.parametrize("run", [run_masked, run_skipping])
def test_the_toggle_that_hides_a_key_is_that_of_its_own_frame(run):
    """Frame by frame and head by head, in float64."""
    call, x_BTD, toggles, present_BPH = case(7, 0.6)
    w = {name: t.double().numpy() for name, t in call.layer.state_dict().items()}

    def matrix(x: np.ndarray, name: str) -> np.ndarray:
        return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0.0)

    def normed(x: np.ndarray, name: str) -> np.ndarray:
        centered = x - x.mean()
        scale = np.sqrt(centered.var() + 1e-5)
        return centered / scale * w[f"{name}.weight"] + w[f"{name}.bias"]

    size, found_BTD = WIDTH // HEADS, run(call, x_BTD, toggles, present_BPH)[0]
    for b in range(2):
        x = x_BTD[b].double().numpy()
        hidden = np.stack([normed(row, "attention_norm") for row in x])
        keys = np.concatenate([call.past[0][b], matrix(hidden, "attention.key")])
        values = np.concatenate([call.past[1][b], matrix(hidden, "attention.value")])
        there = torch.cat([present_BPH[b], toggles.key_BTH[b]])
        for t in range(len(x)):
            gathered = np.zeros(WIDTH)
            query = matrix(hidden[t], "attention.query")
            for h in range(HEADS):
                part = slice(h * size, (h + 1) * size)
                row = call.attend_BTS[b if len(call.attend_BTS) > 1 else 0, t]
                seen = [s for s in range(len(keys)) if row[s] and there[s, h]]
                if not toggles.query_BTH[b, t, h] or not seen:
                    continue
                scores = [math.exp(query[part] @ keys[s, part] / math.sqrt(size)) for s in seen]
                heard = sum(e * values[s, part] for e, s in zip(scores, seen, strict=True))
                gathered[part] = heard / sum(scores)
            frame = x[t] + matrix(gathered, "attention.out")
            if toggles.ff_BTG[b, t, 0]:
                wide = matrix(normed(frame, "ff_norm"), "widen")
                wide = wide * 0.5 * (1 + np.vectorize(math.erf)(wide / math.sqrt(2)))
                frame = frame + matrix(wide, "narrow")
            np.testing.assert_allclose(found_BTD[b, t].numpy(), frame, atol=2e-5)


@pytest.mark.parametrize("run", [run_masked, run_skipping])
def test_a_frame_that_may_hear_nothing_hears_zeros(run):
    call, x_BTD, toggles, present_BPH = case(5, 1.0)
    deaf = Toggles(~toggles.ff_BTG, toggles.query_BTH, ~toggles.key_BTH)
    x_after_BTD, _ = run(call, x_BTD, deaf, ~present_BPH)
    torch.testing.assert_close(x_after_BTD, x_BTD + call.layer.attention.out.bias)


def test_a_soft_toggle_has_a_finite_gradient_even_at_zero():
    call, x_BTD, toggles, present_BPH = case(5, 1.0)
    with torch.enable_grad():
        key_BTH = torch.zeros(2, 5, HEADS, requires_grad=True)
        soft = Toggles(toggles.ff_BTG.float(), toggles.query_BTH.float(), key_BTH)
        run_masked(call, x_BTD, soft, present_BPH)[0].square().sum().backward()
    assert key_BTH.grad is not None
    assert key_BTH.grad.isfinite().all()
