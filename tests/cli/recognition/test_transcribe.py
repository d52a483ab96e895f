# SPDX-License-Identifier: Apache-2.0
"""Files in, text out; whatever is no sound says so, and what can be heard of it is given."""

import json
import math
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from evenear.streaming import Recognizer
from evenear.transcripts import FORMATS, read_transcript
from laws import random_sound

THREE_HOURS = 3 * 3600


def sound(
    path: Path, seconds: float = 1.5, *, rate: int = 16_000, seed: int = 0, **options
) -> Path:
    soundfile.write(path, random_sound(seconds, sample_rate=rate, seed=seed), rate, **options)
    return path


def in_words(model: Path, path: Path) -> str:
    """What the library hears, for comparison."""
    return " ".join(segment.text for segment in Recognizer.load(model).transcribe(path))


@pytest.fixture
def noise(tmp_path) -> Path:
    return sound(tmp_path / "noise.wav")


def test_the_text_of_one_file_is_all_of_standard_output(evenear, model, noise):
    done = evenear("transcribe", noise, "--model", model)
    assert (done.code, done.err) == (0, "")
    assert done.out.split() == in_words(model, noise).split()
    assert done.out.split()


def test_texts_of_several_files_are_named(evenear, model, noise, tmp_path):
    other = sound(tmp_path / "other.flac", seed=5)
    done = evenear("transcribe", noise, other, "--model", model)
    assert done.code == 0
    rows = [line.split("\t") for line in done.out.splitlines()]
    assert rows == [[str(path), in_words(model, path)] for path in (noise, other)]


@pytest.mark.parametrize("form", sorted({*FORMATS} - {"text"}))
def test_every_format_can_be_read_back(evenear, model, noise, tmp_path, form):
    printed = evenear("transcribe", noise, "--model", model, "--format", form)
    assert (printed.code, printed.err) == (0, "")
    written = evenear(
        "transcribe", noise, "--model", model, "--format", form, "--out", tmp_path / "new" / "out"
    )
    (file,) = (tmp_path / "new" / "out").iterdir()
    assert written.out == ""
    assert str(file) in written.err
    assert file.read_text(encoding="utf-8") == printed.out
    segments = read_transcript(file, form)
    assert segments
    if form != "rttm":  # which holds no words
        assert " ".join(s.text for s in segments) == in_words(model, noise)


def test_several_files_make_one_seglst(evenear, model, noise, tmp_path):
    other = sound(tmp_path / "other.wav", seed=5)
    done = evenear("transcribe", noise, other, "--model", model, "--format", "seglst")
    json.loads(done.out)
    segments = read_transcript(done.out, "seglst")
    assert {segment.session_id for segment in segments} == {"noise", "other"}


def test_several_files_make_a_json_document_each_on_a_line_of_its_own(
    evenear, model, noise, tmp_path
):
    other = sound(tmp_path / "other.wav", seed=5)
    done = evenear("transcribe", noise, other, "--model", model, "--format", "json")
    lines = done.out.splitlines()
    sessions = [{s.session_id for s in read_transcript(line + "\n", "json")} for line in lines]
    assert sessions == [{"noise"}, {"other"}]


@pytest.mark.parametrize(
    ("rate", "channels", "options"),
    [
        (16_000, 8, {}),
        (192_000, 1, {}),
        (8_000, 1, {}),
        (44_100, 2, {"subtype": "PCM_24"}),
        (11_025, 1, {"subtype": "PCM_U8"}),
    ],
)
def test_any_rate_and_number_of_channels_is_heard(
    evenear, model, tmp_path, rate, channels, options
):
    samples_N = random_sound(1.5, sample_rate=rate, seed=0)
    soundfile.write(tmp_path / "a.wav", np.stack([samples_N] * channels, axis=1), rate, **options)
    done = evenear("transcribe", tmp_path / "a.wav", "--model", model)
    assert (done.code, done.err) == (0, "")
    assert done.out.split() == in_words(model, tmp_path / "a.wav").split()
    assert done.out.split()


def test_eight_equal_channels_say_what_one_says(evenear, model, noise, tmp_path):
    samples_N, rate = soundfile.read(noise)
    soundfile.write(tmp_path / "eight.wav", np.stack([samples_N] * 8, axis=1), rate)
    one, eight = (
        evenear("transcribe", path, "--model", model).out
        for path in (noise, tmp_path / "eight.wav")
    )
    assert one == eight


