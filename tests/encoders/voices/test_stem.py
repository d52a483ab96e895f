# SPDX-License-Identifier: Apache-2.0
"""The stem: Whisper's first convolutions, exactly, whatever the chunks.

Dimensions: B streams, T frames, F feature width, D width, M mel bins.
"""

import pytest
import torch
from hypothesis import given
from torch.nn import functional

import laws
from evenear.encoders.transformer import TransformerConfig, TransformerEncoder
from evenear.encoders.voices.stem import SpeechStem, StemConfig
from evenear.encoders.voices.tdnn import Tdnn, TdnnConfig
from evenear.errors import ConfigError
from evenear.seeding import torch_rng_for
from tiny_voices import settled

TINY = StemConfig(feature_dim=12, dim=5)


def stem() -> SpeechStem:
    return settled(lambda: SpeechStem(TINY))


def features(num_frames=11, batch_size=2):
    return torch.randn(batch_size, num_frames, 12, generator=torch_rng_for(0, "features"))


@torch.no_grad()
def test_it_is_whispers_two_convolutions_ten_milliseconds_later():
    one, features_BTF = stem(), features()
    found_BTD, _ = one.step(features_BTF, one.initial_state(2))
    mel_BMT = features_BTF.reshape(2, 22, 6).transpose(1, 2)
    # Whisper pads each convolution with one frame on both sides; a frame of silence before makes
    # its frames begin one later.
    late_BMT = functional.pad(mel_BMT, (1, 0))
    first_BDT = functional.gelu(
        functional.conv1d(late_BMT, one.conv1.weight, one.conv1.bias, padding=1)
    )
    second_BDT = functional.gelu(
        functional.conv1d(first_BDT[:, :, 1:], one.conv2.weight, one.conv2.bias, stride=2)
    )
    torch.testing.assert_close(found_BTD[:, 1:], second_BDT.transpose(1, 2)[:, :10])


@given(chunks=laws.chunkings(11))
@torch.no_grad()
def test_chunks_change_nothing(chunks):
    one, features_BTF = stem(), features()
    whole_BTD, _ = one.step(features_BTF, one.initial_state(2))
    state, parts = one.initial_state(2), []
    for chunk_BTF in features_BTF.split(list(chunks), dim=1):
        part_BTD, state = one.step(chunk_BTF, state)
        parts.append(part_BTD)
    parts.append(one.flush(state))
    torch.testing.assert_close(torch.cat(parts, dim=1), whole_BTD, rtol=0, atol=1e-6)


def test_the_future_is_invisible():
    one, features_BTF = stem(), features().requires_grad_()
    encoded_BTD, _ = one.step(features_BTF, one.initial_state(2))
    encoded_BTD[:, 4].sum().backward()
    assert features_BTF.grad is not None
    assert features_BTF.grad[:, 4].abs().sum() > 0
    assert not features_BTF.grad[:, 5:].any()


def test_it_takes_the_convolutions_of_a_transformer_and_of_nothing_else():
    one = stem()
    encoder = TransformerEncoder(
        TransformerConfig(feature_dim=6, dim=4, num_heads=2, num_layers=1, ff_dim=8)
    )
    with pytest.raises(ConfigError, match="first convolution"):
        one.take(encoder)
    fitting = SpeechStem(StemConfig(feature_dim=12, dim=4))
    fitting.take(encoder)
    assert torch.equal(fitting.conv2.weight, encoder.conv2.weight)
    with pytest.raises(ConfigError, match="kind transformer"):
        one.take(Tdnn(TdnnConfig(feature_dim=8, planes=(2,), dim=4, dilations=(1,))))
