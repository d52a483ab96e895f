# SPDX-License-Identifier: Apache-2.0
"""Whisper on CTranslate2 by faster-whisper, at its default settings: 8-bit weights on one thread.

The weights come in packages of the registry that pip knows, whole or in two parts that are joined
here. Whisper hears 30 s at a time, however short the utterance: its cost for each second of sound
is higher here than in long recordings.

Run: python run_whisper.py PACKAGE [PACKAGE]   the packages that hold the weights
"""

import argparse
import importlib
import os
import shutil
import struct
import sys
from array import array
from importlib import resources
from pathlib import Path
from typing import BinaryIO

import ctranslate2
import numpy as np
from faster_whisper import WhisperModel
from numpy.typing import NDArray
from wire import answer, versions

__all__ = ["main"]

_FLOATS = {0: 4, 4: 2, 5: 2}
"""CTranslate2's codes for float32, float16 and bfloat16, with their sizes in bytes."""


def model_folder(packages: list[str]) -> Path:
    """The folder of the model; where it comes in parts, joined in this environment."""
    roots = [Path(str(resources.files(importlib.import_module(name)))) for name in packages]
    if len(roots) == 1:
        return roots[0] / "model"
    folder = Path(sys.prefix) / "whisper"
    if not (folder / "model.bin").exists():
        folder.mkdir(exist_ok=True)
        for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
            shutil.copyfile(roots[0] / "data" / name, folder / name)
        partial = folder / "model.bin.partial"
        with partial.open("wb") as whole:
            for number, root in enumerate(roots, start=1):
                with (root / "data" / f"model.bin.part{number}").open("rb") as part:
                    shutil.copyfileobj(part, whole)
        os.replace(partial, folder / "model.bin")
    return folder


def count_parameters(path: Path) -> int:
    """Numbers in all tensors of a CTranslate2 file of format 6, single settings left out."""
    total = 0
    with path.open("rb") as file:
        (file_format,) = _read(file, "<I")
        if file_format != 6:
            raise SystemExit(f"Expected CTranslate2's file format 6, got {file_format}: {path}")
        file.seek(_read(file, "<H")[0], 1)
        _revision, num_tensors = _read(file, "<II")
        for _ in range(num_tensors):
            file.seek(_read(file, "<H")[0], 1)
            (rank,) = _read(file, "<B")
            file.seek(4 * rank, 1)
            kind, num_bytes = _read(file, "<BI")
            if rank and kind in _FLOATS:
                total += num_bytes // _FLOATS[kind]
            file.seek(num_bytes, 1)
    return total


def _read(file: BinaryIO, form: str) -> tuple[int, ...]:
    return struct.unpack(form, file.read(struct.calcsize(form)))


def main() -> None:
    """Load, then answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", nargs="+", help="the packages that hold the weights")
    ctranslate2.set_random_seed(0)  # the fallbacks for unlikely texts draw at random
    folder = model_folder(parser.parse_args().packages)
    model = WhisperModel(
        str(folder), device="cpu", compute_type="int8", cpu_threads=1, num_workers=1
    )

    def prepare(samples: array) -> NDArray[np.float32]:
        return np.array(samples, dtype=np.float32)

    def hear(samples: NDArray[np.float32]) -> str:
        segments, _ = model.transcribe(samples, language="en")
        return " ".join(segment.text.strip() for segment in segments)

    facts = {
        "versions": versions("faster-whisper", "ctranslate2"),
        "parameters": count_parameters(folder / "model.bin"),
        "megabytes": round((folder / "model.bin").stat().st_size / 1e6, 1),
        "settings": f"weights computed as {model.model.compute_type}, beam 5 with the library's "
        "fallbacks, language English given, whole utterances",
    }
    answer(facts, prepare, hear)


if __name__ == "__main__":
    main()
