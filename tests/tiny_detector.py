# SPDX-License-Identifier: Apache-2.0
"""A detector of voice with random weights that changes its mind often."""

import torch

from evenear.checkpoint.voices import VoiceBundle
from evenear.features import FeatureConfig, extract
from evenear.models.voice import VoiceConfig, VoiceModel
from evenear.seeding import torch_rng_for
from laws import random_sound

__all__ = ["FEATURES", "tiny_detector", "tiny_voice_model"]

FEATURES = FeatureConfig(num_mel_bins=8, hop_milliseconds=20.0, stack=1)


def tiny_voice_model(seed: int = 0) -> VoiceModel:
    """Forgetful, and of two minds about random sound: half of it is voice, half of it an end."""
    rng = torch_rng_for(seed, "detector")
    model = VoiceModel(VoiceConfig(num_mel_bins=8, hidden_dim=6, voice_logit=0.0)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng) * 0.5)
        for layer in model.layers:
            layer.bias_ih_l0[6:12] = -1.0  # pyright: ignore[reportIndexIssue]
        frames_TM = torch.from_numpy(extract(random_sound(4.0, seed=seed), FEATURES))
        model.output.weight *= 20.0
        model.output.bias -= model(frames_TM[None])[0].median(dim=0).values
    return model


def tiny_detector(seed: int = 0) -> VoiceBundle:
    """It, as if read from a folder."""
    return VoiceBundle(model=tiny_voice_model(seed), features=FEATURES)
