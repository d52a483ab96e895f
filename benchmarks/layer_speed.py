# SPDX-License-Identifier: Apache-2.0
"""What do our own depthwise convolution and masked batch normalization save over plain torch?

Forward and backward pass of one layer on one thread, in bfloat16, rounds taking turns so that a
busy machine slows all alike; the ratio is of one round.

    python benchmarks/layer_speed.py --out benchmarks/results/layer_speed.json
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from evenear.atomic import write_bytes
from evenear.nn.batchnorm import MaskedBatchNorm
from evenear.nn.depthwise import depthwise_conv
from evenear.training.loop.memory import keep_freed_memory

__all__ = ["main"]

SIZES = ((16, 50, 208, 5, 1), (16, 100, 384, 3, 4), (7, 228, 384, 3, 8))
"""Utterances, frames, width, taps, dilation: a ContextNet's layer, and two of ConvRNN-T's."""


def layers(batch: int, frames: int, dim: int, taps: int, dilation: int) -> dict[str, Callable]:
    """The layers to compare, by name; those of a pair compute the same."""
    conv = nn.Conv1d(dim, dim, taps, dilation=dilation, groups=dim).bfloat16()
    norm = MaskedBatchNorm(dim).train()
    valid_BT = torch.arange(frames) < torch.linspace(0.8 * frames, frames, batch)[:, None]

    def plain_norm(x_BTD: Tensor) -> Tensor:
        """The same statistics by arithmetic that autograd follows."""
        x_BTD, keep_BT1 = x_BTD.float(), valid_BT[:, :, None].float()
        mean_D = (x_BTD * keep_BT1).sum(dim=(0, 1)) / keep_BT1.sum()
        variance_D = ((x_BTD - mean_D).square() * keep_BT1).sum(dim=(0, 1)) / keep_BT1.sum()
        y_BTD = (x_BTD - mean_D) * torch.rsqrt(variance_D + norm.eps) * norm.weight + norm.bias
        return y_BTD.bfloat16()

    assert conv.bias is not None
    weight_DK, bias_D = conv.weight[:, 0].detach().requires_grad_(), conv.bias
    return {
        "convolution, torch": lambda x: conv(x.transpose(1, 2)).transpose(1, 2),
        "convolution, ours": lambda x: depthwise_conv(x, weight_DK, bias_D, dilation),
        "normalization, arithmetic": plain_norm,
        "normalization, ours": lambda x: norm(x, valid_BT),
    }


def seconds(layer: Callable[[Tensor], Tensor], x_BTD: Tensor, repeats: int) -> float:
    """Mean seconds of a forward and a backward pass."""
    started = time.perf_counter()
    for _ in range(repeats):
        y_BTD = layer(x_BTD)
        y_BTD.backward(torch.ones_like(y_BTD))
    return (time.perf_counter() - started) / repeats


def measure(size: tuple[int, int, int, int, int], rounds: int, repeats: int) -> dict[str, list]:
    """Seconds of each layer in each round."""
    batch, frames, dim, _, _ = size
    x_BTD = torch.randn(batch, frames, dim, dtype=torch.bfloat16, requires_grad=True)
    found = layers(*size)
    for layer in found.values():
        seconds(layer, x_BTD, 3)
    times: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(rounds):
        for name, layer in found.items():
            times[name].append(seconds(layer, x_BTD, repeats))
    return times


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    keep_freed_memory()
    table = Table("B, T, D, K, dilation", "layer", "ms", "times as fast [min, max]")
    rows = []
    for size in SIZES:
        times = measure(size, arguments.rounds, arguments.repeats)
        for kind, other in (("convolution", "torch"), ("normalization", "arithmetic")):
            ours, theirs = times[f"{kind}, ours"], times[f"{kind}, {other}"]
            ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
            row = {
                "size": size,
                "layer": kind,
                "ours_milliseconds": 1e3 * statistics.median(ours),
                f"{other}_milliseconds": 1e3 * statistics.median(theirs),
                "ratio": statistics.median(ratios),
                "ratios": ratios,
            }
            rows.append(row)
            span = f"{row['ratio']:.1f} [{min(ratios):.1f}, {max(ratios):.1f}]"
            table.add_row(str(size), kind, f"{row['ours_milliseconds']:.2f}", span)
    Console().print(table)
    if arguments.out:
        content = {"torch": torch.__version__, "machine": platform.machine(), "rows": rows}
        write_bytes(arguments.out, (json.dumps(content, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
