# SPDX-License-Identifier: Apache-2.0
"""What is settled is what windows give that remember no more than what they settled."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from evenear.config import replace
from evenear.encoders.gated.encoder import GatedConfig, GatedTransformer
from evenear.encoders.gated.speech import Plan
from evenear.encoders.sparing import SparingHearing, SparingState
from evenear.encoders.transformer import TransformerEncoder, TransformerLayer
from evenear.errors import ConfigError
from evenear.nn.state import state_bytes
from gating import FRAMES, SPARING, THRIFTY
from laws import ENCODERS, random_features, tiny_transducer

laws = settings(deadline=None, max_examples=25, derandomize=True)
BLOCK, STRIDE = 8, 4
ALL, SOME = 0.7, 0.3
"""Shares of which all gates are open, and some."""


def encoder(hop: int = 2) -> GatedTransformer:
    model = copy.deepcopy(tiny_transducer("gated-sparing").encoder)
    assert isinstance(model, GatedTransformer)
    assert model.speech is not None
    model.speech.put_plans([Plan(SOME, hop * BLOCK, 0.4), Plan(ALL, hop * BLOCK, 1.0)])
    return model


class Told(SparingHearing):
    """Hears speech in the blocks that it is told."""

    def __init__(self, model: GatedTransformer, speech: list[bool], right_frames: int = 8) -> None:
        super().__init__(model, right_frames)
        told = iter(speech)
        self.speech.is_speech = lambda _: next(told)  # pyright: ignore[reportAttributeAccessIssue]


def settle(hearing: SparingHearing, features_1TF: Tensor, share: float) -> tuple[Tensor, list[int]]:
    """All that is settled, and how many frames were settled after each block."""
    state, settled, counts = hearing.initial_state(share), [], []
    whole = features_1TF.shape[1] // BLOCK * BLOCK
    for start in range(0, whole, BLOCK):
        heard_1TD, state = hearing.step(features_1TF[:, start : start + BLOCK], state)
        settled.append(heard_1TD)
        counts.append(heard_1TD.shape[1])
    heard_1TD, state = hearing.finish(features_1TF[:, whole:], state)
    return torch.cat([*settled, heard_1TD], dim=1), counts


def windows_of(speech: list[bool], hop: int, whole: int) -> list[tuple[int, int, int]]:
    """First block, blocks to be settled and blocks of each window, from the rule's words alone.

    `whole` is how many of the blocks are whole ones: the end of a stream settles all.
    """
    right = 1
    found, first = [], 0
    while first < len(speech):
        if not speech[first]:
            first += 1
            continue
        pause = next((n for n in range(first, len(speech)) if not speech[n]), len(speech) - 1)
        run = pause - first + 1
        if all(speech[first : first + hop + right]) and first + hop + right <= whole:
            found.append((first, hop, hop + right))
            first += hop
        else:
            found.append((first, run, run))
            first += run
    return found


def by_hand(model: TransformerEncoder, windows: list[tuple[Tensor, int]]) -> Tensor:
    """What windows settle, one after the other, with growing keys and values and no state.

    Each window comes with the number of its feature frames that are settled and remembered.
    """
    left, settled, count = model.config.left_frames, [], 0
    nothing_1SD = torch.zeros(1, 0, model.config.dim)
    pasts = [(nothing_1SD, nothing_1SD)] * len(model.layers)
    before_1TF = torch.zeros(1, 1, model.feature_dim)
    convolved_1TD = torch.zeros(1, 1, model.config.dim)
    for window_1TF, keep in windows:
        window_1TF = torch.cat(
            [window_1TF, window_1TF[:, -1:].expand(-1, -window_1TF.shape[1] % STRIDE, -1)], dim=1
        )
        joined_1TF = torch.cat([before_1TF, window_1TF, window_1TF[:, -1:]], dim=1)
        first_1TD = F.gelu(model.conv1(joined_1TF.transpose(1, 2))).transpose(1, 2)
        both_1TD = torch.cat([convolved_1TD, first_1TD], dim=1)
        x_1TD = F.gelu(model.conv2(both_1TD.transpose(1, 2))).transpose(1, 2)
        places_T = (count + torch.arange(x_1TD.shape[1])) % model.config.position_cycle
        x_1TD = x_1TD + model.positions_SD[places_T]
        after = []
        for layer, (keys_1SD, values_1SD) in zip(model.layers, pasts, strict=True):
            assert isinstance(layer, TransformerLayer)
            normed_1TD = layer.attention_norm(x_1TD)
            own = layer.attention.key(normed_1TD), layer.attention.value(normed_1TD)
            seen = [
                torch.cat([past[:, max(0, past.shape[1] - left) :], new], dim=1)
                for past, new in zip((keys_1SD, values_1SD), own, strict=True)
            ]
            every_1TS = torch.ones(1, x_1TD.shape[1], seen[0].shape[1], dtype=torch.bool)
            x_1TD = x_1TD + layer.attention(normed_1TD, *seen, every_1TS)
            x_1TD = x_1TD + layer.feed_forward(x_1TD)
            kept = [
                torch.cat([past, new[:, : keep // 2]], dim=1)
                for past, new in zip((keys_1SD, values_1SD), own, strict=True)
            ]
            after.append(tuple(kept))
        pasts, count = after, count + min(keep // 2, x_1TD.shape[1])
        before_1TF = window_1TF[:, min(keep, window_1TF.shape[1]) - 1 :][:, :1]
        convolved_1TD = first_1TD[:, min(keep, window_1TF.shape[1]) - 1 :][:, :1]
        joined_1TD = model.norm(x_1TD).unflatten(1, (-1, model.config.reduction)).flatten(2)
        settled.append(joined_1TD[:, : -(-keep // STRIDE)])
    return torch.cat(settled, dim=1)


SPEECH = [
    [True] * 7,
    [False, True, False, False, True, True, True, True, True, False],
    [False, False],
    [True, False, True, True, False, True],
    [False, True, True, True, True],
]


@torch.no_grad()
@pytest.mark.parametrize("speech", SPEECH)
@pytest.mark.parametrize("hop", [1, 2, 3])
@pytest.mark.parametrize("rest", [0, 3, 4])
def test_what_is_settled_is_what_windows_give_and_silence_elsewhere(speech, hop, rest):
    model = encoder(hop)
    told = [*speech, True] if rest else speech
    features_1TF = random_features(len(speech) * BLOCK + rest)
    found_1TD, _ = settle(Told(model, list(told)), features_1TF, ALL)
    windows = windows_of(told, hop, len(speech))
    parts = [
        (features_1TF[:, first * BLOCK : (first + length) * BLOCK], keep * BLOCK)
        for first, keep, length in windows
    ]
    assert model.speech is not None
    expected_1TD = model.speech.silence_D.expand(1, -(-features_1TF.shape[1] // STRIDE), -1).clone()
    if parts:
        heard_1TD, start = by_hand(model.backbone, parts), 0
        for first, keep, _ in windows:
            place = first * BLOCK // STRIDE
            count = min(keep * BLOCK // STRIDE, expected_1TD.shape[1] - place)
            expected_1TD[:, place : place + count] = heard_1TD[:, start : start + count]
            start += count
    torch.testing.assert_close(found_1TD, expected_1TD, atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("share", [ALL, SOME])
def test_every_frame_is_settled_once_and_not_too_late(share):
    model = encoder(hop=2)

    @laws
    @given(speech=st.lists(st.booleans(), max_size=9), rest=st.integers(0, BLOCK - 1))
    def check(speech, rest):
        num_frames = len(speech) * BLOCK + rest
        told = [*speech, True] if rest else list(speech)
        found_1TD, counts = settle(Told(model, told), random_features(num_frames), share)
        assert found_1TD.shape[1] == -(-num_frames // STRIDE)
        waiting = 0
        for count in counts:
            waiting += BLOCK // STRIDE - count
            assert 0 <= waiting < 3 * BLOCK // STRIDE  # less than a window of two blocks and one

    check()


@torch.no_grad()
def test_it_hears_alone_what_its_gate_lets_through():
    model = encoder()
    hearing = SparingHearing(model, 8)
    features_1TF = random_features(20 * BLOCK)
    settled_1TD, _ = settle(hearing, features_1TF, ALL)
    assert model.speech is not None
    is_silence_T = (settled_1TD == model.speech.silence_D).all(dim=2)[0]
    assert 4 < int(is_silence_T.sum()) < 36


@torch.no_grad()
def test_the_count_is_that_of_the_windows_over_two_hearings():
    model = encoder(hop=2)
    hearing = Told(model, [True, True, True, False])
    state = hearing.initial_state(ALL)
    for block_1TF in random_features(4 * BLOCK).split(BLOCK, dim=1):
        _, state = hearing.step(block_1TF, state)
    assert model.speech is not None
    frames = BLOCK // 2
    per = model.dense_macs
    spent = 3 * frames * per(3 * frames)[1]  # two settled, one right of them
    spent += 2 * frames * per(2 * frames + 2 * frames)[1]  # the third again, with the pause
    spent += 8 * model.speech.macs
    full = [2 * frames * per(min(block * frames, 16) + 2 * frames)[1] for block in range(4)]
    assert float(state.spent_B) == pytest.approx(spent)
    assert float(state.full_B) == pytest.approx(sum(full))


@torch.no_grad()
def test_gates_spend_less_in_the_same_windows():
    model, features_1TF = encoder(), random_features(12 * BLOCK)

    def spent(share: float) -> float:
        hearing = Told(model, [True] * 12)
        state = hearing.initial_state(share)
        for block_1TF in features_1TF.split(BLOCK, dim=1):
            _, state = hearing.step(block_1TF, state)
        return float(state.spent_B / state.full_B)

    assert 0 < spent(SOME) < spent(ALL) < 1


@torch.no_grad()
def test_without_right_context_a_window_settles_all_that_it_hears():
    model, told = encoder(hop=2), [True, True, True, False, False, True]
    features_1TF = random_features(6 * BLOCK)
    found_1TD, counts = settle(Told(model, told, right_frames=0), features_1TF, ALL)
    parts = [(features_1TF[:, : 2 * BLOCK], 2 * BLOCK), (features_1TF[:, 16:32], 2 * BLOCK)]
    parts.append((features_1TF[:, 5 * BLOCK :], BLOCK))
    heard_1TD = by_hand(model.backbone, parts)
    assert counts == [0, 4, 0, 4, 2, 0]
    torch.testing.assert_close(found_1TD[:, :8], heard_1TD[:, :8], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found_1TD[:, 10:], heard_1TD[:, 8:], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_its_state_does_not_grow():
    model = encoder()
    hearing = SparingHearing(model, 8)
    state, sizes = hearing.initial_state(SOME), []
    for block_1TF in random_features(60 * BLOCK).split(BLOCK, dim=1):
        _, state = hearing.step(block_1TF, state)
        assert isinstance(state, SparingState)
        sizes.append(state_bytes(state))
    assert max(sizes[:20]) == max(sizes[20:])


def test_windows_are_no_longer_than_the_past():
    model = encoder(hop=9)  # the past is four blocks
    assert int(SparingHearing(model, 8).initial_state(ALL).hop_B) == 3
    with pytest.raises(ConfigError, match="longer than"):
        SparingHearing(model, 32)


@pytest.mark.parametrize("right_frames", [-8, 12])
def test_right_context_is_whole_blocks(right_frames):
    with pytest.raises(ConfigError, match="whole blocks"):
        SparingHearing(encoder(), right_frames)


@pytest.mark.parametrize(
    ("gates", "message"),
    [(THRIFTY, "speech gate"), (replace(FRAMES, speech=SPARING.speech), "anew")],
)
def test_gates_that_do_not_fit_are_refused(gates, message):
    backbone = replace(ENCODERS["transformer"], left_frames=16)
    with pytest.raises(ConfigError, match=message):
        SparingHearing(GatedConfig(backbone=backbone, gates=gates).build(), 8)