def damaged(kind: str, folder: Path) -> Path:
    """A file that is not what it seems."""
    path = folder / f"{kind}.wav"
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("Dear diary, nobody spoke to me today.\n" * 20, encoding="utf-8")
    elif kind == "silent-header":
        soundfile.write(path, np.zeros(0, np.float32), 16_000)
    elif kind == "nan":
        samples_N = random_sound(1.0)
        samples_N[8000] = math.nan
        soundfile.write(path, samples_N, 16_000, subtype="FLOAT")
    elif kind == "folder":
        path.mkdir()
    elif kind == "under-a-file":
        path.touch()
        path = path / "a.wav"
    return path


BAD = {
    "missing": ("There is no file", "Check the name"),
    "empty": ("must hold audio, but it is empty (0 bytes)", None),
    "text": ("", None),
    "silent-header": ("must hold sound, but it has 0 samples", "header was never filled"),
    "nan": ("must be finite numbers, got nan at 0.500 s (sample 8000)", "cut that part out"),
    "folder": ("must be an audio file, but it is a folder", None),
    "under-a-file": ("There is no file", "Check the name"),
}
"""What can be wrong with a file: what the error says, and what the hint says."""


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_sound_is_named_with_what_is_wrong(evenear, model, tmp_path, kind):
    path = damaged(kind, tmp_path)
    done = evenear("transcribe", path, "--model", model, "--format", "json")
    message, hint = BAD[kind]
    assert done.code == 1
    assert message in done.err
    assert str(path) in done.err.splitlines()[0]
    assert done.err.startswith("error: ")
    assert hint is None or hint in done.err.split("hint: ")[1]
    if kind != "nan":  # half a second of which can be heard
        assert done.out == ""


