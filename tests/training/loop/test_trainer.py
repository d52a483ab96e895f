# SPDX-License-Identifier: Apache-2.0
"""A run is a function of its config and its data, however often it is killed on the way."""

import itertools
import logging
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor

from evenear.errors import CheckpointError, ManifestError
from evenear.training.loop.snapshots import load_snapshot
from evenear.training.loop.trainer import Progress, Trainer
from evenear.training.runs.preparation import Corpus
from training.loop.test_snapshots import same
from training.tone_words import config, corpus, trainer

TESTS = Path(__file__).parents[2]
# Times its own death: at each update it says so, and while writing a snapshot it may drop dead.
VICTIM = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from training.tone_words import config, corpus, trainer
home, folder, dies_in_sync = Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
sync, syncs = os.fsync, 0
def watched(descriptor):
    global syncs
    syncs += 1
    if syncs == dies_in_sync:
        os.kill(os.getpid(), signal.SIGKILL)
    sync(descriptor)
os.fsync = watched
for step in trainer(config(), corpus(home, config()), folder).run():
    print(step.update, flush=True)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("tones")


@pytest.fixture(scope="module")
def known(home) -> Corpus:
    return corpus(home, config())


@pytest.fixture(scope="module")
def whole(known, tmp_path_factory) -> Trainer:
    """The run that nobody disturbed."""
    undisturbed = trainer(config(), known, tmp_path_factory.mktemp("whole"))
    list(undisturbed.run())
    return undisturbed


def weights(run: Trainer) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in run.model.state_dict().items()}


def assert_same_bits(first: Trainer, second: Trainer) -> None:
    for one, two in (
        (first.model.state_dict(), second.model.state_dict()),
        (first.average, second.average),
        *(
            (one.state_dict(), two.state_dict())
            for one, two in zip(first.optimizers, second.optimizers, strict=True)
        ),
        (first.history, second.history),
    ):
        assert same(dict(enumerate([one])), dict(enumerate([two])))
    assert (first.update, first.epoch, first.best_score) == (
        second.update,
        second.epoch,
        second.best_score,
    )


def test_the_loss_falls(known, tmp_path):
    run = trainer(config(num_updates=60), known, tmp_path)
    losses = [step.loss for step in run.run()]
    assert len(losses) == 60
    assert sum(losses[-5:]) < sum(losses[:5]) / 5


def test_five_updates_twice_give_the_same_bits(known, tmp_path):
    settings = config(num_updates=5)
    runs = [trainer(settings, known, tmp_path / name) for name in "ab"]
    steps = [[replace_speed(step) for step in run.run()] for run in runs]
    assert steps[0] == steps[1]
    assert_same_bits(*runs)


def replace_speed(step: Progress) -> tuple[int, float, float]:
    return step.update, step.loss, step.rate


def test_another_seed_gives_another_run(known, tmp_path, whole):
    other = trainer(config(seed=1), known, tmp_path)
    list(other.run())
    assert not same(weights(other), weights(whole))


def test_a_run_does_not_depend_on_what_others_drew_at_random(known, tmp_path, whole):
    again = trainer(config(), known, tmp_path)
    for _ in again.run():
        torch.rand(7)
    assert_same_bits(again, whole)


def test_training_leaves_the_global_generator_alone(known, tmp_path):
    before = torch.random.get_rng_state()
    list(trainer(config(num_updates=2), known, tmp_path).run())
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("stop", range(1, 12))
def test_a_run_stopped_after_any_update_ends_as_if_it_had_not_been(known, tmp_path, whole, stop):
    # A snapshot after every update, so those at the end of an epoch (of four batches) are among
    # them; settings of a run include how often it is saved, so this is compared by its weights.
    settings = config(snapshot_every=1)
    first = trainer(settings, known, tmp_path)
    stopped = first.run()
    assert [next(stopped).update for _ in range(stop)][-1] == stop
    stopped.close()
    second = trainer(settings, known, tmp_path)
    second.resume()
    assert [step.update for step in second.run()] == list(range(stop + 1, 13))
    assert_same_bits(second, whole)


def resumed(known: Corpus, folder: Path) -> Trainer:
    """What a user does after a crash: the same command again, with --resume if there was a save."""
    run = trainer(config(), known, folder)
    if run.snapshot_path.exists():
        run.resume()
    list(run.run())
    return run


def spawn(home: Path, folder: Path, *, dies_in_sync: int = 0) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", VICTIM, str(TESTS), str(home), str(folder)]
    return subprocess.Popen(
        [*command, str(dies_in_sync)], stdout=subprocess.PIPE, text=True, env=os.environ
    )


def test_a_run_killed_at_a_random_update_ends_as_if_it_had_not_been(home, known, whole, tmp_path):
    fatal = random.SystemRandom().randrange(1, 12)
    with spawn(home, tmp_path) as victim:
        assert victim.stdout is not None
        for line in victim.stdout:
            if int(line) == fatal:
                victim.kill()
                break
    assert victim.returncode == -signal.SIGKILL, f"killed after update {fatal}"
    run = resumed(known, tmp_path)
    assert_same_bits(run, whole)
    assert run.update == 12, f"killed after update {fatal}"


