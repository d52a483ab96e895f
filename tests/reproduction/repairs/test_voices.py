# SPDX-License-Identifier: Apache-2.0
"""A voice is heard once, whoever asks for it again."""

import polars as pl
import pytest

from evenear.audit import Table
from evenear.reproduction.repairs import voices
from evenear.reproduction.repairs.voices import with_voices
from training.mitigation.tone_speakers import utterances


def test_what_is_in_the_file_is_not_heard_again(tmp_path, monkeypatch):
    spoken = utterances(tmp_path / "tones", num_speakers=4)
    audio = {u.utterance_id: u.audio for u in spoken}
    rows = [(u.utterance_id, u.speaker, 2, 1) for u in spoken]
    columns = ["utterance_id", "speaker", "words", "errors"]
    table = Table(pl.DataFrame(rows, schema=columns, orient="row"))
    some = table.only_speakers(["s00", "s01"])
    first = with_voices(some, audio, tmp_path / "voices.npz")
    assert first.frame["embedding"].null_count() == 0
    everyone = with_voices(table, audio, tmp_path / "voices.npz")
    monkeypatch.setattr(voices, "embed_audio", lambda *_: pytest.fail("heard again"))
    again = with_voices(table, audio, tmp_path / "voices.npz")
    assert again.frame.equals(everyone.frame)
    known = again.only_speakers(["s00", "s01"]).frame
    assert known["embedding"].to_list() == first.frame["embedding"].to_list()
