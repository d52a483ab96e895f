# SPDX-License-Identifier: Apache-2.0
"""What silero-vad and Smart Turn make of sounds, in an environment of their own.

    python3 -m venv turns && turns/bin/pip install onnxruntime==1.23.2 numpy==2.2.6
    turns/bin/pip install --no-deps silero-vad==6.2.3 pipecat-ai==1.14.0
    turns/bin/python benchmarks/peer_runners/run_turn_ends.py SOUNDS.npz HEARD.json

SOUNDS.npz holds 16 kHz float32 sounds by name. HEARD.json has for each the probability of speech of
every 32 ms, and for every pause that silero-vad finds (200 ms below one half) when it was known and
how sure Smart Turn (v3.2) is of the last 8 s that the turn is over, as pipecat asks it.

Neither package is imported whole: only their weights and Smart Turn's features are used.
"""

import importlib.util
import json
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime

RATE, WINDOW, CONTEXT = 16_000, 512, 64
PAUSE_WINDOWS = 6
"""pipecat waits for 200 ms below one half before it asks Smart Turn."""


def folder(package: str) -> Path:
    """Where an installed package is; it is not imported."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(next(iter(spec.submodule_search_locations)))


def features_of(pipecat: Path) -> ModuleType:
    """Smart Turn's own features, from its file."""
    path = pipecat / "audio" / "turn" / "smart_turn" / "_whisper_features.py"
    spec = importlib.util.spec_from_file_location("whisper_features", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def session(path: Path) -> onnxruntime.InferenceSession:
    """A network on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def speech(vad: onnxruntime.InferenceSession, samples_N: np.ndarray) -> list[float]:
    """Probability of speech of every 32 ms."""
    state, context = np.zeros((2, 1, 128), np.float32), np.zeros((1, CONTEXT), np.float32)
    found = []
    for start in range(0, len(samples_N) - WINDOW + 1, WINDOW):
        window = samples_N[None, start : start + WINDOW]
        given = {
            "input": np.concatenate([context, window], axis=1),
            "state": state,
            "sr": np.array(RATE, np.int64),
        }
        out, state = vad.run(None, given)
        context = window[:, -CONTEXT:]
        found.append(float(np.ravel(out)[0]))
    return found


def pauses(probabilities: list[float]) -> list[int]:
    """For each pause after speech the window in which it was known."""
    found, heard, quiet = [], False, 0
    for window, probability in enumerate(probabilities):
        heard = heard or probability >= 0.5
        quiet = quiet + 1 if probability < 0.5 else 0
        if heard and quiet == PAUSE_WINDOWS:
            found.append(window)
    return found


def is_over(turn: onnxruntime.InferenceSession, features: ModuleType, heard_N: np.ndarray) -> float:
    """How sure Smart Turn is that the turn is over."""
    size = 8 * RATE
    last_N = np.pad(heard_N[-size:], (max(0, size - len(heard_N)), 0))
    log_mel = features.compute_whisper_log_mel_features(last_N, do_normalize=True)
    return float(np.ravel(turn.run(None, {"input_features": log_mel[None]})[0])[0])


def main(sounds: Path, out: Path) -> None:
    """Hear every sound."""
    pipecat = folder("pipecat")
    vad = session(folder("silero_vad") / "data" / "silero_vad.onnx")
    turn = session(pipecat / "audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx")
    features, found, took = features_of(pipecat), {}, {"silero": 0.0, "smart_turn": 0.0}
    with np.load(sounds) as given:
        for name in given.files:
            samples_N, began = given[name].astype(np.float32), time.process_time()
            row: dict[str, Any] = {"speech": speech(vad, samples_N)}
            after = time.process_time()
            row["pauses"] = [
                {
                    "seconds": (window + 1) * WINDOW / RATE,
                    "is_over": is_over(turn, features, samples_N[: (window + 1) * WINDOW]),
                }
                for window in pauses(row["speech"])
            ]
            took["silero"] += after - began
            took["smart_turn"] += time.process_time() - after
            found[name] = row
    out.write_text(json.dumps({"sounds": found, "processor_seconds": took}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
