# SPDX-License-Identifier: Apache-2.0
"""How fast and how lean is the transducer loss, beside the same loss differentiated by autograd?

Each implementation computes the loss of the same logits and their gradient. Rounds are interleaved
in one process, so that what else the machine does falls on all of them alike; ratios are taken
within a round, and their interval comes from resampling rounds. Memory is the growth of the
process's peak during one step, each implementation in a process of its own, after a small step.

The two rivals write the recursion in torch and leave the gradient to autograd: one goes by
anti-diagonals, the other by frames with a cumulative log-sum-exp.

Run: python benchmarks/transducer_loss.py [--rounds 30] [--threads 1]

Dimensions: B utterances, T frames, U tokens (logits have U + 1 columns), D anti-diagonals,
V vocabulary.
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from evenear.losses import transducer_loss
from evenear.losses.transducer.lattice import Backend
from evenear.seeding import rng_for, torch_rng_for

SHAPE = {"utterances": 16, "frames": 150, "tokens": 40, "vocabulary": 128}
IMPOSSIBLE = -1e30
RIVALS = ("autograd_diagonals", "autograd_frames")


def by_diagonals(logits_BTUV: Tensor, targets_BU: Tensor) -> Tensor:
    """Minus the log-probability of each utterance, one anti-diagonal at a time."""
    blank_BTU, label_BTU = arcs(logits_BTUV, targets_BU)
    _, num_frames, columns = blank_BTU.shape
    columns_U = torch.arange(columns)
    frames_DU = torch.arange(num_frames + columns - 1)[:, None] - columns_U
    outside_DU = (frames_DU < 0) | (frames_DU >= num_frames)
    frames_DU = frames_DU.clamp(0, num_frames - 1)
    blank_BDU = blank_BTU[:, frames_DU, columns_U].masked_fill(outside_DU, IMPOSSIBLE)
    label_BDU = label_BTU[:, frames_DU, columns_U].masked_fill(outside_DU, IMPOSSIBLE)
    alpha_BU = torch.full_like(blank_BDU[:, 0], IMPOSSIBLE).index_fill(1, torch.tensor([0]), 0.0)
    for blank_BU, label_BU in zip(blank_BDU.unbind(1), label_BDU.unbind(1), strict=True):
        moved_BU = torch.nn.functional.pad((alpha_BU + label_BU)[:, :-1], (1, 0), value=IMPOSSIBLE)
        alpha_BU = torch.logaddexp(alpha_BU + blank_BU, moved_BU)
    return -alpha_BU[:, -1]


def by_frames(logits_BTUV: Tensor, targets_BU: Tensor) -> Tensor:
    """Minus the log-probability of each utterance, one frame at a time."""
    blank_BTU, label_BTU = arcs(logits_BTUV, targets_BU)
    climb_BTU = torch.nn.functional.pad(label_BTU[:, :, :-1], (1, 0)).cumsum(-1)
    entering_BU = torch.full_like(blank_BTU[:, 0], IMPOSSIBLE).index_fill(1, torch.tensor([0]), 0.0)
    for blank_BU, climb_BU in zip(blank_BTU.unbind(1), climb_BTU.unbind(1), strict=True):
        entering_BU = torch.logcumsumexp(entering_BU - climb_BU, -1) + climb_BU + blank_BU
    return -entering_BU[:, -1]


def arcs(logits_BTUV: Tensor, targets_BU: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of blank and label arcs; the label of the last column leads nowhere."""
    log_probs_BTUV = logits_BTUV.log_softmax(-1)
    next_BU = torch.nn.functional.pad(targets_BU, (0, 1))
    index_BTU1 = next_BU[:, None, :, None].expand(-1, logits_BTUV.shape[1], -1, 1)
    return log_probs_BTUV[..., 0], log_probs_BTUV.gather(-1, index_BTU1)[..., 0]


