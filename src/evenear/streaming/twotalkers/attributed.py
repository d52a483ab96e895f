# SPDX-License-Identifier: Apache-2.0
"""Two talkers, one recognizer: it hears the mixture, and each word goes to whoever speaks.

    samples ──┬── recognizer of single talkers ── words ──┐
              └── separator ── who speaks, and shares ────┴── words and turns on two channels

Where voices overlap a recognizer follows one of them, and gates that were trained for an hour do no
better (`benchmarks/who_speaks.py`). So no word is lost, or heard twice, for the sake of a second
channel: the words of both channels are those that the recognizer hears in the mixture.

Legend: N audio samples, T frames, F feature width, C channels, G groups of frames.

Ours. To give the words of one recognizer to speakers by their times is what transcription of
meetings does where voices seldom overlap.
"""

import math

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from evenear.audio import StreamResampler
from evenear.checkpoint.twotalkers import TwoTalkerBundle
from evenear.errors import ConfigError, StateError
from evenear.features import FeatureStream
from evenear.streaming.events import Event
from evenear.streaming.recognizer import Recognizer
from evenear.streaming.stream import checked_samples
from evenear.streaming.twotalkers.attribution import Attribution, AttributionConfig
from evenear.units import SAMPLE_RATE, Samples, Seconds

__all__ = ["AttributedStream", "Attributor"]

_TAIL_SECONDS = 0.6
"""Silence that is heard behind the end, so that the last groups are decided."""


class Attributor:
    """What streams of one model share. It keeps nothing of any.

    Args:
        bundle: A two-channel model that decides who speaks.
        recognizer: Hears the mixture.
        config: How turns and words follow.

    Raises:
        ConfigError: The model does not decide who speaks.
    """

    def __init__(
        self, bundle: TwoTalkerBundle, recognizer: Recognizer, config: AttributionConfig
    ) -> None:
        activity = bundle.model.separator.activity
        if activity is None:
            raise ConfigError("Words can be attributed only where it is decided who speaks.")
        self.bundle, self.recognizer, self.config = bundle, recognizer, config
        clock = bundle.settings.features.clock
        self._joined = bundle.model.separator.config.joined
        self.group_seconds: Seconds = clock.seconds_at(self._joined)
        self.ahead_groups = activity.config.ahead_groups

    def known(self, group: int) -> Seconds:
        """When a group is decided on."""
        return (group + 1 + self.ahead_groups) * self.group_seconds


class AttributedStream:
    """One listener at any sample rate."""

    def __init__(self, attributor: Attributor, sample_rate: Samples = SAMPLE_RATE) -> None:
        self.attributor = attributor
        self._words = attributor.recognizer.stream()
        self._resampler = StreamResampler(sample_rate, SAMPLE_RATE)
        self._features = FeatureStream(attributor.bundle.settings.features)
        self._separator = attributor.bundle.model.separator.initial_state(1)
        seconds = attributor.group_seconds
        self._attribution = Attribution(attributor.config, group_seconds=seconds)
        self._num_groups = 0
        self._num_samples = 0

    @property
    def is_finished(self) -> bool:
        """Whether it was ended."""
        return self._words.is_finished

    def accept(self, samples: ArrayLike) -> list[Event]:
        """Hear a chunk of mono samples, of any length; return what became known.

        Raises:
            AudioError: The samples cannot be heard; nothing was heard.
            StateError: The stream is finished.
        """
        self._expect_open()
        samples_N = self._resampler.accept(checked_samples(samples))
        self._num_samples += len(samples_N)
        told = self._words.accept(samples_N)
        return self._merged(self._features.accept(samples_N), told, end_seconds=math.inf)

    def finish(self) -> list[Event]:
        """End the stream; return the events of its tail.

        Raises:
            StateError: The stream is finished already.
        """
        self._expect_open()
        last_N = self._resampler.finish()
        self._num_samples += len(last_N)
        end = self._num_samples / SAMPLE_RATE
        told = [*self._words.accept(last_N), *self._words.finish()]
        tail_N = np.zeros(
            round(_TAIL_SECONDS * SAMPLE_RATE) if self._num_samples else 0, np.float32
        )
        heard_TF = self._features.accept(np.concatenate([last_N, tail_N]))
        events = self._merged(heard_TF, told, end_seconds=end)
        return events + self._attribution.finish(end)

    @torch.inference_mode()
    def _merged(
        self, features_TF: NDArray[np.float32], told: list[Event], *, end_seconds: Seconds
    ) -> list[Event]:
        """What new frames and the recognizer's events say, in the order they became known."""
        model, events = self.attributor.bundle.model, []
        given_1TF = model.normalize(torch.from_numpy(features_TF)[None])
        found, self._separator = model.separator.step(given_1TF, self._separator)
        assert found.active_BCG is not None
        assert found.talk_BGA is not None
        assert found.shares_BCG is not None
        active_CG, shares_CG = found.active_BCG[0].numpy(), found.shares_BCG[0].numpy()
        talk_GA = found.talk_BGA[0].numpy()
        waiting = list(told)
        for g in range(active_CG.shape[1]):
            if self._num_groups * self.attributor.group_seconds >= end_seconds:
                break  # silence behind the end
            known = min(self.attributor.known(self._num_groups), end_seconds)
            self._num_groups += 1
            while waiting and waiting[0].known_seconds < known:
                events += self._attribution.heard(waiting.pop(0))
            group = active_CG[:, g], talk_GA[g], shares_CG[:, g]
            events += self._attribution.group(*group, known)
        for event in waiting:
            events += self._attribution.heard(event)
        return events

    def _expect_open(self) -> None:
        if self.is_finished:
            raise StateError("This stream is finished.", hint="Make one for each recording.")
