# SPDX-License-Identifier: Apache-2.0
"""What commands say, and what they check before long work begins."""

import contextlib
import gc
import os
import signal
from pathlib import Path

import pytest

from evenear.cli.console import (
    complain,
    expect_file_to_write,
    expect_folder_to_write,
    expect_to_read,
    fail,
    interrupts,
    need,
    note,
    progress_bar,
)
from evenear.errors import ConfigError, EvenearError, ManifestError, MissingDependencyError

ODD = "/a/[bold]b[/c] :key: 100 % 'x' " + "long " * 40


def test_a_note_is_said_letter_for_letter_on_one_line_of_standard_error(capsys):
    note(ODD)
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", ODD + "\n")


def test_a_complaint_is_an_error_and_a_hint(capsys):
    complain(ConfigError(ODD, hint=ODD))
    assert capsys.readouterr().err == f"error: {ODD}\nhint: {ODD}\n"
    complain(ConfigError("No."))
    assert capsys.readouterr().err == "error: No.\n"


@pytest.mark.parametrize("code", [1, 2])
def test_failing_exits_with_its_code(capsys, code):
    with pytest.raises(SystemExit) as done:
        fail(EvenearError("No."), code=code)
    assert done.value.code == code
    assert capsys.readouterr().err == "error: No.\n"


def test_a_library_that_is_there_is_given():
    assert need("json", extra="asr", purpose="Reading").dumps([]) == "[]"


def test_a_library_that_is_missing_says_how_to_get_it():
    with pytest.raises(MissingDependencyError) as raised:
        need("no_such_library.part", extra="audit", purpose="Counting")
    assert raised.value.message == "Counting needs no_such_library, which is not installed."
    assert raised.value.hint == "pip install 'evenear[audit]'"


@pytest.mark.parametrize("module", ["json", "no_such_library"])
def test_garbage_is_looked_for_again_after_an_import(module):
    assert gc.isenabled()
    with contextlib.suppress(MissingDependencyError):
        need(module, extra="asr", purpose="Reading")
    assert gc.isenabled()


def test_what_a_library_made_is_not_looked_through_again():
    gc.unfreeze()
    need("json", extra="asr", purpose="Reading")
    assert gc.get_freeze_count() > 0
    gc.unfreeze()


def test_what_is_there_may_be_read(tmp_path):
    (tmp_path / "cuts.jsonl").touch()
    expect_to_read(tmp_path)
    expect_to_read(tmp_path / "cuts.jsonl")


def refusal(path: Path) -> ManifestError:
    with pytest.raises(ManifestError) as raised:
        expect_to_read(path)
    assert str(path) in raised.value.message
    return raised.value


def test_what_is_not_there_names_the_nearest_sibling(tmp_path):
    for name in ("train.jsonl", "test.jsonl", "notes.md", ".trian.jsonl"):
        (tmp_path / name).touch()
    for wanted, nearest in [("trian.jsonl", "train.jsonl"), ("note.md", "notes.md"), ("zzz", "")]:
        hint = refusal(tmp_path / wanted).hint
        assert hint is not None
        assert hint.startswith(f"The nearest that is there: {tmp_path / nearest}")


def test_a_wrong_folder_on_the_way_is_told_from_a_wrong_file(tmp_path):
    (tmp_path / "corpora" / "speech").mkdir(parents=True)
    (tmp_path / "zebra").mkdir()
    found = refusal(tmp_path / "copora" / "speech" / "cuts.jsonl")
    assert found.hint == f"The nearest that is there: {tmp_path / 'corpora'}"


def test_an_empty_folder_has_nothing_near(tmp_path):
    assert refusal(tmp_path / "cuts.jsonl").hint == f"{tmp_path} is empty."


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "cuts.jsonl").touch()
    assert "is a file, not a folder" in refusal(tmp_path / "cuts.jsonl" / "a").message


def test_relative_paths_are_looked_for_where_one_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "speech").mkdir()
    assert refusal(Path("speach")).hint == "The nearest that is there: speech"
    assert refusal(Path("speach/dev")).hint == "The nearest that is there: speech"


def test_folders_to_write_to_are_made(tmp_path):
    expect_folder_to_write(tmp_path / "a" / "b")
    expect_folder_to_write(tmp_path / "a" / "b")
    expect_file_to_write(tmp_path / "c" / "d.jsonl")
    assert (tmp_path / "a" / "b").is_dir()
    assert (tmp_path / "c").is_dir()
    assert not (tmp_path / "c" / "d.jsonl").exists()


def test_what_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for check, path, message in [
        (expect_folder_to_write, tmp_path / "file", "must be a folder to write to"),
        (expect_folder_to_write, tmp_path / "file" / "a", "cannot be made: Not a directory"),
        (expect_file_to_write, tmp_path, "must be a file to write, but it is a folder"),
        (expect_file_to_write, tmp_path / "file" / "a", "must be a folder to write to"),
        (expect_folder_to_write, tmp_path / ("x" * 300), "cannot be made: File name too long"),
    ]:
        with pytest.raises(EvenearError, match=message):
            check(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_locked_folder_is_refused(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(EvenearError, match="one that you may write to"):
        expect_folder_to_write(tmp_path / "locked")
    with pytest.raises(EvenearError, match="cannot be made: Permission denied"):
        expect_folder_to_write(tmp_path / "locked" / "a")


def test_the_first_ctrl_c_is_noticed_and_the_second_ends_everything(capsys):
    before = signal.getsignal(signal.SIGINT)
    with interrupts("Soon.") as is_interrupted:
        assert not is_interrupted()
        signal.raise_signal(signal.SIGINT)
        assert is_interrupted()
        assert capsys.readouterr().err == "Soon.\n"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def run_bar(status: str) -> None:
    with progress_bar("files") as bar:
        task = bar.add_task("Transcribing", total=2, status="")
        bar.update(task, status=status)
        bar.refresh()


def test_a_bar_says_nothing_where_there_is_no_terminal(capsys):
    run_bar("a.wav")
    assert capsys.readouterr() == ("", "")


def test_a_bar_shows_names_letter_for_letter_on_standard_error(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    run_bar("[red]a[/b].wav")
    said = capsys.readouterr()
    assert said.out == ""
    assert "[red]a[/b].wav" in said.err
    assert "0/2" in said.err
