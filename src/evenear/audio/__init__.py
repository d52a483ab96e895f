# SPDX-License-Identifier: Apache-2.0
"""Audio in and out: read, write, resample, down-mix. The only door to soundfile, soxr and av.

Everything here hands out mono float32 samples in [-1, 1]. A file that is streamed gives the same
samples, bit for bit, as the file read whole, because reading whole is streaming and joining.

Rules that hold everywhere:

- *Down-mix*: the mean of the channels. Sounds that are in one of two channels lose half their
  amplitude; where channels of a file cancel each other, the louder one is heard alone, and a
  warning says so. `channel` reads one of them.
- *Peaks*: a file of floats beyond twice full scale is cut off there, with a warning; one that has
  another scale is refused.
- *Full scale*: int16 is divided by 32768, so -32768 is -1.0 and 32767 is just below 1.0.
- *Resampling*: soxr, "HQ"; n samples become about n * to_rate / from_rate, aligned in time.
- NaN and infinite samples are refused, with the second at which the first one is.
"""

from evenear.audio.reading import audio_info, read_audio, stream_audio
from evenear.audio.recordings import AudioInfo, AudioSource
from evenear.audio.resampling import StreamResampler, resample
from evenear.audio.samples import to_mono_float32
from evenear.audio.writing import write_audio

__all__ = [
    "AudioInfo",
    "AudioSource",
    "StreamResampler",
    "audio_info",
    "read_audio",
    "resample",
    "stream_audio",
    "to_mono_float32",
    "write_audio",
]