def own(lattice: Backend) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of this package, on one of its lattices."""

    def loss(logits_BTUV: Tensor, targets_BU: Tensor) -> Tensor:
        num_utterances, num_frames = logits_BTUV.shape[:2]
        lengths = [torch.full((num_utterances,), n) for n in (num_frames, targets_BU.shape[1])]
        return transducer_loss(logits_BTUV, targets_BU, *lengths, blank_id=0, lattice=lattice)

    return loss


LOSSES = {
    "own_numba": own("numba"),
    "own_torch": own("torch"),
    "autograd_diagonals": by_diagonals,
    "autograd_frames": by_frames,
}


def batch(seed: int, *, frames: int = SHAPE["frames"]) -> tuple[Tensor, Tensor]:
    """Random logits and targets."""
    rng = torch_rng_for(seed, "transducer-benchmark")
    sizes = (SHAPE["utterances"], frames, SHAPE["tokens"] + 1, SHAPE["vocabulary"])
    logits_BTUV = torch.empty(sizes).normal_(generator=rng)
    targets_BU = torch.randint(1, sizes[-1], (sizes[0], sizes[2] - 1), generator=rng)
    return logits_BTUV.requires_grad_(), targets_BU


def step(name: str, logits_BTUV: Tensor, targets_BU: Tensor) -> tuple[Tensor, float]:
    """One forward and one backward pass: the losses, and the milliseconds it took."""
    logits_BTUV.grad = None
    start = time.perf_counter()
    loss_B = LOSSES[name](logits_BTUV, targets_BU)
    loss_B.sum().backward()
    return loss_B.detach(), (time.perf_counter() - start) * 1000


def peak_bytes() -> int:
    """The most memory that this process ever had in use (Linux)."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def print_extra_memory(name: str, seed: int) -> None:
    """Print how much one step adds to the peak, in units of the logits."""
    step(name, *batch(seed, frames=4))
    logits_BTUV, targets_BU = batch(seed)
    before = peak_bytes()
    step(name, logits_BTUV, targets_BU)
    print((peak_bytes() - before) / logits_BTUV.nbytes)


def extra_memory(name: str, seed: int, threads: int) -> float:
    """`print_extra_memory`, in a fresh process."""
    command = [sys.executable, __file__, "--memory-of", name, "--seed", str(seed)]
    command += ["--threads", str(threads)]
    return round(float(subprocess.run(command, capture_output=True, check=True).stdout), 3)


def errors(seed: int) -> dict[str, dict[str, float]]:
    """How far each implementation is, in float32, from the loss and gradient in float64."""
    logits_BTUV, targets_BU = batch(seed)
    exact_BTUV = logits_BTUV.detach().double().requires_grad_()
    exact_B, _ = step("own_torch", exact_BTUV, targets_BU)
    found = {}
    for name in LOSSES:
        loss_B, _ = step(name, logits_BTUV, targets_BU)
        assert logits_BTUV.grad is not None
        assert exact_BTUV.grad is not None
        found[name] = {
            "loss_nats": float((loss_B - exact_B).abs().max()),
            "gradient": float((logits_BTUV.grad - exact_BTUV.grad).abs().max()),
        }
    return found


def ratio(slow: np.ndarray, fast: np.ndarray, seed: int) -> dict[str, float]:
    """The median of ratios within rounds, with a 95 % interval from resampling rounds."""
    ratios = slow / fast
    rng = rng_for(seed, "transducer-benchmark-interval")
    medians = np.median(rng.choice(ratios, (2000, len(ratios))), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return {
        "median": round(float(np.median(ratios)), 2),
        "low": round(float(low), 2),
        "high": round(float(high), 2),
        "of_minima": round(float(slow.min() / fast.min()), 2),
    }


def measure(rounds: int, seed: int, threads: int) -> dict[str, object]:
    """Time all implementations in interleaved rounds, then their memory."""
    logits_BTUV, targets_BU = batch(seed)
    for _ in range(2):
        for name in LOSSES:
            step(name, logits_BTUV, targets_BU)
    taken: dict[str, list[float]] = {name: [] for name in LOSSES}
    for number in range(rounds):
        for name in rng_for(seed, "transducer-benchmark-order", number).permutation(list(LOSSES)):
            taken[name].append(step(name, logits_BTUV, targets_BU)[1])
    times = {name: np.array(values) for name, values in taken.items()}
    return {
        "milliseconds": {
            name: {"median": round(float(np.median(t)), 1), "min": round(float(t.min()), 1)}
            for name, t in times.items()
        },
        "times_faster": {
            f"{name}_than_{rival}": ratio(times[rival], times[name], seed)
            for name in ("own_numba", "own_torch")
            for rival in RIVALS
        },
        "extra_memory_over_logits": {name: extra_memory(name, seed, threads) for name in LOSSES},
        "largest_error_in_float32": errors(seed),
    }


def processor() -> str:
    """The processor's name, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and memory of the transducer loss.")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory-of", choices=list(LOSSES), help="only print this one's memory")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory_of:
        print_extra_memory(options.memory_of, options.seed)
        return
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    result = {
        "command": " ".join(["python", "benchmarks/transducer_loss.py", *sys.argv[1:]]),
        "commit": commit.stdout.strip(),
        "machine": processor(),
        "torch": torch.__version__,
        "seed": options.seed,
        "threads": options.threads,
        "rounds": options.rounds,
        "shape": SHAPE,
        **measure(options.rounds, options.seed, options.threads),
    }
    text = json.dumps(result, indent=2)
    target = Path(__file__).parent / "results" / "transducer_loss.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
