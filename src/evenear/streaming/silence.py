# SPDX-License-Identifier: Apache-2.0
"""For how long nobody has spoken: what a detector of voice makes of one stream.

It listens beside the recognizer, every 20 ms, and does not wait for the recognizer's blocks. What
it heard depends on the sound only, not on its chunks.

Legend: N samples, T frames, M mel bins.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evenear.checkpoint.voices import VoiceBundle
from evenear.features import FeatureStream
from evenear.models.voice import VoiceListening
from evenear.units import Seconds

__all__ = ["Silence", "SilenceDetector", "SilenceStream"]


class Silence(NamedTuple):
    """What is known of voices at a moment."""

    seconds: Seconds
    """The moment: so much sound had been heard."""
    quiet_seconds: Seconds
    """How long before it somebody spoke last; all of it if nobody has yet."""
    logit: float
    """Of whoever spoke being done."""

    @property
    def is_over(self) -> float:
        """How sure it is, between 0 and 1, that whoever spoke is done."""
        return 0.5 * (1.0 + math.tanh(0.5 * self.logit))


class SilenceDetector:
    """A detector, ready to listen to any number of streams. It keeps nothing of them."""

    def __init__(self, bundle: VoiceBundle) -> None:
        self.bundle = bundle
        self.listening = VoiceListening(bundle.model)

    def stream(self) -> "SilenceStream":
        """A new listener."""
        return SilenceStream(self)


class SilenceStream:
    """One listener. Made by `SilenceDetector.stream`."""

    def __init__(self, detector: SilenceDetector) -> None:
        self.detector = detector
        self.state = detector.listening.initial_state()
        self._features = FeatureStream(detector.bundle.features)
        self._num_frames = self._num_quiet = 0

    def accept(self, samples_N: NDArray[np.float32]) -> list[Silence]:
        """Hear samples at 16 kHz; return what became known, a `Silence` every 20 ms."""
        frames_TM = self._features.accept(samples_N)
        logits_T2, self.state = self.detector.listening.step(frames_TM, self.state)
        clock = self.detector.bundle.features.clock
        least = self.detector.bundle.model.config.voice_logit
        found = []
        for voice, over in logits_T2.tolist():
            self._num_frames += 1
            self._num_quiet = 0 if voice >= least else self._num_quiet + 1
            now, quiet = clock.seconds_at(self._num_frames), clock.seconds_at(self._num_quiet)
            found.append(Silence(now, quiet, over))
        return found