def test_good_files_among_bad_ones_are_heard_and_the_code_says_1(evenear, model, noise, tmp_path):
    bad = [damaged(kind, tmp_path) for kind in BAD]
    done = evenear("transcribe", *bad[:3], noise, *bad[3:], "--model", model)
    assert done.code == 1
    assert f"{noise}\t{in_words(model, noise)}" in done.out.splitlines()
    assert done.err.count("error: ") == len(BAD)


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_file_that_breaks_off_gives_what_came_before(evenear, model, tmp_path, form):
    whole = sound(tmp_path / "whole.flac", 12.0)
    content = whole.read_bytes()
    cut = tmp_path / "cut.flac"
    cut.write_bytes(content[: len(content) // 2])
    done = evenear("transcribe", cut, "--model", model, "--format", form)
    assert done.code == 1
    assert "error: " in done.err
    assert "could be read" in done.err
    heard = json.loads(done.out)["text"] if form == "json" else done.out
    words = in_words(model, whole).split()
    assert len(words) // 4 < len(heard.split()) < len(words)
    assert heard.split()[:-2] == words[: len(heard.split()) - 2]


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["--format", "jsn"], "There is no format 'jsn'", "'json'"),
        (["--beam", "0"], "--beam", None),
        (["--beam", "many"], "--beam", None),
        (["--threads", "0"], "--threads", None),
        (["--modle", "m"], "--modle", None),
    ],
)
def test_what_is_not_understood_exits_with_2(evenear, model, noise, arguments, message, hint):
    done = evenear("transcribe", noise, "--model", model, *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert hint is None or hint in done.err.split("hint: ")[1]


def test_subtitles_of_several_files_need_a_folder(evenear, model, noise, tmp_path):
    other = sound(tmp_path / "other.wav")
    done = evenear("transcribe", noise, other, "--model", model, "--format", "srt")
    assert (done.code, done.out) == (2, "")
    assert "srt holds one recording, got 2 files" in done.err
    assert "--out FOLDER" in done.err


def test_files_of_one_name_do_not_overwrite_each_other(evenear, model, noise, tmp_path):
    (tmp_path / "b").mkdir()
    other = sound(tmp_path / "b" / "noise.flac")
    done = evenear("transcribe", noise, other, "--model", model, "--out", tmp_path / "out")
    assert done.code == 2
    assert f"{noise} and {other} are both 'noise'" in done.err
    assert not (tmp_path / "out").exists()
    assert evenear("transcribe", noise, other, "--model", model).code == 0


def test_an_unknown_model_is_an_error(evenear, noise):
    done = evenear("transcribe", noise, "--model", "evenear-xy-huge")
    assert (done.code, done.out) == (1, "")
    assert "There is no model 'evenear-xy-huge'" in done.err
    assert "hint: " in done.err


def test_a_folder_that_is_no_model_is_an_error(evenear, noise, tmp_path):
    done = evenear("transcribe", noise, "--model", tmp_path)
    assert done.code == 1
    assert f"{tmp_path} is no model: it has no manifest.json" in done.err


def flipped(model: Path, copy: Path) -> Path:
    """The model, with one bit of its weights turned."""
    copy.mkdir()
    for file in model.iterdir():
        content = bytearray(file.read_bytes())
        if file.suffix == ".safetensors":
            content[len(content) // 2] ^= 8
        (copy / file.name).write_bytes(content)
    return copy


def test_a_model_with_a_flipped_bit_is_refused(evenear, model, noise, tmp_path):
    done = evenear("transcribe", noise, "--model", flipped(model, tmp_path / "copy"))
    assert (done.code, done.out) == (1, "")
    assert "weights.safetensors is damaged" in done.err
    assert "hint: Copy the folder again" in done.err


def test_a_file_where_the_folder_should_go_is_an_error(evenear, model, noise):
    done = evenear("transcribe", noise, "--model", model, "--out", noise)
    assert done.code == 1
    assert f"{noise} must be a folder to write to, but it is a file" in done.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_to_is_an_error(evenear, model, noise, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    done = evenear("transcribe", noise, "--model", model, "--out", tmp_path / "locked")
    assert done.code == 1
    assert "must be one that you may write to" in done.err


def test_names_of_files_are_no_markup(evenear, model, tmp_path, monkeypatch):
    """On a terminal, where a bar shows them, and in what is said of them."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    odd = sound(tmp_path / "a[|b] :key: [red].wav")
    done = evenear("transcribe", odd, tmp_path / "no :key: [bold].wav", "--model", model)
    assert done.code == 1
    assert done.out == f"{odd}\t{in_words(model, odd)}\n"
    assert f"There is no file {tmp_path}/no :key: [bold].wav" in done.err


def test_a_bar_on_a_terminal_leaves_redirected_output_alone(evenear, model, noise, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    done = evenear("transcribe", noise, "--model", model)
    assert done.out.split() == in_words(model, noise).split()
    assert "Transcribing" in done.err


def test_nothing_but_words_goes_to_a_file_or_a_pipe(evenear, model, noise):
    done = evenear("transcribe", noise, noise.parent / "none.wav", "--model", model)
    assert "\x1b" not in done.out + done.err
    assert "Transcribing" not in done.err


def test_what_was_read_before_a_pipe_closed_is_given_and_no_more_is_said(model, tmp_path):
    files = [sound(tmp_path / f"{seed}.wav", seed=seed) for seed in (0, 2, 3)]
    command = [sys.executable, "-m", "evenear", "transcribe", *files, "--model", model]
    with subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
        code = process.wait()
    assert first == f"{files[0]}\t{in_words(model, files[0])}\n"
    assert said == ""
    assert code == 1


def test_a_full_disk_leaves_no_half_transcript(evenear, model, noise, tmp_path):
    target = tmp_path / "out" / "noise.json"
    target.parent.mkdir()
    target.write_text("old", encoding="utf-8")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))
    try:
        done = evenear(
            "transcribe", noise, "--model", model, "--format", "json", "--out", target.parent
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert done.code == 1
    assert f"{target} cannot be written" in done.err
    assert [file.name for file in target.parent.iterdir()] == ["noise.json"]
    assert target.read_text(encoding="utf-8") == "old"


def peak_megabytes(model: Path, path: Path) -> tuple[float, float]:
    """Most memory that a transcription ever held, and the seconds that it took."""
    program = (
        "import resource, sys, time\n"
        "from evenear.cli import main\n"
        "import evenear.streaming\n"
        "began = time.perf_counter()\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    seconds = time.perf_counter() - began\n"
        "    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "    print(peak, seconds, file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", program, "transcribe", str(path), "--model", str(model)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout
    peak, seconds = done.stderr.split()[-2:]
    return float(peak), float(seconds)


@pytest.mark.slow
def test_three_hours_need_no_more_memory_than_ten_seconds(model, tmp_path):
    block_N = random_sound(60.0, sample_rate=8000)
    short, long = tmp_path / "short.flac", tmp_path / "long.flac"
    soundfile.write(short, block_N[:80_000], 8000)
    with soundfile.SoundFile(long, "w", 8000, 1) as file:
        for _ in range(THREE_HOURS // 60):
            file.write(block_N)
    base, _ = peak_megabytes(model, short)
    peak, seconds = peak_megabytes(model, long)
    print(f"grew by {peak - base:.0f} MB; real-time factor {seconds / THREE_HOURS:.4f}")
    assert peak - base < 200
    assert seconds < THREE_HOURS
