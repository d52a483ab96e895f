# SPDX-License-Identifier: Apache-2.0
"""Voices from files, arrays and streams; what is refused, and how.

Dimensions: N samples.
"""

import numpy as np
import pytest

from evenear.audio import resample, write_audio
from evenear.errors import AudioError
from evenear.verification.listening import Embedder, Voice, speech_seconds
from tiny_speakers import buzz
from verification.hearing import tiny_embedder

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return tiny_embedder()


def test_a_file_and_its_samples_are_one_voice(embedder, tmp_path):
    write_audio(tmp_path / "a.wav", buzz(0, 0), subtype="FLOAT")
    from_file = embedder.embed_file(tmp_path / "a.wav")
    from_samples = embedder.embed(buzz(0, 0))
    np.testing.assert_allclose(from_file.vector, from_samples.vector, atol=1e-6)
    assert float(np.linalg.norm(from_file.vector)) == pytest.approx(1.0, abs=1e-5)
    assert from_file.speech_seconds == pytest.approx(1.0, abs=0.1)


def test_another_rate_is_resampled(embedder):
    fast = resample(buzz(0, 0, 2.0), from_rate=16_000, to_rate=44_100)
    found = embedder.embed(fast, sample_rate=44_100).vector
    assert float(found @ embedder.embed(buzz(0, 0, 2.0)).vector) > 0.9


@pytest.mark.parametrize("chunk", [1, 37, 1600, 5000])
def test_a_stream_ends_with_the_voice_of_the_whole(embedder, chunk):
    samples_N = buzz(1, 0, 0.6) if chunk == 1 else buzz(1, 0, 2.0)
    stream = embedder.stream()
    assert stream.vector() is None
    for start in range(0, len(samples_N), chunk):
        stream.accept(samples_N[start : start + chunk])
    stream.finish()
    np.testing.assert_allclose(stream.vector(), embedder.embed(samples_N).vector, atol=1e-4)


def test_silence_has_no_voice(embedder):
    with pytest.raises(AudioError, match="silent"):
        embedder.embed(np.zeros(16_000, np.float32))
    with pytest.raises(AudioError, match="silent"):
        embedder.embed(np.zeros(0, np.float32))
    with pytest.raises(AudioError, match="silent"):
        embedder.embed(1e-4 * np.sin(np.arange(16_000, dtype=np.float32)))


def test_a_syllable_in_a_long_silence_is_too_short(embedder):
    samples_N = np.concatenate([np.zeros(16_000), buzz(0, 0, 0.2), np.zeros(16_000)])
    with pytest.raises(AudioError, match=r"0\.\d\d s of speech in 2\.20 s") as caught:
        embedder.embed(samples_N, name="a.wav")
    assert caught.value.hint is not None
    assert str(caught.value).startswith("a.wav")


def test_loudness_decides_what_counts_as_speech():
    loud, gap = buzz(0, 0, 0.5), np.zeros(8000, np.float32)
    assert speech_seconds(np.concatenate([loud, gap])) == pytest.approx(0.5, abs=0.05)
    assert speech_seconds(0.1 * loud) == pytest.approx(speech_seconds(loud), abs=0.02)


def test_a_voice_does_not_show_its_vector():
    assert repr(Voice(np.ones(3, np.float32), 1.5)) == "Voice(speech_seconds=1.50, warnings=())"
