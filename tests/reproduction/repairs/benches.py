# SPDX-License-Identifier: Apache-2.0
"""A bench of tones: a model whose upper part adapts, and speakers enough to divide."""

from pathlib import Path

from evenear.reproduction.repairs.bench import Bench, Effort
from evenear.reproduction.repairs.setting import Setting
from evenear.training.mitigation.cohort import parse_cohort
from training.mitigation.tone_speakers import utterances, write_model

__all__ = ["EFFORT", "make_bench"]

EFFORT = Effort(updates=3, batch_seconds=3.0, fisher_utterances=4, num_settings=1)


def make_bench(folder: Path) -> tuple[Bench, dict[str, bool], dict[str, Path]]:
    """A bench, who is a child, and the sound of each utterance."""
    write_model(folder / "model", layers=2)
    spoken = utterances(folder / "tones", num_speakers=40)
    setting = Setting.prepare(
        folder / "model", spoken, parse_cohort("age<18"), folder / "runs", num_layers=1
    )
    bench = setting.bench(EFFORT)
    return bench, dict(setting.sides), {u.utterance_id: u.audio for u in spoken}
