# SPDX-License-Identifier: Apache-2.0
"""Two processes that torchrun starts train one model: same weights, shared batches, one writer."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from evenear.config import replace
from evenear.training.settings import TrainingConfig
from training.tone_words import config, corpus, trainer

TESTS = Path(__file__).parents[2]
WORKER = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import torch
from training.loop.test_two_processes import odd_config
from training.tone_words import corpus, trainer
torch.set_num_threads(1)
home, folder = Path(sys.argv[2]), Path(sys.argv[3])
run = trainer(odd_config(), corpus(home, odd_config()), folder)
rank, kept, heard = run.processes.rank, [], []
run.on_best = lambda: kept.append(run.update)
make = run.task.batches.batch
def noted(group, epoch):
    heard.append([epoch, [tuple(pick) for pick in group]])
    return make(group, epoch)
run.task.batches.batch = noted
updates = [step.update for step in run.run()]
told = {
    "updates": updates,
    "kept": kept,
    "heard": heard,
    "weights": [t.double().sum().item() for t in run.model.state_dict().values()],
}
(folder / f"told-{rank}.json").write_text(json.dumps(told))
"""


def odd_config() -> TrainingConfig:
    """Epochs of five batches: one too many for two processes."""
    base = config()
    batches = replace(base.data.batches, seconds=3.0)
    return replace(base, data=replace(base.data, batches=batches))


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> list[dict]:
    """What each of the processes did."""
    home, folder = (tmp_path_factory.mktemp(name) for name in ("tones", "run"))
    corpus(home, odd_config())  # stored once, so that the processes only read it
    (folder / "worker.py").write_text(WORKER)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc_per_node", "2", str(folder / "worker.py")]
    done = subprocess.run(
        [*command, str(TESTS), str(home), str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"told-{rank}.json").read_text()) for rank in range(2)]


def test_both_processes_take_part_in_every_update(told):
    assert told[0]["updates"] == told[1]["updates"] == list(range(1, 13))


def test_both_end_with_the_same_weights(told):
    assert told[0]["weights"] == told[1]["weights"]


def test_no_batch_is_heard_twice_in_an_epoch_and_an_odd_one_is_left_out(told, tmp_path):
    known = corpus(tmp_path, config())
    plan = trainer(odd_config(), known, tmp_path / "alone").task.batches.plan(0)
    assert len(plan) % 2 == 1, "the corpus should make one batch too many for two processes"
    first = [[tuple(map(tuple, g)) for e, g in one["heard"] if e == 0] for one in told]
    assert len(first[0]) == len(first[1]) == len(plan) // 2
    assert sorted(first[0] + first[1]) == sorted(tuple(map(tuple, group)) for group in plan[:-1])


def test_only_the_first_process_keeps_models(told):
    assert told[0]["kept"]
    assert told[1]["kept"] == []
