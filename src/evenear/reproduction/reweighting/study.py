# SPDX-License-Identifier: Apache-2.0
"""The whole study: every variant from every seed, then a hidden group planted among the speakers.

Each run leaves its test vectors in a file, so a study that was stopped goes on where it was.

The planted group is a random fifth of the speakers, of training and of test, behind a bad channel.
It asks what the real groups are too few to answer: does reweighting lower the error of a group that
nobody named, and does its adversary give that group the most weight?

Legend: B utterances, D width of an embedding, K groups, X numbers of an utterance.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evenear.atomic import write_bytes
from evenear.data.batching.store import FrameStore, StoreConfig, build_store
from evenear.data.corpora.manifests import Utterance
from evenear.errors import CohortError
from evenear.reproduction.reweighting.learning import (
    CONTROLS,
    LABELS,
    VARIANTS,
    Learned,
    LearningConfig,
    learn,
)
from evenear.reproduction.reweighting.results import (
    OVERALL,
    Measured,
    as_json,
    change,
    claims,
    measure,
)
from evenear.reproduction.reweighting.voices import (
    DescribedVoices,
    describe_store,
    hidden_fifth,
)

__all__ = ["PLANTED", "Study", "planted_results"]

PLANTED = ("constant", "pl", "pw-row")
"""Variants that meet the hidden group: the control, and those of its loss."""
_HIDDEN = "channel: bad"


@dataclass(frozen=True)
class Study:
    """What is trained and tested on, how often, and where its files go."""

    train: FrameStore
    test: FrameStore
    folder: Path
    settings: LearningConfig
    num_seeds: int = 5
    num_draws: int = 300
    each: int = 20
    """Utterances of each test speaker, at most."""

    @classmethod
    def prepare(
        cls,
        train: Sequence[Utterance],
        test: Sequence[Utterance],
        folder: Path,
        settings: LearningConfig,
        *,
        store: StoreConfig,
        num_seeds: int,
        num_draws: int,
        each: int,
        progress: Callable[[int], None] | None = None,
    ) -> "Study":
        """Store the frames of both sets of utterances, and check that they share no speaker.

        Raises:
            CohortError: A test speaker is trained on.
        """
        shared = {u.speaker for u in train} & {u.speaker for u in test}
        if shared:
            raise CohortError(
                f"Speakers to test on must not be trained on; {len(shared)} are, such as "
                f"{min(shared)!r}.",
                hint="Give --split to test on a split that training leaves out.",
            )
        trained = build_store(train, folder / "frames", store, progress=progress)
        tested = build_store(test, folder / "frames", store, progress=progress)
        return cls(trained, tested, folder, settings, num_seeds, num_draws, each)

    def run(self, report: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
        """Train and measure everything that is not there yet; the results as plain values."""
        measured = self._measured(list(VARIANTS), planted=False, report=report)
        judged = claims(measured)
        planted = self._measured(list(PLANTED), planted=True, report=report)
        weights = {name: self._weights(name) for name in PLANTED if name != "constant"}
        return {
            "settings": asdict(self.settings),
            "seeds": self.num_seeds,
            "draws_of_speakers": self.num_draws,
            "train_speakers": len({u.speaker for u in self.train.utterances}),
            "test_speakers": len({u.speaker for u in self.test.utterances}),
            "test_utterances_each": self.each,
            **as_json(measured, judged),
            "planted": planted_results(planted, weights),
        }

    def _measured(
        self, names: Sequence[str], *, planted: bool, report: Callable[[str], None]
    ) -> dict[str, Measured]:
        """EERs of variants, each from every seed."""
        hidden_seed = 0
        bad = self._hidden(hidden_seed) if planted else frozenset()
        train = describe_store(self.train, bad)
        test = describe_store(self.test, bad).at_most(self.each)
        attributes = ("channel",) if planted else ("gender", "age")
        found = {}
        for name in names:
            embedded = []
            for seed in range(self.num_seeds):
                embedded.append(self._embedded(name, seed, train, test, planted=planted))
                report(f"{'planted ' if planted else ''}{name}, seed {seed}")
            found[name] = measure(
                embedded, test, attributes=attributes, num_draws=self.num_draws, seed=0
            )
        return found

    def _embedded(
        self,
        name: str,
        seed: int,
        train: DescribedVoices,
        test: DescribedVoices,
        *,
        planted: bool,
    ) -> NDArray[np.float32]:
        """Test vectors of a run, from its file or anew."""
        path = self._path(name, seed, planted=planted)
        if path.exists():
            return np.load(path)["vectors"]
        learned = self._learn(name, seed, train.numbers_BX, train.speakers)
        vectors_BD = learned.embed(test.numbers_BX)
        report = np.array(learned.weights if learned.weights is not None else (), np.float64)
        scores_B = np.zeros(0, np.float32)
        is_weighed = learned.reweighting is not None and name not in ("constant", "baseline")
        if planted and is_weighed:
            scores_B = learned.adversary_scores(train.numbers_BX)
        file = io.BytesIO()
        np.savez(file, vectors=vectors_BD, report=report, scores=scores_B)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, file.getvalue())
        return vectors_BD

    def _learn(
        self, name: str, seed: int, numbers_BX: NDArray[np.float32], speakers: Sequence[str]
    ) -> Learned:
        """A run. It is handed numbers of utterances and of speakers, no attribute of anybody."""
        _, who_B = np.unique(np.array(speakers), return_inverse=True)
        return learn(numbers_BX, who_B, VARIANTS[name], self.settings, seed=seed)

    def _weights(self, name: str) -> list[dict[str, float]]:
        """Mean adversary score of each group over that of all, for each seed."""
        train = describe_store(self.train, self._hidden(0))
        groups = [_group(known) for known in train.attributes]
        found = []
        for seed in range(self.num_seeds):
            scores_B = np.load(self._path(name, seed, planted=True))["scores"]
            names = np.array(groups)
            mean = float(scores_B.mean())
            found.append(
                {one: float(scores_B[names == one].mean()) / mean for one in sorted(set(groups))}
            )
        return found

    def _hidden(self, seed: int) -> frozenset[str]:
        train = {utterance.speaker for utterance in self.train.utterances}
        test = {utterance.speaker for utterance in self.test.utterances}
        return hidden_fifth(sorted(train), seed) | hidden_fifth(sorted(test), seed)

    def _path(self, name: str, seed: int, *, planted: bool) -> Path:
        kind = "planted" if planted else "real"
        return self.folder / "runs" / f"{kind}-{name}-{seed}.npz"


def planted_results(
    measured: Mapping[str, Measured], weights: Mapping[str, list[dict[str, float]]]
) -> dict[str, Any]:
    """What became of the hidden group: its EER under each variant, and its rank by weight."""
    control = measured["constant"]
    found: dict[str, Any] = {}
    for name, one in measured.items():
        row: dict[str, Any] = {
            "label": LABELS[name],
            "eer": {group: one.of(group) for group in one.groups},
        }
        if CONTROLS.get(name) == "constant":
            for what, group in (("hidden_group", _HIDDEN), ("overall", OVERALL)):
                against = change(one, control, group)
                row[what] = None if against is None else asdict(against)
        if name in weights:
            ranks = [
                1 + sum(value > seed["bad channel"] for value in seed.values())
                for seed in weights[name]
            ]
            row["weight_by_group"] = weights[name]
            row["rank_of_hidden_group"] = ranks
        found[name] = row
    return found


def _group(known: Mapping[str, str]) -> str:
    """The hidden group, or else what is known of a speaker besides: for looking at afterwards."""
    if known["channel"] == "bad":
        return "bad channel"
    return known.get("gender", "gender unknown")
