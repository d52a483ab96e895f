# SPDX-License-Identifier: Apache-2.0
"""Embeds utterances with Resemblyzer, in an environment where it and evenear's audio are installed.

pip install --no-deps resemblyzer && pip install librosa webrtcvad-wheels
python benchmarks/peer_runners/run_resemblyzer.py CORPORA/speechocean762 test resemblyzer.npz
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from resemblyzer import VoiceEncoder, preprocess_wav

from evenear.audio import read_audio


def main(corpus: Path, split: str, out: Path) -> None:
    encoder = VoiceEncoder("cpu", verbose=False)
    lines = (corpus / "utterances.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row.get("split") == split]
    names, vectors, started = [], [], time.process_time()
    for row in rows:
        vectors.append(encoder.embed_utterance(preprocess_wav(read_audio(corpus / row["audio"]))))
        names.append(row["utterance_id"])
    seconds = time.process_time() - started
    np.savez(out, names=names, vectors=np.stack(vectors), cpu_seconds=seconds)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
