# SPDX-License-Identifier: Apache-2.0
"""The demo streams what is shipped, shows what is heard, and ends."""

import json
import re
import time
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from evenear.audio import read_audio
from evenear.cli.recognition.touring import _rows_that_fit, _table
from evenear.streaming import Recognizer
from evenear.transcripts import Word

CLIPS = resources.files("evenear") / "shipped" / "clips"
ROWS = json.loads((CLIPS / "clips.json").read_text(encoding="utf-8"))


@pytest.fixture
def shown(evenear, model, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    began = time.process_time()
    done = evenear("demo", "--model", model)
    assert time.process_time() - began < 60
    assert done.code == 0
    return done


def test_a_pipe_gets_plain_text_and_nothing_is_waited_for(shown):
    assert "\x1b" not in shown.out + shown.err
    assert shown.err == ""


def test_every_clip_is_named_said_and_heard_as_the_recognizer_hears_it(shown, model):
    recognizer = Recognizer.load(model)
    joined = re.sub(r"\s+", "", shown.out)
    for row in ROWS:
        with resources.as_file(CLIPS / row["file"]) as path:
            words = [w for s in recognizer.transcribe(path) for w in s.words]
        assert f"voice  {row['voice']}" in shown.out
        assert f"said   {row['text']}" in shown.out
        heard = "".join(word.text for word in words)
        assert f"heard{heard}word{words[0].text}" in joined
        assert all(f"{word.start_seconds:.2f}" in shown.out for word in words)


def test_it_says_how_fast_it_was_and_what_to_try_next(shown):
    seconds = 0.0
    for row in ROWS:
        with resources.as_file(CLIPS / row["file"]) as path:
            seconds += len(read_audio(path)) / 16_000
    assert f"{seconds:.1f} s of sound; real-time factor 0." in shown.out
    assert re.search(r"a chunk took \d+\.\d ms \(p50\), \d+\.\d ms \(p95\)", shown.out)
    for command in ("transcribe", "listen", "evaluate", "audit", "doctor"):
        assert f"  evenear {command}" in shown.out


def test_words_form_on_a_terminal(evenear, model, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    done = evenear("demo", "--model", model, "--speed", "20")
    assert done.code == 0
    assert "\x1b[" in done.out
    moments = {float(found) for found in re.findall(r" (\d\.\d) s  ", done.out)}
    assert len(moments) > 3, "the live line was seen but seldom"


word = st.builds(
    lambda text, start: Word(text=text, start_seconds=start, end_seconds=start, confidence=0.5),
    st.text("ABC'", min_size=1, max_size=12),
    st.floats(0, 59),
)


@given(st.lists(word, max_size=12), st.integers(30, 120))
def test_rows_fit_and_lose_no_word(words, width):
    rows = list(_rows_that_fit(words, width))
    assert [w for row in rows for w in row] == words
    for row in rows:
        console = Console(width=width, record=True, quiet=False, file=None, force_terminal=False)
        with console.capture() as captured:
            console.print(_table(row))
        lines = captured.get().splitlines()
        assert len(lines) == 3, "a cell was folded"
        assert lines[0].split() == ["word", *(w.text for w in row)]
