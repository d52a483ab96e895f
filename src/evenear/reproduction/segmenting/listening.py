# SPDX-License-Identifier: Apache-2.0
"""A trained recognizer of single talkers, for models too small to learn to hear by themselves.

A model of some hundred thousand weights needs many hours before it reads a single word, and where
nothing is read no turn can be counted. So the models of the study may read what the encoder of a
trained recognizer makes of the mixture, and begin with its predictor and joiner: before the first
update both channels say what it would. The encoder stays as it is. It was never trained on two
voices: what it blurs where they overlap, it blurs for all variants alike.

Legend: B recordings (one), N samples, T frames, F feature width, D encoder width.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from evenear.checkpoint import load_model
from evenear.data.conversations.turntargets import TurnMarks
from evenear.encoders.lstm import LstmEncoder
from evenear.errors import ConfigError
from evenear.features import FeatureConfig, extract
from evenear.models.twotalkers import SeparatorTransducer
from evenear.reproduction.segmenting.variants import config_behind

__all__ = ["EncoderFrames"]


class EncoderFrames:
    """Hears whole mixtures with the encoder of a recognizer.

    Args:
        name_or_folder: The recognizer. Its encoder must hear frame by frame: blocks would make all
            that is said of a turn as late as they are long.

    Raises:
        ConfigError: The encoder hears blocks, or what comes.
    """

    def __init__(self, name_or_folder: str) -> None:
        bundle = load_model(name_or_folder)
        self._model, self._features = bundle.model, bundle.features
        self.tokenizer = bundle.tokenizer
        encoder = self._model.encoder
        if encoder.block_frames > encoder.stride or encoder.lookahead_frames >= encoder.stride:
            raise ConfigError(
                f"{bundle.name} hears blocks or looks ahead; moments of turns would be those of "
                "its blocks.",
                hint="Take a recognizer that hears frame by frame, such as evenear-en-small.",
            )
        self.config = FeatureConfig(
            num_mel_bins=encoder.dim,
            hop_milliseconds=1000 * self._features.clock.frame_seconds * encoder.stride,
            stack=1,
        )
        """Width and clock of the frames."""

    @torch.inference_mode()
    def __call__(self, samples_N: NDArray[np.float32]) -> NDArray[np.float32]:
        """Frames (T, D) of 16 kHz samples."""
        features_1TF = torch.from_numpy(extract(samples_N, self._features))[None]
        lengths_B = torch.tensor([features_1TF.shape[1]])
        encoded = self._model.encoder(self._model.normalize(features_1TF), lengths_B)
        return encoded.encoded_BTD[0].numpy().copy()

    def begun(self, *, turns: TurnMarks) -> SeparatorTransducer:
        """A two-channel model that reads the frames and says on both channels what is heard."""
        width = self._model.encoder.dim
        model = SeparatorTransducer(config_behind(self._model.config, width=width, turns=turns))
        own, encoder = model.transducer, model.transducer.encoder
        own.predictor.load_state_dict(self._model.predictor.state_dict())
        own.joiner.load_state_dict(self._model.joiner.state_dict())
        if own.ctc is not None and self._model.ctc is not None:
            own.ctc.load_state_dict(self._model.ctc.state_dict())
        assert isinstance(encoder, LstmEncoder)
        for projection in encoder.lstm.projections:  # what is beside the frames is nothing at first
            for parameter in projection.parameters():
                nn.init.zeros_(parameter)
        return model
