# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from evenear.atomic import write_bytes, writing


def test_what_is_written_takes_its_name_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_failure_while_writing_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="half way"), writing(target) as file:  # noqa: PT012
        file.write(b"ne")
        raise RuntimeError("half way")
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("there is no /dev/full here")
    target = tmp_path / "a"
    target.write_bytes(b"old")
    with pytest.raises(OSError, match="No space left"), writing(target) as file:  # noqa: PT012
        with full.open("wb", buffering=0) as device:
            device.write(b"new")
        file.write(b"new")
    assert target.read_bytes() == b"old"


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match="not a file"):
        write_bytes(tmp_path / "a", b"new")
