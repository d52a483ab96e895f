# SPDX-License-Identifier: Apache-2.0
"""An embedding of a stream is that of the whole, whatever its chunks and its neighbors.

Dimensions: B streams, T frames, F feature width, D width, H width of an encoder frame.
"""

import pytest
import torch
from hypothesis import given

import laws
from evenear.config import from_json, to_json
from evenear.encoders.voices.resnet import ResNetConfig
from evenear.models.speaker import SpeakerConfig, SpeakerModel, published, published_features
from evenear.nn.state import split_state, stack_states, state_bytes
from evenear.seeding import torch_rng_for
from tiny_voices import TINY, settled, tiny_speaker

RESIDUAL = SpeakerConfig(
    encoder=ResNetConfig(feature_dim=16, stack=2, planes=(2, 3), blocks=(1, 1)),
    attention_dim=4,
    embedding_dim=8,
)
MODELS = {"tdnn": TINY, "resnet": RESIDUAL}


def model(name: str) -> SpeakerModel:
    return settled(lambda: SpeakerModel(MODELS[name]))


def features(num_frames=20, batch_size=3, seed=0):
    rng = torch_rng_for(seed, "features")
    return torch.randn(batch_size, num_frames, 16, generator=rng)


def streamed(speaker, features_BTF, chunks):
    state = speaker.initial_state(len(features_BTF))
    for chunk_BTF in features_BTF.split(list(chunks), dim=1):
        state = speaker.step(chunk_BTF, state)
    return speaker.embedding(state)


@pytest.mark.parametrize("name", MODELS)
@given(chunks=laws.chunkings(20))
@torch.no_grad()
def test_a_stream_ends_with_the_embedding_of_the_whole(name, chunks):
    found_BD = streamed(model(name), features(), chunks)
    torch.testing.assert_close(found_BD, model(name)(features()), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_an_embedding_so_far_is_that_of_what_was_heard(name):
    speaker = model(name)
    state = speaker.initial_state(3)
    for t in range(20):
        state = speaker.step(features()[:, t : t + 1], state)
        expected_BD = speaker(features()[:, : t + 1])
        torch.testing.assert_close(speaker.embedding(state), expected_BD, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_padding_changes_nothing(name):
    together_BD = model(name)(features(), torch.tensor([20, 7, 1]))
    for b, length in enumerate((20, 7, 1)):
        alone_1D = model(name)(features()[b : b + 1, :length])
        torch.testing.assert_close(together_BD[b : b + 1], alone_1D, rtol=0, atol=1e-4)


@torch.no_grad()
def test_strangers_in_a_batch_change_nothing_and_states_do_not_grow():
    speaker = tiny_speaker()
    states = [speaker.step(features(n, 1, seed=n), speaker.initial_state(1)) for n in (3, 11, 0)]
    next_BTF = features(5, 3)
    together = speaker.step(next_BTF, stack_states(states))
    assert state_bytes(together) == 3 * state_bytes(speaker.initial_state(1))
    for b, (state, found) in enumerate(zip(states, split_state(together, 3), strict=True)):
        alone = speaker.step(next_BTF[b : b + 1], state)
        torch.testing.assert_close(
            speaker.embedding(found), speaker.embedding(alone), rtol=0, atol=1e-5
        )


@torch.no_grad()
def test_embeddings_are_unit_vectors_that_differ():
    found_BD = tiny_speaker()(features())
    torch.testing.assert_close(found_BD.norm(dim=1), torch.ones(3))
    assert float((found_BD[0] - found_BD[1]).norm()) > 1e-3


@torch.no_grad()
def test_a_long_stream_keeps_its_precision():
    """An hour of frames that are all alike but for one: the mean stays what it is."""
    speaker = tiny_speaker()
    frame_BTF = features(1, 1).expand(1, 2000, 16)
    state = speaker.initial_state(1)
    for _ in range(30):
        state = speaker.step(frame_BTF, state)
    short_BD = speaker(features(1, 1).expand(1, 3000, 16))
    torch.testing.assert_close(speaker.embedding(state), short_BD, rtol=0, atol=2e-3)


def test_pooling_is_a_weighted_mean_and_deviation():
    """Against the formula, frame by frame."""
    speaker = settled(lambda: SpeakerModel(RESIDUAL)).double()
    with torch.no_grad():
        features_BTF = features(6, 1).double()
        encoded_BTH, _ = speaker.encoder.step(features_BTF, speaker.encoder.initial_state(1))
        h = encoded_BTH[0]
        logits = speaker.attend(h)
        attention = logits.exp() / logits.exp().sum(dim=0)
        mean = (attention * h).sum(dim=0)
        variance = (attention * h**2).sum(dim=0) - mean**2
        pooled = torch.cat([mean, variance.clamp_min(1e-4).sqrt()])[None]
        out = speaker.norm(speaker.embed(speaker.pooled_norm(pooled)))
        torch.testing.assert_close(speaker(features_BTF), out / out.norm())


def test_the_published_size_is_eight_million_parameters():
    """As in the source: 8.0 M. Ours is without squeeze-and-excitation (0.08 M)."""
    with torch.device("meta"):
        speaker = SpeakerModel(published())
    count = sum(p.numel() for p in speaker.parameters())
    assert round(count / 1e6, 1) == 8.0
    assert published_features().dim == published().encoder.feature_dim
    assert published_features().num_mel_bins == 64


@pytest.mark.parametrize("settings", [*MODELS.values(), published()])
def test_settings_survive_json(settings):
    assert from_json(SpeakerConfig, to_json(settings)) == settings


def test_gradients_reach_every_parameter():
    speaker = settled(lambda: SpeakerModel(TINY)).train()
    (speaker(features(batch_size=6)) * torch.arange(TINY.embedding_dim)).sum().backward()
    silent = [n for n, p in speaker.named_parameters() if p.grad is None]
    assert silent == []
