# SPDX-License-Identifier: Apache-2.0
"""The page of what ran: words, blocks and the spectrogram, and nothing to load."""

import base64
import re
import zlib

import numpy as np

from evenear.streaming.explain import Explained
from evenear.streaming.explainpage import explanation_page
from evenear.transcripts import Segment, Word


def made_up() -> Explained:
    on_LKP = np.zeros((1, 4, 3), np.float32)
    on_LKP[0, :2, 0] = 1.0  # attention asks in the first two blocks
    on_LKP[0, :, 2] = (1.0, 0.5, 0.0, 0.0)
    return Explained(
        features_TF=np.arange(16, dtype=np.float32).reshape(8, 2),
        block_seconds=0.5,
        on_LKP=on_LKP,
        spent_K=np.array([0.9, 0.6, 0.2, 0.2]),
        is_loud_K=np.array([True, True, False, False]),
        asked=0.4,
        compute=0.475,
    )


def test_the_page_has_the_words_the_blocks_that_ran_and_the_spectrogram():
    words = (Word(text="A<B", start_seconds=0.5, end_seconds=0.9),)
    said = Segment(
        session_id="x", speaker="", start_seconds=0.5, end_seconds=0.9, text="A<B", words=words
    )
    page = explanation_page("talk & more", made_up(), [said])
    assert "talk &amp; more" in page
    assert "A&lt;B" in page
    assert "spent 47.5 %: 52.5 % were saved" in page
    assert page.count('class="block"') == 4
    assert "<td>100</td><td>25</td>" in page
    data = base64.b64decode(re.findall(r"base64,([^\"]+)", page)[0])
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    pixels = zlib.decompress(data[data.index(b"IDAT") + 4 : -16])
    rows = np.frombuffer(pixels, np.uint8).reshape(2, 9)
    assert (rows[:, 0] == 0).all()
    assert rows[1, 1] == 255  # lowest band, first frame: the least energy is white
    assert rows[0, 8] == 0
