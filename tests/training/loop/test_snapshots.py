# SPDX-License-Identifier: Apache-2.0
"""A snapshot is whole or absent: full disks, cut-off files and flipped bits."""

import json
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.config import set_path, to_json
from evenear.errors import CheckpointError
from evenear.seeding import torch_rng_for
from evenear.training.loop.snapshots import (
    Snapshot,
    expect_settings,
    load_snapshot,
    save_snapshot,
)
from training.tone_words import config


def snapshot(update: int = 7) -> Snapshot:
    rng = torch_rng_for(update, "snapshot")
    weights = {"encoder.weight": torch.randn(50, 40, generator=rng), "steps": torch.tensor(update)}
    moments = {0: {"step": torch.tensor(3.0), "exp_avg": torch.randn(50, 40, generator=rng)}}
    groups = [{"lr": 0.1, "betas": (0.9, 0.98), "params": [0]}]
    return Snapshot(
        config_json="{}",
        identity="0123",
        update=update,
        epoch=2,
        next_batch=5,
        model=weights,
        average={name: tensor.clone() for name, tensor in weights.items()},
        optimizers=[{"state": moments, "param_groups": groups}],
        best_score=0.25,
        history=[{"update": 6.0, "loss": 1.5, "dev_wer": 0.25}],
    )


def same(first: object, second: object) -> bool:
    """Whether two trees of values are equal to the last bit."""
    if isinstance(first, torch.Tensor):
        return isinstance(second, torch.Tensor) and torch.equal(first, second)
    if isinstance(first, dict):
        return (
            isinstance(second, dict)
            and first.keys() == second.keys()
            and all(same(value, second[key]) for key, value in first.items())
        )
    if isinstance(first, list | tuple):
        return (
            isinstance(second, list | tuple)
            and len(first) == len(second)
            and all(map(same, first, second))
        )
    return first == second


def test_what_is_saved_is_loaded(tmp_path):
    save_snapshot(tmp_path / "s.pt", snapshot())
    assert same(vars(load_snapshot(tmp_path / "s.pt")), vars(snapshot()))
    assert [path.name for path in tmp_path.iterdir()] == ["s.pt"]


def test_a_later_snapshot_takes_the_place_of_the_earlier(tmp_path):
    for update in (7, 8):
        save_snapshot(tmp_path / "s.pt", snapshot(update))
    assert load_snapshot(tmp_path / "s.pt").update == 8


def test_a_missing_snapshot_says_how_to_start(tmp_path):
    with pytest.raises(CheckpointError, match="without --resume"):
        load_snapshot(tmp_path / "s.pt")


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[Path, bytes]:
    path = tmp_path_factory.mktemp("snapshots") / "s.pt"
    save_snapshot(path, snapshot())
    return path, path.read_bytes()


@settings(max_examples=60)
@given(st.data())
def test_a_flipped_bit_is_noticed(written, data):
    path, whole = written
    place = data.draw(st.integers(0, len(whole) - 1))
    flipped = bytearray(whole)
    flipped[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(flipped)
    try:
        found = load_snapshot(path)
    except CheckpointError:
        return
    # Not noticed, so it must be a bit of padding, which carries nothing.
    assert same(vars(found), vars(snapshot()))


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.99])
def test_a_snapshot_that_was_cut_off_is_refused(written, part):
    path, whole = written
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(CheckpointError, match="damaged"):
        load_snapshot(path)


@pytest.mark.parametrize("content", [b"", b"not a snapshot", b"\x80\x04K\x01."])
def test_another_file_is_refused(tmp_path, content):
    (tmp_path / "s.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        load_snapshot(tmp_path / "s.pt")


def test_a_file_of_other_tensors_is_refused(tmp_path):
    torch.save({"update": 1}, tmp_path / "s.pt")
    with pytest.raises(CheckpointError, match="another version"):
        load_snapshot(tmp_path / "s.pt")


def assert_unharmed(folder: Path) -> None:
    assert load_snapshot(folder / "s.pt").update == 7
    assert [path.name for path in folder.iterdir()] == ["s.pt"], "something was left behind"


@pytest.fixture
def small_files() -> Iterator[None]:
    """The system lets this process write 8 kB into a file, and then says no."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_fails_midway_leaves_the_old_snapshot(tmp_path, request):
    save_snapshot(tmp_path / "s.pt", snapshot(7))
    request.getfixturevalue("small_files")
    with pytest.raises(CheckpointError, match="The previous one is unharmed"):
        save_snapshot(tmp_path / "s.pt", snapshot(8))
    assert_unharmed(tmp_path)


def test_a_rename_that_fails_leaves_the_old_snapshot(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    save_snapshot(tmp_path / "s.pt", snapshot(7))
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", refuse)
        with pytest.raises(CheckpointError, match="No space left"):
            save_snapshot(tmp_path / "s.pt", snapshot(8))
    assert_unharmed(tmp_path)


@pytest.fixture
def tiny_disk(tmp_path) -> Iterator[Path]:
    """A real file system of 48 kB: enough for one snapshot, not for two."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=48k", "tmpfs", str(folder)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_the_old_snapshot(tiny_disk):
    save_snapshot(tiny_disk / "s.pt", snapshot(7))
    with pytest.raises(CheckpointError, match="The previous one is unharmed"):
        save_snapshot(tiny_disk / "s.pt", snapshot(8))
    assert_unharmed(tiny_disk)


def test_a_folder_that_is_not_there_is_an_error_not_a_loss(tmp_path):
    with pytest.raises(CheckpointError, match="could not be written"):
        save_snapshot(tmp_path / "gone" / "s.pt", snapshot())


def test_settings_that_differ_are_named_with_both_values(tmp_path):
    before = Snapshot(
        config_json='{"seed": 0, "data": {"copies": 4}}',
        identity="",
        update=3,
        epoch=0,
        next_batch=0,
        model={},
        average={},
        optimizers=[],
    )
    expect_settings(before, before.config_json, tmp_path)
    with pytest.raises(CheckpointError, match=r"data\.copies was 4 and is 8; seed was 0 and is 1"):
        expect_settings(before, '{"seed": 1, "data": {"copies": 8}}', tmp_path)


def test_a_setting_that_came_later_has_its_default_in_older_snapshots(tmp_path):
    before = snapshot(update=3)
    now = config()
    values = json.loads(to_json(now))
    del values["data"]["store"]["waveform"]["telephone_chance"]
    before.config_json = json.dumps(values)
    expect_settings(before, to_json(now), tmp_path, type(now))
    other = set_path(now, "data.store.waveform.telephone_chance=0.2")
    with pytest.raises(CheckpointError, match=r"telephone_chance was 0\.0 and is 0\.2"):
        expect_settings(before, to_json(other), tmp_path, type(other))


@pytest.mark.parametrize(("then", "now", "is_fine"), [(3, 9, True), (4, 9, False), (3, 2, False)])
def test_only_a_finished_run_may_get_more_updates(tmp_path, then, now, is_fine):
    done = snapshot(update=3)
    done.config_json = f'{{"num_updates": {then}}}'
    if is_fine:
        expect_settings(done, f'{{"num_updates": {now}}}', tmp_path)
    else:
        with pytest.raises(CheckpointError, match=f"num_updates was {then} and is {now}"):
            expect_settings(done, f'{{"num_updates": {now}}}', tmp_path)
