# SPDX-License-Identifier: Apache-2.0
"""Give a recognizer's dial a speech gate: learn what need not be heard, measure what is then spent.

    python benchmarks/spare_evenear_en.py MODEL OUT --data CORPUS [MORE] [--held SPEAKERS.txt]

MODEL is a folder or a shipped name with a dial of gates (`gate_evenear_en.py`). Texts are not used.
Speakers in SPEAKERS.txt, or every twelfth one, choose the threshold; those of them in the first
corpus, which should be recorded and not synthesized, fill the table of plans.
OUT is MODEL with the new dial.
"""

import argparse
import time
from pathlib import Path

import torch

from evenear.checkpoint import Dial, load_model, put_dial
from evenear.config import replace
from evenear.data.batching.augmentation import WaveformAugmentation
from evenear.data.batching.batches import BatchConfig, BatchMaker
from evenear.data.batching.store import FrameStore, StoreConfig, build_store
from evenear.data.corpora.manifests import Utterance
from evenear.data.corpora.splits import is_held_back
from evenear.encoders.gated import GatedConfig, GatedTransformer
from evenear.encoders.gated.speech import SpeechGateConfig
from evenear.evaluation import load_utterances
from evenear.features import FeatureConfig
from evenear.models.transducer import Transducer
from evenear.training.sparing import (
    Listened,
    learn_speech,
    listen,
    measured_plans,
    set_silence,
    set_threshold,
)

HARD = WaveformAugmentation(
    gain_db=(-40.0, 6.0), noise_chance=0.5, telephone_chance=0.2, music_chance=0.1, aside_chance=0.3
)


def with_speech_gate(model: Transducer) -> Transducer:
    """The recognizer, its gates as they are and a fresh speech gate before them."""
    encoder = model.encoder
    assert isinstance(encoder, GatedTransformer), "give a model with a dial"
    gates = replace(encoder.config.gates, speech=SpeechGateConfig())
    own = GatedConfig(backbone=encoder.config.backbone, gates=gates)
    after = Transducer(replace(model.config, encoder=own))
    missing, unexpected = after.load_state_dict(model.state_dict(), strict=False)
    assert not unexpected, unexpected
    assert all("speech." in name for name in missing), missing
    return after.eval()


def batches(
    store: FrameStore, features: FeatureConfig, seconds: float, seed: int
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """All utterances of a store, in batches of similar length."""
    plain = BatchConfig(seconds=seconds, augmentation=None)
    maker = BatchMaker(store, None, plain, features, seed=seed)
    made = (maker.batch(group, 0) for group in maker.plan(0))
    return [(batch.features_BTF, batch.lengths_B) for batch in made]


def tell(update: int, loss: float) -> None:
    """Print the loss now and then."""
    if update % 1000 == 0:
        print(update, round(loss, 4), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--held", type=Path, help="Speakers that choose, a line each.")
    parser.add_argument("--each", type=int, default=12, help="Utterances of a speaker.")
    parser.add_argument(
        "--updates", type=int, default=6000, help="0: keep the gate, choose and measure anew."
    )
    parser.add_argument("--missed", type=float, default=0.05, help="Of blocks with speech.")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    began = time.time()
    torch.manual_seed(given.seed)
    torch.set_num_threads(1)
    bundle = load_model(given.model).with_gates()
    model = bundle.model if given.updates == 0 else with_speech_gate(bundle.model)
    encoder = model.encoder
    assert isinstance(encoder, GatedTransformer), "as made"
    gate = encoder.speech
    assert gate is not None, "as made"
    everyone = [
        u
        for path in given.data
        for u in load_utterances(path)
        if not is_held_back(u.attributes.get("split"))
    ]
    speakers = sorted({u.speaker for u in everyone})
    held = set(given.held.read_text().split()) if given.held else set(speakers[::12])
    of: dict[str, list[Utterance]] = {}
    for utterance in everyone:
        of.setdefault(utterance.speaker, []).append(utterance)
    chosen = {
        name: own[:: max(1, len(own) // given.each)][: given.each] for name, own in of.items()
    }
    learned_from = [u for name, own in chosen.items() if name not in held for u in own]
    judged_by = [u for name, own in chosen.items() if name in held for u in own]
    print(
        f"{len(learned_from)} utterances to learn from, {len(judged_by)} to choose by", flush=True
    )

    def store(utterances: list[Utterance], *, hard: bool) -> FrameStore:
        settings = StoreConfig(
            features=bundle.features, copies=1, waveform=HARD, augment=hard, seed=given.seed
        )
        return build_store(utterances, given.out.with_name(given.out.name + "-frames"), settings)

    def heard(utterances: list[Utterance], *, hard: bool) -> list[Listened]:
        parts = batches(store(utterances, hard=hard), bundle.features, 24.0, given.seed)
        return [listen(model, *part) for part in parts]

    hours = 0.0
    if given.updates:
        listened = heard(learned_from, hard=True) + heard(learned_from[::3], hard=False)
        hours = sum(float(b.real_BK.sum()) for b in listened) * encoder.stride / 360_000
        print(f"{hours:.2f} hours heard, {time.time() - began:.0f} s", flush=True)
        learn_speech(gate, listened, num_updates=given.updates, seed=given.seed, report=tell)
        set_silence(gate, listened)
    block = encoder.block_frames // encoder.stride
    for hard in (True, False):
        judged = heard(judged_by, hard=hard)
        for missed in (0.005, 0.01, 0.02, 0.03, 0.05):
            skipped = set_threshold(gate, judged, block, missed)
            print(
                f"hard {hard}: {missed} of speech missed at {float(gate.threshold):.2f}, "
                f"{skipped:.3f} of silence left out",
                flush=True,
            )
    judged = heard(judged_by, hard=True) + heard(judged_by, hard=False)
    skipped = set_threshold(gate, judged, block, given.missed)
    print(
        f"chosen: {given.missed} missed at {float(gate.threshold):.2f}, {skipped:.3f} of silence "
        "left out",
        flush=True,
    )
    first = {u.speaker for u in load_utterances(given.data[0])}
    quiet = store([u for u in judged_by if u.speaker in first], hard=False)
    sounds = [torch.from_numpy(quiet.frames(i)) for i in range(len(quiet))]
    plans = measured_plans(model, sounds, encoder.config.backbone.right_frames)
    gate.put_plans(plans)
    for plan in gate.plans:
        print(plan, flush=True)
    dial = bundle.dial
    provenance = dict(dial.provenance) if dial is not None else {}
    old = provenance.get("speech_gate", {})
    provenance["speech_gate"] = {
        "command": "python benchmarks/spare_evenear_en.py MODEL OUT --data CORPORA --held SPEAKERS",
        "updates": given.updates or old.get("updates", 0),
        "hours": round(hours, 2) or old.get("hours", 0),
        "seed": given.seed,
        "missed": given.missed,
        "silence_left_out": round(skipped, 4),
    }
    put_dial(given.model, Dial.of(model, provenance), given.out)


if __name__ == "__main__":
    main()
