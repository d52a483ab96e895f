# SPDX-License-Identifier: Apache-2.0
"""What the shipped model hears in the shipped clips, word for word.

The words below are what it says, not what was said. A processor of another kind may decide a close
case otherwise, so one word in all may differ. A model that is shipped anew brings new words.
"""

from importlib import resources

import pytest

from evenear.checkpoint import shipped_models
from evenear.metrics.words import word_errors
from evenear.streaming import Recognizer

HEARD = {
    "evenear-en": {
        "library": "THE LIBRARY OPENS AT NINE IN THE MORNING",
        "park": "WE WENT THE PARK AND PLAYED ALL DAY",
        "telephone": "PLEASE CALL ME WHEN YOU GET HOME",
        "weather": "I THINK IT WILL RAIN TOMORROW",
    },
    "evenear-en-small": {
        "library": "THE LIBRARY OPENS AT NINE AND THE MORNING",
        "park": "WE WENT TO THE PARK AND PLAYED ALL DAY",
        "telephone": "PLEASE GUMMY WITH A HOME",
        "weather": "I THINK IT WILL RAIN TOMORROW",
    },
}
MAY_DIFFER = 1


@pytest.mark.parametrize("name", HEARD)
def test_a_shipped_model_hears_in_the_clips_what_it_heard_when_it_was_shipped(name):
    if name not in shipped_models():
        pytest.skip("this checkout does not ship it")
    recognizer = Recognizer.load(name)
    clips = resources.files("evenear") / "shipped" / "clips"
    different = 0
    for clip, words in HEARD[name].items():
        segments = recognizer.transcribe(clips / f"{clip}.flac")
        different += word_errors(words, " ".join(segment.text for segment in segments)).errors
    assert different <= MAY_DIFFER


def test_every_shipped_recognizer_has_its_words_here():
    assert set(shipped_models()) <= set(HEARD)
