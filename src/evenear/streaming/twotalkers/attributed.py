# SPDX-License-Identifier: Apache-2.0
"""Two talkers, one recognizer: it hears the mixture, and each word goes to the voice that says it.

    samples ──┬── recognizer of single talkers ─── words ─────────┐
              ├── separator ── does somebody speak, do both? ──┬──┴── words and turns, a channel
              └── speaker encoder ── whose voice is it? ───────┘      for each talker

Where voices overlap a recognizer follows one of them, and a separator that is to do better must
part nine of ten bins rightly (`benchmarks/who_speaks.py`). So no word is lost, or heard twice, for
the sake of a second channel: the words of both are those that the recognizer hears in the mixture.
A channel is a talker here, not the first that is free.

Legend: N audio samples, T frames, F feature width, D width of a vector, C channels, G groups of
frames.

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
from evenear.features import FeatureStream, extract
from evenear.models.activity import BOTH
from evenear.streaming.events import Event, Final
from evenear.streaming.recognizer import Recognizer
from evenear.streaming.stream import checked_samples
from evenear.streaming.twotalkers.attribution import Attribution, AttributionConfig
from evenear.streaming.twotalkers.voices import TalkerVoices, VoicesConfig
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
        voices: How voices are told apart.

    Raises:
        ConfigError: The model does not decide who speaks, or knows no voices.
    """

    def __init__(
        self,
        bundle: TwoTalkerBundle,
        recognizer: Recognizer,
        config: AttributionConfig,
        voices: VoicesConfig | None = None,
    ) -> None:
        activity = bundle.model.separator.activity
        if activity is None or bundle.voices is None:
            raise ConfigError(
                "Words can be attributed only where it is decided who speaks, and by voices.",
                hint="Give the separator an activity, and name a network in `voices_of`.",
            )
        self.bundle, self.recognizer, self.config = bundle, recognizer, config
        self.voices = voices or VoicesConfig()
        self._speaker = bundle.voices
        clock = bundle.settings.features.clock
        self._joined = bundle.model.separator.config.joined
        self.group_seconds: Seconds = clock.seconds_at(self._joined)
        self.ahead_groups = activity.config.ahead_groups

    @torch.inference_mode()
    def embed(self, samples_N: NDArray[np.float32]) -> NDArray[np.float64]:
        """The vector of 16 kHz sound."""
        features_TF = extract(samples_N, self._speaker.features)
        vector_1D = self._speaker.model(torch.from_numpy(features_TF)[None])
        return vector_1D[0].numpy().astype(np.float64)

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
        self._voices = TalkerVoices(
            attributor.embed, attributor.voices, group_samples=round(seconds * SAMPLE_RATE)
        )
        self._attribution = Attribution(
            attributor.config, self._voices.talking, group_seconds=seconds
        )
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
        self._voices.hear(samples_N)
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
        self._voices.hear(last_N)
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
        speaks_G = found.active_BCG[0].any(dim=0).tolist()
        both_G = found.talk_BGA[0].softmax(dim=1)[:, BOTH].tolist()
        waiting = list(told)
        for speaks, both in zip(speaks_G, both_G, strict=True):
            group = self._voices.num_groups
            if group * self.attributor.group_seconds >= end_seconds:
                break  # silence behind the end
            known = min(self.attributor.known(group), end_seconds)
            while waiting and waiting[0].known_seconds < known:
                events += self._told(waiting.pop(0))
            events += self._next(speaks, both, known)
        for event in waiting:
            events += self._told(event)
        return events

    def _told(self, event: Event) -> list[Event]:
        """What an event of the recognizer says. Only words that stay change what is known."""
        if isinstance(event, Final):
            self._voices.remember()
        return self._attribution.heard(event)

    def _next(self, speaks: bool, both: float, known: Seconds) -> list[Event]:
        """The next group: whose voice it is, and what that says of turns."""
        voices = self._voices
        heard = min(round(known * SAMPLE_RATE), self._num_samples)
        voices.group(speaks=speaks, both=both, heard_samples=heard)
        if speaks and voices.is_unknown:
            return self._attribution.group(None, known)
        if not speaks:
            return self._attribution.group((False, False), known)
        both_speak = both > self.attributor.config.both_chance
        active_C = (True, True) if both_speak else (voices.now == 0, voices.now == 1)
        return self._attribution.group(active_C, known, before=voices.before)

    def _expect_open(self) -> None:
        if self.is_finished:
            raise StateError("This stream is finished.", hint="Make one for each recording.")
