# SPDX-License-Identifier: Apache-2.0
"""A store holds what was said, survives being killed, and is the same however it was built."""

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evenear.audio import read_audio
from evenear.config import replace as replace_config
from evenear.data.batching.store import FrameStore, StoreConfig, build_store
from evenear.data.corpora.manifests import Utterance
from evenear.errors import AudioError
from evenear.features import FeatureConfig, log_mel
from tiny_corpora import spoken_tone, write_tone

PLAIN = StoreConfig(augment=False)
SHORT_SECONDS = 0.12


def spoken(path: Path, name: str, seconds: float = 0.5, **changes) -> Utterance:
    if not path.exists():
        write_tone(path, seconds)
    given = {"start_seconds": 0.0, "seconds": seconds, "attributes": {"gender": "female"}}
    return Utterance(name, f"speaker of {name}", f"TEXT {name}", path, **{**given, **changes})


def several(folder: Path, count: int) -> list[Utterance]:
    """Many utterances of one short sound, enough to fill more than one part of a store."""
    return [spoken(folder / "short.wav", f"u{k}", SHORT_SECONDS) for k in range(count)]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def all_frames(store: FrameStore) -> dict[tuple[str, int], bytes]:
    return {
        (u.utterance_id, u.copy): store.frames(i).tobytes() for i, u in enumerate(store.utterances)
    }


def test_stored_frames_are_those_of_the_sound(tmp_path):
    one, two = spoken(tmp_path / "1.wav", "1", 0.4), spoken(tmp_path / "2.wav", "2", 0.7)
    store = build_store([one, two], tmp_path / "store", PLAIN)
    for index, utterance in enumerate((one, two)):
        frames_TM = log_mel(read_audio(utterance.audio), FeatureConfig())
        assert store.frames(index).dtype == np.float32
        np.testing.assert_array_equal(store.frames(index), frames_TM.astype(np.float16))


def test_a_stored_utterance_keeps_who_said_what(tmp_path):
    utterance = spoken(tmp_path / "a.wav", "a", attributes={"gender": "x", "age": 7, "zip": None})
    (row,) = build_store([utterance], tmp_path / "store", PLAIN).utterances
    assert (row.utterance_id, row.speaker, row.text) == ("a", "speaker of a", "TEXT a")
    assert row.attributes == {"gender": "x", "age": 7, "zip": None}
    assert (row.copy, row.num_frames, row.synthesized) == (0, 50, False)


def test_texts_and_names_of_any_script_come_back(tmp_path):
    name = "é\u2028\x85 \U0001f600"
    utterance = replace(spoken(tmp_path / "a.wav", "a"), utterance_id=name, text="ÉTÉ\u2028")
    (row,) = build_store([utterance], tmp_path / "store", PLAIN).utterances
    assert (row.utterance_id, row.text) == (name, "ÉTÉ\u2028")


def test_of_a_part_of_a_file_only_that_part_is_stored(tmp_path):
    path = write_tone(tmp_path / "long.wav", 2.0)
    part = spoken(path, "part", 0.6, start_seconds=0.75, is_partial=True)
    store = build_store([part], tmp_path / "store", PLAIN)
    samples_N = read_audio(path)[12_000 : 12_000 + 9_600]
    np.testing.assert_array_equal(
        store.frames(0), log_mel(samples_N, FeatureConfig()).astype(np.float16)
    )


def test_the_first_of_several_copies_is_the_sound_as_it_is(tmp_path):
    utterance = spoken(tmp_path / "a.wav", "a")
    store = build_store([utterance], tmp_path / "store", StoreConfig(copies=3))
    plain = build_store([utterance], tmp_path / "store", PLAIN)
    assert [u.copy for u in store.utterances] == [0, 1, 2]
    frames = all_frames(store)
    assert frames["a", 0] == plain.frames(0).tobytes()
    assert len(set(frames.values())) == 3


def test_a_single_copy_is_augmented(tmp_path):
    utterance = spoken(tmp_path / "a.wav", "a")
    store = build_store([utterance], tmp_path / "store", StoreConfig(copies=1))
    plain = build_store([utterance], tmp_path / "store", PLAIN)
    assert len(store) == 1
    assert store.frames(0).tobytes() != plain.frames(0).tobytes()


