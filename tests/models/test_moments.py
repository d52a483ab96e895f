# SPDX-License-Identifier: Apache-2.0
"""Moments of a stem: what they are, and that a stream ends with the embedding of the whole.

Dimensions: B streams, T frames, F feature width, H width of the stem, M mel bins, X numbers.
"""

import pytest
import torch
from hypothesis import given

import laws
from evenear.encoders.voices.stem import StemConfig
from evenear.models.moments import MomentsConfig, MomentsModel
from evenear.seeding import torch_rng_for
from tiny_voices import settled

TINY = MomentsConfig(encoder=StemConfig(feature_dim=12, dim=5), embedding_dim=4)


def model(config: MomentsConfig = TINY) -> MomentsModel:
    return settled(lambda: MomentsModel(config))


def features(num_frames=20, batch_size=3):
    rng = torch_rng_for(0, "features")
    return 0.3 * torch.randn(batch_size, num_frames, 12, generator=rng)


def streamed(one, features_BTF, chunks):
    state = one.initial_state(len(features_BTF))
    for chunk_BTF in features_BTF.split(list(chunks), dim=1):
        state = one.step(chunk_BTF, state)
    return one.embedding(state)


@torch.no_grad()
def test_numbers_are_weighted_moments():
    one, features_BTF = model(), features(batch_size=1)
    numbers_X = one.describe(features_BTF)[0].double()
    encoded_TH = one.encoder.step(features_BTF, one.encoder.initial_state(1))[0][0].double()
    mel_TSM = features_BTF[0].reshape(20, 2, 6).double()
    # Whisper's features are (log10 energy + 4) / 4; a frame counts the cube root of its energy.
    energy_T = 10 ** (4 * mel_TSM.mean(dim=(1, 2)) - 4)
    share_T = energy_T ** (1 / 3) / (energy_T ** (1 / 3)).sum()

    def mean(x_TX):
        return (share_T[:, None] * x_TX).sum(dim=0)

    def deviation(x_TX):
        return mean((x_TX - mean(x_TX)).square()).sqrt()

    mel_mean_M = mean(mel_TSM.mean(dim=1))
    spread_M = mean((mel_TSM - mel_mean_M).square().mean(dim=1)).sqrt()
    change_M = mean((mel_TSM[:, 1] - mel_TSM[:, 0]).square()).sqrt()
    expected_X = torch.cat(
        [mean(encoded_TH), mel_mean_M, deviation(encoded_TH), spread_M, change_M]
    )
    assert numbers_X.shape == (TINY.numbers,)
    torch.testing.assert_close(numbers_X, expected_X, rtol=1e-3, atol=1e-5)


@torch.no_grad()
def test_without_loudness_all_frames_count_alike():
    plain = model(MomentsConfig(**{**TINY.__dict__, "loudness": 0.0}))
    features_BTF = features()
    mel_BTSM = features_BTF.reshape(3, 20, 2, 6)
    found_BM = plain.describe(features_BTF)[:, 5:11]
    torch.testing.assert_close(found_BM, mel_BTSM.mean(dim=(1, 2)), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_vectors_are_of_unit_length_and_scale_by_scale():
    one, features_BTF = model(), features()
    vectors_BD = one(features_BTF)
    assert vectors_BD.shape == (3, TINY.embedding_dim)
    torch.testing.assert_close(vectors_BD.norm(dim=1), torch.ones(3))
    numbers_BX = one.describe(features_BTF)
    one.mean_X.copy_(numbers_BX[0])
    one.scale_X.fill_(2.0)
    wide_BD = (2.0 * (numbers_BX - numbers_BX[0])) @ one.linear.weight.T
    expected_BD = torch.nn.functional.normalize(wide_BD, dim=1)
    torch.testing.assert_close(one.project(numbers_BX), expected_BD)


@given(chunks=laws.chunkings(20))
@torch.no_grad()
def test_a_stream_ends_with_the_embedding_of_the_whole(chunks):
    torch.testing.assert_close(
        streamed(model(), features(), chunks), model()(features()), rtol=0, atol=1e-4
    )


@torch.no_grad()
def test_padding_changes_nothing():
    together_BD = model()(features(), torch.tensor([20, 7, 1]))
    for b, length in enumerate((20, 7, 1)):
        alone_1D = model()(features()[b : b + 1, :length])
        torch.testing.assert_close(together_BD[b : b + 1], alone_1D, rtol=0, atol=1e-4)


@torch.no_grad()
def test_silence_around_speech_counts_little():
    one = model()
    loud_BTF = features(60, 1)
    silence_BTF = torch.full((1, 60, 12), -1.5)
    beside_BX = one.describe(torch.cat([silence_BTF, loud_BTF], dim=1))
    assert (beside_BX - one.describe(loud_BTF)).abs().max() < 0.1
    plain = model(MomentsConfig(**{**TINY.__dict__, "loudness": 0.0}))
    beside_BX = plain.describe(torch.cat([silence_BTF, loud_BTF], dim=1))
    assert (beside_BX - plain.describe(loud_BTF)).abs().max() > 0.5


def test_the_numbers_of_the_default_are_counted():
    assert MomentsConfig().numbers == 2 * 384 + 3 * 80
    with pytest.raises(ValueError, match="loudness"):
        MomentsConfig(loudness=-1.0)