def test_a_run_killed_while_it_saves_ends_as_if_it_had_not_been(home, known, whole, tmp_path):
    # The second snapshot is on its way when the power goes; the first is what there is.
    with spawn(home, tmp_path, dies_in_sync=2) as victim:
        victim.communicate()
    assert victim.returncode == -signal.SIGKILL
    assert load_snapshot(tmp_path / "snapshot.pt").update == 3
    assert_same_bits(resumed(known, tmp_path), whole)


def test_a_resumed_run_replays_no_batch(known, tmp_path):
    settings = config(snapshot_every=1)
    first = trainer(settings, known, tmp_path)
    list(itertools.islice(first.run(), 6))
    second = trainer(settings, known, tmp_path)
    second.resume()
    plans = [(epoch, group) for epoch in range(12) for group in second.task.batches.plan(epoch)]
    made = []
    make = second.task.batches.batch
    second.task.batches.batch = lambda group, epoch: (
        made.append((epoch, group)) or make(group, epoch)
    )
    list(second.run())
    assert second.update == 12
    assert made[:6] == plans[6:12]  # some more may lie ready when the run ends


def test_a_finished_run_resumes_to_nothing_more(known, tmp_path, whole):
    run = trainer(config(), known, tmp_path)
    list(run.run())
    again = trainer(config(), known, tmp_path)
    again.resume()
    assert list(again.run()) == []
    assert_same_bits(again, whole)


def test_a_snapshot_of_other_settings_is_refused(known, tmp_path):
    list(trainer(config(num_updates=1), known, tmp_path).run())
    other = trainer(config(num_updates=1, seed=7), known, tmp_path)
    with pytest.raises(CheckpointError, match="other settings: seed was 0 and is 7"):
        other.resume()
    assert other.update == 0


def test_a_finished_run_goes_on_with_more_updates_and_one_under_way_does_not(known, tmp_path):
    list(trainer(config(num_updates=2), known, tmp_path).run())
    more = trainer(config(num_updates=4), known, tmp_path)
    more.resume()
    steps = more.run()
    assert next(steps).update == 3
    more.save()
    steps.close()
    with pytest.raises(CheckpointError, match="num_updates was 4 and is 6"):
        trainer(config(num_updates=6), known, tmp_path).resume()


def test_going_on_with_another_number_of_threads_is_said(known, tmp_path, caplog):
    before = torch.get_num_threads()
    list(trainer(config(num_updates=1), known, tmp_path).run())
    try:
        torch.set_num_threads(before + 1)
        with caplog.at_level(logging.WARNING, "evenear"):
            trainer(config(num_updates=1), known, tmp_path).resume()
    finally:
        torch.set_num_threads(before)
    assert f"begun with {before} threads and goes on with {before + 1}" in caplog.text


def test_resuming_what_never_began_says_so(known, tmp_path):
    with pytest.raises(CheckpointError, match="no snapshot"):
        trainer(config(), known, tmp_path).resume()


def test_a_full_disk_stops_the_run_and_spares_the_last_snapshot(
    known, tmp_path, whole, monkeypatch
):
    run = trainer(config(), known, tmp_path)
    steps = run.run()
    assert next(itertools.islice(steps, 3, None)).update == 4

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(CheckpointError, match="--resume"):
            list(steps)
    assert load_snapshot(tmp_path / "snapshot.pt").update == 3
    assert_same_bits(resumed(known, tmp_path), whole)


def test_a_run_that_is_abandoned_leaves_no_thread(known, tmp_path):
    before = threading.active_count()
    steps = trainer(config(), known, tmp_path).run()
    next(steps)
    steps.close()
    assert threading.active_count() <= before


def test_what_goes_wrong_while_making_a_batch_reaches_the_user(known, tmp_path):
    run = trainer(config(), known, tmp_path)

    def refuse(*_: object) -> None:
        raise OSError("the disk is gone")

    run.task.batches.batch = refuse
    with pytest.raises(OSError, match="the disk is gone"):
        list(run.run())


@pytest.mark.parametrize("change", ["repeats", "store"])
def test_a_snapshot_of_a_run_on_other_speech_is_refused(known, tmp_path, change):
    list(trainer(config(num_updates=2), known, tmp_path).run())
    other = trainer(config(num_updates=2), known, tmp_path)
    setattr(other.task.batches, change, {"repeats": {"ann-0": 2.0}, "store": known.dev}[change])
    with pytest.raises(CheckpointError, match="other speech"):
        other.resume()
    assert other.update == 0


def test_epochs_that_never_hold_a_batch_are_an_error_and_no_endless_loop(known, tmp_path):
    run = trainer(config(), known, tmp_path)
    run.task.batches.repeats = {u.utterance_id: 0.0 for u in known.train.utterances}
    with pytest.raises(ManifestError, match="Each epoch needs a batch"):
        list(run.run())