def test_synthesized_speech_gets_its_own_number_of_copies(tmp_path):
    recorded = spoken(tmp_path / "a.wav", "recorded")
    made = spoken(tmp_path / "a.wav", "made", attributes={"synthesized": True})
    settings = StoreConfig(copies=3, synthesized_copies=2)
    store = build_store([recorded, made], tmp_path / "store", settings)
    assert [u.utterance_id for u in store.utterances] == ["recorded"] * 3 + ["made"] * 2
    assert [u.synthesized for u in store.utterances] == [False] * 3 + [True] * 2


def test_hours_count_all_copies(tmp_path):
    utterances = several(tmp_path, 30)
    store = build_store(utterances, tmp_path / "store", PLAIN)
    assert store.hours == pytest.approx(30 * SHORT_SECONDS / 3600)


def test_nobody_makes_an_empty_store(tmp_path):
    store = build_store([], tmp_path / "store", PLAIN)
    assert (len(store), store.hours) == (0, 0.0)


def test_a_found_store_is_not_built_again(tmp_path):
    utterances = several(tmp_path, 3)
    first = build_store(utterances, tmp_path / "store", PLAIN)
    (tmp_path / "short.wav").unlink()
    assert all_frames(build_store(utterances, tmp_path / "store", PLAIN)) == all_frames(first)


def test_what_is_heard_does_not_depend_on_order_or_company(tmp_path):
    utterances = several(tmp_path, 6)
    settings = StoreConfig(copies=2)
    together = all_frames(build_store(utterances, tmp_path / "together", settings))
    backwards = all_frames(build_store(utterances[::-1], tmp_path / "backwards", settings))
    alone = all_frames(build_store(utterances[4:5], tmp_path / "alone", settings))
    assert backwards == together
    assert alone.items() <= together.items()


def test_the_number_of_processes_changes_no_byte(tmp_path):
    utterances = several(tmp_path, 410)
    build_store(utterances, tmp_path / "one", PLAIN)
    build_store(utterances, tmp_path / "two", PLAIN, num_processes=2)
    assert len(contents(tmp_path / "one")) == 6
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_progress_counts_every_utterance_once(tmp_path):
    utterances = several(tmp_path, 410)
    told: list[int] = []
    build_store(utterances[:200], tmp_path / "store", PLAIN, progress=told.append)
    assert sum(told) == 200
    told.clear()
    build_store(utterances, tmp_path / "store", PLAIN, progress=told.append)
    assert told == [200, 200, 10]


@pytest.mark.parametrize("missing", [".npy", ".jsonl"])
def test_a_part_that_was_lost_is_built_again_as_it_was(tmp_path, missing):
    utterances = several(tmp_path, 210)
    settings = StoreConfig(copies=1)
    before = all_frames(build_store(utterances, tmp_path / "store", settings))
    whole = contents(tmp_path / "store")
    lost = next(path for path in sorted((tmp_path / "store").iterdir()) if path.suffix == missing)
    lost.unlink()
    again = build_store(utterances, tmp_path / "store", settings)
    assert contents(tmp_path / "store") == whole
    assert all_frames(again) == before


def test_a_killed_build_resumes_to_the_same_bytes(tmp_path):
    utterances = several(tmp_path, 600)
    build_store(utterances, tmp_path / "whole", PLAIN)
    program = (
        "import os, signal, sys; from pathlib import Path; sys.path.insert(0, sys.argv[2])\n"
        "from data.batching.test_store import PLAIN, build_store, several\n"
        "def die(done): done and os.kill(os.getpid(), signal.SIGKILL)\n"
        "folder = Path(sys.argv[1])\n"
        "build_store(several(folder, 600), folder / 'killed', PLAIN, progress=die)\n"
    )
    tests = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", program, str(tmp_path), tests]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    killed = tmp_path / "killed"
    assert len(list(killed.glob("*.npy"))) == 1
    build_store(utterances, killed, PLAIN)
    assert contents(killed) == contents(tmp_path / "whole")


