# SPDX-License-Identifier: Apache-2.0
"""Batches of mixtures are what their plans say, and the same whenever they are made."""

import numpy as np
import pytest
import torch

from data.conversations.test_mixtures import HUMS
from evenear.config import replace
from evenear.data.batching.augmentation import FrameAugmentation
from evenear.data.conversations.batches import MixtureBatchConfig, MixtureBatchMaker
from evenear.data.conversations.mixtures import MixtureConfig
from evenear.data.conversations.sounds import Sounds, Voice
from evenear.features import extract
from evenear.lexicon import Lexicon
from laws import FEATURES, tiny_tokenizer

TEXTS = ("THE CAT", "A DOG RAN", "ON THE HILL")
SETTINGS = MixtureBatchConfig(mixtures=MixtureConfig(), num_mixtures=12, seconds=20.0)


class Speaking(Sounds):
    """The hums, with words that the tokenizer knows."""

    def __init__(self) -> None:
        self.voices = [
            Voice(v.utterance_id, v.speaker, TEXTS[i % 3]) for i, v in enumerate(HUMS.voices)
        ]
        self.bounds = HUMS.bounds
        self.samples = HUMS.samples

    def bounds(self, index): ...

    def samples(self, index): ...


def maker(settings: MixtureBatchConfig = SETTINGS, **more) -> MixtureBatchMaker:
    return MixtureBatchMaker(
        Speaking(),
        tiny_tokenizer(),
        settings,
        FEATURES,
        stride=2,
        marks="start-and-end",
        seed=4,
        **more,
    )


def test_an_epoch_holds_every_mixture_once_in_batches_that_are_not_too_long():
    groups = maker().plan(3)
    names = [name for group in groups for name in group]
    assert sorted(names) == sorted(f"3-{n}" for n in range(12))
    for group in groups:
        batch = maker().batch(group, 3)
        seconds = batch.features_BTF.shape[0] * batch.features_BTF.shape[1] * 0.03
        assert seconds <= 20.0 or len(group) == 1


def test_a_batch_is_the_same_whenever_it_is_made():
    group = maker().plan(0)[0]
    for first, second in zip(maker().batch(group, 0), maker().batch(group, 0), strict=True):
        assert torch.equal(first, second) if isinstance(first, torch.Tensor) else first == second


def test_epochs_differ_unless_they_are_fixed():
    assert maker().plan(0) != maker().plan(1)
    fixed = maker(replace(SETTINGS, fixed=True))
    assert fixed.plan(0) == fixed.plan(1)


def test_rows_are_channels_of_mixtures_with_their_tokens_ends_and_silence():
    made = maker()
    group = max(made.plan(0), key=len)
    batch, tokenizer = made.batch(group, 0), made.tokenizer
    for b, name in enumerate(group):
        mixture = made.mixture(name)
        frames_TF = extract(mixture.samples_N, FEATURES)
        assert batch.lengths_B[b] == len(frames_TF)
        np.testing.assert_array_equal(batch.features_BTF[b, : len(frames_TF)], frames_TF)
        for c in range(2):
            row = c * len(group) + b
            own = [turn for turn in mixture.plan.turns if turn.channel == c]
            tokens = batch.targets_SU[row, : batch.target_lengths_S[row]].tolist()
            assert tokens.count(tokenizer.eot_id) == tokens.count(tokenizer.sot_id) == len(own)
            assert tokenizer.decode(tokens) == " ".join(turn.text for turn in own)
            ends = [end for end in batch.ends_SU[row].tolist() if end >= 0]
            assert ends == [turn.end_sample // 960 for turn in own]
            for turn in own:
                middle = (turn.start_sample + turn.end_sample) // 2 // 960
                assert not batch.silent_ST[row, middle]
            assert batch.silent_ST[row, 0] == (not own or own[0].start_sample >= 960)
            source_TF = extract(mixture.sources_CN[c], FEATURES)
            np.testing.assert_array_equal(batch.sources_STF[row, : len(source_TF)], source_TF)


def test_padding_is_neither_silent_nor_speech():
    made = maker()
    batch = made.batch(max(made.plan(0), key=len), 0)
    for row in range(len(batch.silent_ST)):
        real = -(-int(batch.lengths_B[row % len(batch.lengths_B)]) // 2)
        assert not batch.silent_ST[row, real:].any()


def test_phones_are_those_of_the_channels_words():
    lexicon = Lexicon(("AH", "K"), {"THE": ((1,),), "CAT": ((2, 1),)})
    batch = maker(lexicon=lexicon).batch(["0-0", "0-1"], 0)
    assert batch.phones_SP.shape[0] == 4
    assert (batch.phone_lengths_S >= 0).all()
    assert maker().batch(["0-0"], 0).phone_lengths_S.tolist() == [0, 0]


@pytest.mark.parametrize("masks", [0, 3])
def test_masks_hide_parts_of_the_mixture_and_not_of_its_sources(masks):
    augmentation = FrameAugmentation(num_frequency_masks=masks, max_time_masks=0, min_time_masks=0)
    hidden = maker(replace(SETTINGS, augmentation=augmentation)).batch(["0-0"], 0)
    plain = maker().batch(["0-0"], 0)
    assert torch.equal(hidden.sources_STF, plain.sources_STF)
    assert torch.equal(hidden.features_BTF, plain.features_BTF) == (masks == 0)
