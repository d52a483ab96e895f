# SPDX-License-Identifier: Apache-2.0
"""Give a trained recognizer a compute dial: learn gates around its encoder, calibrate, save.

    python benchmarks/gate_evenear_en.py MODEL FRAMES OUT [--updates 400]

MODEL is a folder or a shipped name, FRAMES the `frames` folder that a training run leaves. Texts
are not used: the gates learn to hear as the dense encoder does. Killed, the same command goes on.
"""

import argparse
import json
import platform
import time
from pathlib import Path

import torch

from evenear.checkpoint import load_model, save_model
from evenear.config import replace, to_dict
from evenear.data.batching.augmentation import FrameAugmentation
from evenear.data.batching.batches import BatchConfig, BatchMaker
from evenear.data.batching.store import FrameStore
from evenear.encoders.gated.encoder import GateConfig
from evenear.nn.gate import ArbitratorConfig
from evenear.training.gating import calibrate, with_gates
from evenear.training.loop.optimizers import build_optimizers
from evenear.training.loop.trainer import Trainer
from evenear.training.tasks.gated import GateTask, GateTraining

GATES = GateConfig(
    arbitrators=ArbitratorConfig(count=4, hidden_dim=64, bias=1.0), stand_in_dim=32, least=0.2
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("frames", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--updates", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=24.0)
    parser.add_argument("--minutes", type=float, default=600.0, help="Stop learning after these.")
    parser.add_argument("--rate", type=float, default=5e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--gates", default="{}", help="Other settings of the gates, as JSON.")
    given = parser.parse_args()
    torch.manual_seed(given.seed)
    bundle = load_model(given.model)
    gates = replace(GATES, **json.loads(given.gates))
    model = with_gates(bundle.model, gates)
    settings = replace(
        GateTraining(),
        seed=given.seed,
        num_updates=given.updates,
        precision=given.precision,
        optimizer=replace(GateTraining().optimizer, peak_rate=given.rate),
        least=gates.least,
    )
    store = FrameStore(sorted(part.with_suffix("") for part in given.frames.glob("*.npy")))
    plain = BatchConfig(
        seconds=given.seconds, splice_chance=0.0, join_chance=0.3, augmentation=FrameAugmentation()
    )
    batches = BatchMaker(store, None, plain, bundle.features, seed=given.seed)
    task = GateTask(settings, model, batches)
    optimizers = build_optimizers(model, settings.optimizer)
    trainer = Trainer(task, optimizers, settings, given.out)
    if trainer.snapshot_path.is_file():
        trainer.resume()
    began, seconds = time.perf_counter(), 0.0
    for progress in trainer.run():
        seconds += 1
        if progress.update % 5 == 0:
            took = (time.perf_counter() - began) / seconds
            numbers = {k: round(v, 4) for k, v in trainer._numbers.items()}
            print(progress.update, f"{took:.2f} s an update", numbers, flush=True)
        if time.perf_counter() - began > 60 * given.minutes:
            break
    gated = trainer.averaged()
    quiet = replace(plain, augmentation=None, join_chance=0.0)
    held = BatchMaker(store, None, quiet, bundle.features, seed=given.seed + 1)
    chosen = held.plan(10_000)[:6]
    heard = [(b.features_BTF, b.lengths_B) for b in (held.batch(group, 0) for group in chosen)]
    probed = calibrate(gated.eval(), heard)
    print("spent when told:", [round(value, 3) for value in probed])
    provenance = {
        **bundle.provenance,
        "gates": {
            "settings": to_dict(settings),
            "machine": platform.machine(),
            "speech_hours": round(trainer.heard_seconds / 3600, 2),
            "updates": trainer.update,
            "from": bundle.name,
        },
    }
    save_model(
        given.out / "model",
        model=gated,
        features=bundle.features,
        tokenizer=bundle.tokenizer,
        card=bundle.card,
        language_model=bundle.language_model,
        search=bundle.search,
        words=bundle.words,
        word_search=bundle.word_search,
        provenance=provenance,
        dtype="float16",
    )


if __name__ == "__main__":
    main()