def test_a_full_disk_leaves_no_part_that_looks_whole(tmp_path, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    utterances = several(tmp_path, 3)
    with monkeypatch.context() as patch:
        patch.setattr(np, "save", full)
        with pytest.raises(OSError, match="No space left"):
            build_store(utterances, tmp_path / "store", PLAIN)
    assert not list((tmp_path / "store").glob("part-*.npy"))
    assert len(build_store(utterances, tmp_path / "store", PLAIN)) == 3


def test_a_missing_recording_is_named(tmp_path):
    utterance = replace(spoken(tmp_path / "a.wav", "a"), audio=tmp_path / "gone.wav")
    with pytest.raises(AudioError, match=r"gone\.wav"):
        build_store([utterance], tmp_path / "store", PLAIN)


@pytest.mark.parametrize(
    "change",
    [
        {"utterance_id": "b"},
        {"text": "OTHER"},
        {"audio": "other.wav"},
        {"start_seconds": 0.1, "is_partial": True},
        {"seconds": 0.2, "is_partial": True},
        {"speaker": "other"},
        {"attributes": {"gender": "male"}},
        {"attributes": {"synthesized": True}},
    ],
    ids=str,
)
def test_a_changed_manifest_is_not_answered_with_what_was_stored_before(tmp_path, change):
    before = spoken(tmp_path / "a.wav", "a", is_partial="is_partial" in change)
    write_tone(tmp_path / "other.wav", 0.3)
    if "audio" in change:
        change = {"audio": tmp_path / change["audio"]}
    after = replace(before, **change)
    settings = StoreConfig(copies=2)
    build_store([before], tmp_path / "store", settings)
    found = build_store([after], tmp_path / "store", settings)
    fresh = build_store([after], tmp_path / "fresh", settings)
    assert found.utterances == fresh.utterances
    assert all_frames(found) == all_frames(fresh)


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"copies": 3}, {"augment": False}, {"features": FeatureConfig(num_mel_bins=8)}],
    ids=str,
)
def test_changed_settings_are_not_answered_with_what_was_stored_before(tmp_path, change):
    utterance = spoken(tmp_path / "a.wav", "a")
    settings = StoreConfig(copies=2)
    build_store([utterance], tmp_path / "store", settings)
    changed = replace_config(settings, **change)
    found = build_store([utterance], tmp_path / "store", changed)
    assert all_frames(found) == all_frames(build_store([utterance], tmp_path / "new", changed))


def test_a_store_of_many_parts_keeps_few_files_open(tmp_path):
    """A system may allow a process no more than 256 files, and a corpus has thousands of parts."""
    resource = pytest.importorskip("resource")
    write_tone(tmp_path / "short.wav", SHORT_SECONDS)
    one = build_store([spoken(tmp_path / "short.wav", "u", SHORT_SECONDS)], tmp_path / "s", PLAIN)
    (part,) = one.parts
    many = []
    for number in range(300):
        copy = part.with_name(f"copy-{number}")
        for suffix in (".npy", ".jsonl"):
            copy.with_suffix(suffix).symlink_to(part.with_suffix(suffix))
        many.append(copy)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        store = FrameStore(many)
        for index in range(len(store)):
            np.testing.assert_array_equal(store.frames(index), one.frames(0))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_parts_that_were_stored_before_there_were_telephones_are_found(tmp_path):
    """A setting that came later and changes nothing must not make anybody store hours anew."""
    utterances = [spoken_tone(tmp_path / "a.wav", "a", "A", 0.5)]
    plain = StoreConfig(features=FeatureConfig(num_mel_bins=8), copies=1)
    other = replace_config(
        plain, waveform=replace_config(plain.waveform, telephone_hz=(200.0, 500.0))
    )
    varied = replace_config(plain, waveform=replace_config(plain.waveform, telephone_chance=0.5))
    names = [
        build_store(utterances, tmp_path / "store", settings).parts[0].name
        for settings in (plain, other, varied)
    ]
    assert names[0] == names[1] != names[2]
