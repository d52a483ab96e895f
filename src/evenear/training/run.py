# SPDX-License-Identifier: Apache-2.0
"""A run from manifests to a model folder: prepares, trains, keeps the best averaged weights."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from evenear.checkpoint import save_model
from evenear.data.batches import Batch, BatchConfig, BatchMaker
from evenear.metrics.words import WordErrors, word_errors
from evenear.models.transducer import Transducer
from evenear.search import greedy_search
from evenear.training.loop import Progress, Trainer
from evenear.training.preparation import Corpus, Source, build_model, prepare
from evenear.training.settings import TrainingConfig

__all__ = ["Run"]


@dataclass(frozen=True)
class Run:
    """A prepared run. `train` runs it; the model with the lowest dev WER stays in its folder."""

    config: TrainingConfig
    corpus: Corpus
    trainer: Trainer
    folder: Path

    @classmethod
    def prepare(
        cls,
        config: TrainingConfig,
        sources: Sequence[Source],
        folder: Path,
        *,
        threads: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> "Run":
        """Read and store the corpora, and build the model."""
        if threads is not None:
            torch.set_num_threads(threads)
        corpus = prepare(sources, config.data, folder, seed=config.seed, progress=progress)
        features = config.data.store.features
        batches = BatchMaker(
            corpus.train,
            corpus.tokenizer,
            config.data.batches,
            features,
            seed=config.seed,
            repeats=corpus.repeats,
        )
        plain = BatchConfig(seconds=120.0, min_seconds=0.0, max_seconds=60.0, augmentation=None)
        dev = BatchMaker(corpus.dev, corpus.tokenizer, plain, features, seed=config.seed)
        references = {u.utterance_id: u.text for u in corpus.dev.utterances}
        held_out = list(dev.batches(0))

        def evaluate(model: Transducer) -> WordErrors:
            return _count_errors(model, held_out, references, corpus)

        model = build_model(config, corpus)
        return cls(config, corpus, Trainer(config, model, batches, evaluate, folder), folder)

    @property
    def model_folder(self) -> Path:
        """Where the best model goes."""
        return self.folder / "model"

    @property
    def description(self) -> str:
        """What is about to be trained, on what."""
        parameters = sum(p.numel() for p in self.trainer.model.parameters())
        return (
            f"{self.config.name}: {parameters / 1e6:.2f} M parameters, "
            f"{self.corpus.train.hours:.2f} hours to train on (copies counted), "
            f"{len(self.corpus.dev)} held-out utterances, {self.config.num_updates} updates"
        )

    def train(self) -> Iterator[Progress]:
        """Train to the end; keep a model folder whenever the held-out speakers are heard best."""
        for step in self.trainer.run():
            if step.dev_wer is not None and (
                step.dev_wer == self.trainer.best_wer or not self.model_folder.exists()
            ):
                self._keep()
            yield step

    def _keep(self) -> None:
        save_model(
            self.model_folder,
            model=self.trainer.averaged(lambda: build_model(self.config, self.corpus)),
            features=self.config.data.store.features,
            tokenizer=self.corpus.tokenizer,
        )


@torch.inference_mode()
def _count_errors(
    model: Transducer, batches: list[Batch], references: dict[str, str], corpus: Corpus
) -> WordErrors:
    total = WordErrors()
    for batch in batches:
        encoded = model.encode(batch.features_BTF, batch.lengths_B)
        readings = greedy_search(model, encoded)
        for utterance_id, reading in zip(batch.utterance_ids, readings, strict=True):
            heard = corpus.tokenizer.decode(reading.tokens)
            total += word_errors(references[utterance_id], heard)
    return total
