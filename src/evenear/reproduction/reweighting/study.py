# SPDX-License-Identifier: Apache-2.0
"""The whole study: every variant from every seed, then a hidden group planted among the speakers.

Each run leaves its test vectors in a file, so a study that was stopped goes on where it was.

The planted group is a random fifth of the speakers, of training and of test, behind a bad channel.
It asks what the real groups are too few to answer: does reweighting lower the error of a group that
nobody named, and does its adversary give that group the most weight? Beside it stand weights by the
truth, since where even they lower nothing, no adversary can; a network too narrow for everyone,
since one that learns all of its training speakers has nothing to gain from weights; and a channel
that takes nothing from a voice, so that there is something to gain.

Legend: B utterances, D width of an embedding, K groups, X numbers of an utterance.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evenear.atomic import write_bytes
from evenear.config import replace
from evenear.data.batching.store import FrameStore, StoreConfig, build_store
from evenear.data.corpora.manifests import Utterance
from evenear.errors import CohortError
from evenear.losses.reweighting.weights import WeightReport
from evenear.reproduction.reweighting.learning import (
    CONTROLS,
    LABELS,
    TRUTH,
    VARIANTS,
    Learned,
    LearningConfig,
    learn,
    learn_knowing,
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
    Channel,
    DescribedVoices,
    colored,
    degraded,
    describe_store,
    hidden_fifth,
    known_of,
)

__all__ = ["PLANTED", "Study", "planted_results"]

PLANTED = ("constant", "pl", "pw-row", TRUTH)
"""Variants that meet the hidden group: the control, those of its loss, and the truth."""
_NARROW = {"hidden_dim": 16, "embedding_dim": 8}
"""Of the network that is too small to serve everyone."""
_TRUE_WEIGHT = 3.0
_HIDDEN, _BAD = "channel: bad", "bad channel"
_REAL = "real"
_WEIGHING = tuple(name for name in CONTROLS if name not in ("constant", TRUTH))
"""Variants with an adversary."""
_PLANTED_KINDS: Mapping[str, Channel] = {
    "planted": degraded,
    "planted_narrow": degraded,
    "planted_colored": colored,
}
"""How the hidden group is heard; the second time by a network too narrow for everyone."""


class _Weighed(NamedTuple):
    """What a variant made of the groups, for each seed."""

    weights: list[dict[str, float]]
    """Mean adversary scores; none where nobody weighs."""
    losses: list[tuple[float, float]]
    """Of the hidden group and of the others, at the end of training."""


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
        measured = self._measured(list(VARIANTS), _REAL, report)
        judged = claims(measured)
        planted = {kind: self._measured(list(PLANTED), kind, report) for kind in _PLANTED_KINDS}
        return {
            "settings": asdict(self.settings),
            "seeds": self.num_seeds,
            "draws_of_speakers": self.num_draws,
            "train_speakers": len({u.speaker for u in self.train.utterances}),
            "test_speakers": len({u.speaker for u in self.test.utterances}),
            "test_utterances_each": self.each,
            **as_json(measured, judged),
            "weighing": {name: self._spread(name) for name in _WEIGHING},
            **{
                kind: planted_results(found, {name: self._weights(name, kind) for name in found})
                for kind, found in planted.items()
            },
        }

    def _measured(
        self, names: Sequence[str], kind: str, report: Callable[[str], None]
    ) -> dict[str, Measured]:
        """EERs of variants, each from every seed."""
        planted = kind != _REAL
        bad = self._hidden(0) if planted else frozenset()
        channel = _PLANTED_KINDS.get(kind, degraded)
        train = describe_store(self.train, bad, channel)
        test = describe_store(self.test, bad, channel).at_most(self.each)
        attributes = ("channel",) if planted else ("gender", "age")
        found = {}
        for name in names:
            embedded = []
            for seed in range(self.num_seeds):
                embedded.append(self._embedded(name, seed, train, test, kind))
                report(f"{kind} {name}, seed {seed}")
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
        kind: str,
    ) -> NDArray[np.float32]:
        """Test vectors of a run, from its file or anew."""
        path = self._path(name, seed, kind)
        if path.exists():
            return np.load(path)["vectors"]
        if name == TRUTH:
            is_bad_B = np.array([known["channel"] == "bad" for known in train.attributes])
            learned = self._learn_knowing(seed, train, is_bad_B, kind)
        else:
            learned = self._learn(name, seed, train.numbers_BX, train.speakers, kind)
        vectors_BD = learned.embed(test.numbers_BX)
        report = np.array(learned.weights if learned.weights is not None else (), np.float64)
        scores_B = np.zeros(0, np.float32)
        is_weighed = learned.reweighting is not None and name not in ("constant", "baseline")
        if kind != _REAL and is_weighed:
            scores_B = learned.adversary_scores(train.numbers_BX)
        file = io.BytesIO()
        np.savez(file, vectors=vectors_BD, report=report, scores=scores_B, losses=learned.losses_B)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, file.getvalue())
        return vectors_BD

    def _learn(
        self,
        name: str,
        seed: int,
        numbers_BX: NDArray[np.float32],
        speakers: Sequence[str],
        kind: str,
    ) -> Learned:
        """A run. It is handed numbers of utterances and of speakers, no attribute of anybody."""
        _, who_B = np.unique(np.array(speakers), return_inverse=True)
        return learn(numbers_BX, who_B, VARIANTS[name], self._settings(kind), seed=seed)

    def _learn_knowing(
        self, seed: int, train: DescribedVoices, is_bad_B: NDArray[np.bool_], kind: str
    ) -> Learned:
        """The one run that is told who is hidden."""
        _, who_B = np.unique(np.array(train.speakers), return_inverse=True)
        known_B = np.where(is_bad_B, _TRUE_WEIGHT, 1.0).astype(np.float32)
        settings = self._settings(kind)
        return learn_knowing(train.numbers_BX, who_B, known_B, settings, seed=seed)

    def _settings(self, kind: str) -> LearningConfig:
        return replace(self.settings, **_NARROW) if kind == "planted_narrow" else self.settings

    def _weights(self, name: str, kind: str) -> "_Weighed":
        """Mean adversary score of each group over that of all, and mean loss, for each seed."""
        hidden = self._hidden(0)
        groups = np.array(
            [
                _group(known_of(one, is_bad=one.speaker in hidden))
                for one in self.train.utterances
                if one.copy == 0
            ]
        )
        is_bad_B = groups == _BAD
        weights, losses = [], []
        for seed in range(self.num_seeds):
            file = np.load(self._path(name, seed, kind))
            scores_B, losses_B = file["scores"], file["losses"]
            losses.append((_mean(losses_B[is_bad_B]), _mean(losses_B[~is_bad_B])))
            if len(scores_B):
                mean = float(scores_B.mean())
                values = {one: scores_B[groups == one].mean() / mean for one in set(groups)}
                weights.append({one: float(values[one]) for one in sorted(values)})
        return _Weighed(weights, losses)

    def _spread(self, name: str) -> dict[str, Any]:
        """How the weights of each run's last batch were spread: idle, useful or collapsed."""
        files = [np.load(self._path(name, seed, _REAL)) for seed in range(self.num_seeds)]
        reports = [WeightReport(*file["report"].tolist()) for file in files]
        return {
            "effective_share": [one.effective_share for one in reports],
            "largest_share": [one.largest_share for one in reports],
            "correlation_with_loss": [one.correlation for one in reports],
            "collapsed": sum(one.has_collapsed for one in reports),
        }

    def _hidden(self, seed: int) -> frozenset[str]:
        train = {utterance.speaker for utterance in self.train.utterances}
        test = {utterance.speaker for utterance in self.test.utterances}
        return hidden_fifth(sorted(train), seed) | hidden_fifth(sorted(test), seed)

    def _path(self, name: str, seed: int, kind: str) -> Path:
        return self.folder / "runs" / f"{kind}-{name}-{seed}.npz"


def planted_results(
    measured: Mapping[str, Measured], weighed: Mapping[str, "_Weighed"]
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
        weights, losses = weighed[name]
        row["training_loss"] = {
            "hidden group": float(np.mean([pair[0] for pair in losses])),
            "others": float(np.mean([pair[1] for pair in losses])),
        }
        if weights:
            ranks = [1 + sum(value > seed[_BAD] for value in seed.values()) for seed in weights]
            row["weight_by_group"] = weights
            row["rank_of_hidden_group"] = ranks
        found[name] = row
    return found


def _mean(losses_B: NDArray[np.float64]) -> float:
    """Over the utterances that were drawn."""
    drawn_B = losses_B[np.isfinite(losses_B)]
    return float(drawn_B.mean()) if len(drawn_B) else float("nan")


def _group(known: Mapping[str, str]) -> str:
    """The hidden group, or else what is known of a speaker besides: for looking at afterwards."""
    if known["channel"] == "bad":
        return _BAD
    return known.get("gender", "gender unknown")
