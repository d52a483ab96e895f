# SPDX-License-Identifier: Apache-2.0
"""Does our encoder, filled with Whisper's weights, compute what CTranslate2's own encoder computes?

Both hear real utterances padded to 30 seconds, as Whisper was trained, with the same features. The
answer is the error relative to the size of the outputs; weights are float16 in the file.

    python benchmarks/pretrained_encoder.py --data CORPORA/speechocean762 --whisper FOLDER \
        --python ENVIRONMENT/bin/python --out benchmarks/results/pretrained_encoder.json

FOLDER is a CTranslate2 model; the environment has `ctranslate2` and `numpy`.

Legend: N audio samples, T frames, F mel bins, D width.
"""

import argparse
import json
import platform
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch

from evenear.audio import read_audio
from evenear.checkpoint.pretrained import load_pretrained, read_encoder
from evenear.encoders.transformer import TransformerConfig, TransformerEncoder
from evenear.evaluation import load_utterances
from evenear.features import FeatureConfig, extract

FRAMES = 3000
PEER = """
import sys, ctranslate2, numpy as np
model = ctranslate2.models.Whisper(sys.argv[1], device="cpu", compute_type="float32")
for path in sys.argv[2:]:
    heard = np.load(path)
    view = ctranslate2.StorageView.from_array(np.ascontiguousarray(heard.T[None]))
    np.save(path, np.array(model.encode(view, to_cpu=True), np.float32)[0])
"""


def main() -> None:
    """Compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--whisper", type=Path, required=True)
    parser.add_argument("--python", type=Path, required=True)
    parser.add_argument("--utterances", type=int, default=10)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    weights = read_encoder(args.whisper)
    wide, dim = weights["layers.0.widen.weight"].shape
    layers = {name.split(".")[1] for name in weights if name.startswith("layers.")}
    config = TransformerConfig(
        dim=dim, ff_dim=wide, num_heads=dim // 64, num_layers=len(layers), reduction=1
    )
    encoder = TransformerEncoder(config).eval()
    load_pretrained(encoder, args.whisper)
    chosen = load_utterances(args.data, split="test")[:: max(1, 1800 // args.utterances)]
    heard = []
    for u in chosen[: args.utterances]:
        features_TF = extract(read_audio(u.audio), FeatureConfig.whisper())
        padded_TF = np.full((FRAMES, features_TF.shape[1]), features_TF.min(), np.float32)
        padded_TF[: len(features_TF)] = features_TF[:FRAMES]
        padded_TF[-1] = 0.0  # behind the end Whisper's convolution sees zeros: nearly so here
        heard.append(padded_TF)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{k}.npy" for k in range(len(heard))]
        for path, features_TF in zip(paths, heard, strict=True):
            np.save(path, features_TF)
        command = [args.python, "-c", PEER, args.whisper, *paths]
        subprocess.run([str(part) for part in command], check=True)
        theirs = [np.load(path) for path in paths]
    errors = []
    with torch.inference_mode():
        for features_TF, wanted_TD in zip(heard, theirs, strict=True):
            valid_BT = torch.ones(1, FRAMES, dtype=torch.bool)
            found = encoder.encode_unbounded(torch.from_numpy(features_TF)[None], valid_BT)
            gap_TD = found[0].numpy() - wanted_TD
            errors.append(float(np.sqrt(np.square(gap_TD).mean() / np.square(wanted_TD).mean())))
    report = {
        "question": (__doc__ or "").splitlines()[0],
        "command": "python benchmarks/pretrained_encoder.py --data CORPORA/speechocean762 "
        "--whisper FOLDER --python ENVIRONMENT/bin/python",
        "machine": f"{platform.machine()}, torch {torch.__version__}",
        "layers": len(layers),
        "width": dim,
        "utterances": len(errors),
        "relative_error_mean": sum(errors) / len(errors),
        "relative_error_most": max(errors),
    }
    args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
