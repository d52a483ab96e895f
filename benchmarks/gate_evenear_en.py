# SPDX-License-Identifier: Apache-2.0
"""Give a trained recognizer a compute dial: learn gates around its encoder, calibrate, save.

    python benchmarks/gate_evenear_en.py MODEL FRAMES OUT [--updates 400]

MODEL is a folder or a shipped name, FRAMES the `frames` folder that a training run leaves. Texts
are not used: the gates learn to hear as the dense encoder does. Killed, the same command goes on.
OUT/model is MODEL with the dial; `ship_dial.py` puts it into another folder of the same encoder.
"""

import argparse
import json
import platform
import time
from pathlib import Path

import torch

from evenear.checkpoint import Dial, load_model, put_dial
from evenear.config import replace, to_dict
from evenear.data.batching.augmentation import FrameAugmentation
from evenear.data.batching.batches import BatchConfig, BatchMaker
from evenear.data.batching.store import FrameStore
from evenear.encoders.gated import GateConfig, GatedTransformer
from evenear.losses.compute import PricesConfig
from evenear.models.gating import with_gates
from evenear.models.transducer import Transducer
from evenear.nn.gate import ArbitratorConfig
from evenear.training.gating import calibrate
from evenear.training.ladder import begin_on, climb_down, order_units
from evenear.training.loop.trainer import Trainer
from evenear.training.tasks.gated import GateTask, GateTraining, gate_parameters

GATES = GateConfig(
    arbitrators=ArbitratorConfig(count=2, hidden_dim=64, together=True),
    ff_parts=6,
    adapter_rank=32,
    least=0.15,
)


def optimizer_of(encoder: GatedTransformer, ratio: float) -> torch.optim.Optimizer:
    """AdamW; arbitrators at a rate of their own, nothing decays but their matrices."""
    deciding = list(encoder.arbitrators.parameters())
    own = {id(weight) for weight in deciding}
    others = [weight for weight in gate_parameters(encoder) if id(weight) not in own]
    groups = [
        {"params": deciding, "rate_ratio": ratio, "weight_decay": 0.0},
        {"params": others, "rate_ratio": 1.0, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=0.0, betas=(0.9, 0.98), eps=1e-9
    )


def seconds_of_an_update(task: GateTask) -> float:
    """How long the losses of a batch and their gradients take: the median of five."""
    took = []
    for group in task.plan(10_000)[:5]:
        batch, began = task.batch(group, 0), time.perf_counter()
        losses = task.losses(batch, 1)
        torch.stack([term.mean() for term in losses.terms.values()]).sum().backward()
        took.append(time.perf_counter() - began)
    for parameter in task.model.parameters():
        parameter.grad = None
    task.model.eval()
    return sorted(took)[2]


def learn(trainer: Trainer) -> None:
    """Train to the end and print how it goes."""
    began = time.perf_counter()
    for number, progress in enumerate(trainer.run(), start=1):
        if progress.update % 5 == 0:
            took = (time.perf_counter() - began) / number
            numbers = {name: round(value, 3) for name, value in trainer._numbers.items()}
            print(progress.update, f"{took:.2f} s an update", numbers, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("frames", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--updates",
        type=int,
        help="Unless given, as many as --minutes allow; 0 only makes the table anew.",
    )
    parser.add_argument("--seconds", type=float, default=24.0)
    parser.add_argument("--minutes", type=float, default=20.0, help="Of learning, about.")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--gate-rate", type=float, default=2.0, help="Arbitrators', times --rate.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", default="float32")
    parser.add_argument(
        "--deaf",
        action="store_true",
        help="Gates hear nothing but what is asked for: each setting is a smaller dense encoder.",
    )
    parser.add_argument("--start-from", help="A model whose dial is learned further.")
    parser.add_argument("--gates", default="{}", help="Other settings of the gates, as JSON.")
    given = parser.parse_args()
    torch.manual_seed(given.seed)
    bundle = load_model(given.model)
    gates = replace(GATES, **json.loads(given.gates))
    begun = None if given.start_from is None else load_model(given.start_from).dial
    if begun is not None:
        gates = begun.gates
    model = with_gates(bundle.model, gates) if begun is None else begun.onto(bundle.model)
    encoder = model.encoder
    assert isinstance(encoder, GatedTransformer), "it was just given gates"
    settings = replace(
        GateTraining(),
        seed=given.seed,
        num_updates=given.updates or 1,
        precision=given.precision,
        optimizer=replace(GateTraining().optimizer, peak_rate=given.rate),
        least=gates.least,
        match_weight=0.5,
        prices=PricesConfig(first_least=6.0, first_most=0.3),
    )
    store = FrameStore(sorted(part.with_suffix("") for part in given.frames.glob("*.npy")))
    plain = BatchConfig(
        seconds=given.seconds, splice_chance=0.0, join_chance=0.3, augmentation=FrameAugmentation()
    )
    batches = BatchMaker(store, None, plain, bundle.features, seed=given.seed)
    counted = given.out / "updates.json"
    if given.updates is None:
        if not counted.is_file():
            given.out.mkdir(parents=True, exist_ok=True)
            took = seconds_of_an_update(GateTask(settings, model, batches))
            counted.write_text(json.dumps(max(50, round(60 * given.minutes / took))))
        settings = replace(settings, num_updates=json.loads(counted.read_text()))
    task = GateTask(settings, model, batches)
    quiet = replace(plain, augmentation=None, join_chance=0.0)
    held = BatchMaker(store, None, quiet, bundle.features, seed=given.seed + 1)
    chosen = held.plan(10_000)[:6]
    heard = [(b.features_BTF, b.lengths_B) for b in (held.batch(group, 0) for group in chosen)]
    resumes = (given.out / "snapshot.pt").is_file()
    if not resumes and begun is None:
        order_units(model, heard)
        rungs = climb_down(model, heard[:2])
        for rung in rungs:
            print(rung._asdict(), flush=True)
        begin_on(encoder, rungs)
    if given.deaf:
        for arbitrator in encoder.each_arbitrator():
            arbitrator.requires_grad_(False)
            arbitrator.output.weight.detach().zero_()
            for parameter in (arbitrator.bias_N, arbitrator.slope_N):
                if parameter is not None:
                    parameter.requires_grad_(True)
    gated, speech_hours = model, 0.0
    if given.updates != 0:
        trainer = Trainer(task, [optimizer_of(encoder, given.gate_rate)], settings, given.out)
        if resumes:
            trainer.resume()
        learn(trainer)
        gated, speech_hours = trainer.averaged(), trainer.heard_seconds / 3600
        assert isinstance(gated, Transducer), "what is trained is a recognizer"
    probed = calibrate(gated.eval(), heard)
    print("spent when told:", [round(value, 3) for value in probed])
    provenance = {
        "settings": to_dict(settings),
        "machine": platform.machine(),
        "speech_hours": round(speech_hours, 2),
        "updates": settings.num_updates if given.updates != 0 else 0,
        "batch_seconds": given.seconds,
        "gates_around": bundle.name,
        "gates_hear": not given.deaf,
    }
    put_dial(given.model, Dial.of(gated, provenance), given.out / "model")


if __name__ == "__main__":
    main()
