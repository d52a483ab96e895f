# SPDX-License-Identifier: Apache-2.0
"""Folders of models of any kind. `test_bundles.py` breaks those of recognizers in every way."""

import json

import pytest

from evenear.checkpoint.folders import (
    find_folder,
    read_folder,
    read_kind,
    shipped_models,
    write_folder,
)
from evenear.errors import CheckpointError


def files(kind: str | None = "separator", **more: bytes) -> dict[str, bytes]:
    said = {"format": 1} if kind is None else {"format": 1, "kind": kind}
    return {"config.json": json.dumps(said).encode(), "weights": b"abc", **more}


def test_what_was_written_is_read(tmp_path):
    write_folder(tmp_path / "m", files())
    assert read_folder(tmp_path / "m", ("weights",)) == files()


def test_a_model_of_another_kind_is_named_as_such(tmp_path):
    write_folder(tmp_path / "m", files("separator"))
    assert find_folder(tmp_path / "m", kind="separator") == tmp_path / "m"
    with pytest.raises(CheckpointError, match="m is a separator, where a recognizer is needed"):
        find_folder(tmp_path / "m")


def test_a_folder_that_says_no_kind_is_a_recognizer(tmp_path):
    write_folder(tmp_path / "m", files(None))
    assert read_kind(tmp_path / "m") == "recognizer"


def test_a_missing_file_that_the_kind_needs_is_refused(tmp_path):
    write_folder(tmp_path / "m", files())
    with pytest.raises(CheckpointError, match="does not list the files"):
        read_folder(tmp_path / "m", ("weights", "tokenizer.model"))


def test_files_of_the_older_model_do_not_outlive_it_and_a_strangers_do(tmp_path):
    write_folder(tmp_path / "m", files(older=b"1"))
    (tmp_path / "m" / "notes.txt").write_text("mine")
    write_folder(tmp_path / "m", files())
    names = {path.name for path in (tmp_path / "m").iterdir()}
    assert names == {"config.json", "weights", "manifest.json", "notes.txt"}


def test_each_kind_lists_its_own_shipped_models():
    every = shipped_models(None)
    assert set(shipped_models()) <= set(every)
    assert "evenear-en-small" not in shipped_models("separator")
