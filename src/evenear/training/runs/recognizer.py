# SPDX-License-Identifier: Apache-2.0
"""A run from manifests to a model folder: prepares, trains, keeps the best averaged weights."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import evenear
from evenear.atomic import write_bytes
from evenear.checkpoint import Bundle, load_model, save_model
from evenear.checkpoint.pretrained import load_pretrained
from evenear.config import replace, to_dict
from evenear.data.batching.batches import Batch, BatchConfig, BatchMaker
from evenear.data.batching.splicing import SplicePoints
from evenear.data.corpora.splits import in_words
from evenear.encoders.transformer import TransformerConfig, TransformerEncoder
from evenear.errors import CheckpointError, ConfigError
from evenear.lexicon import Lexicon
from evenear.metrics.words import WordErrors, word_errors
from evenear.models.transducer import Transducer
from evenear.search import greedy_search
from evenear.training.distillation import Teacher
from evenear.training.loop.optimizers import build_optimizers
from evenear.training.loop.trainer import Progress, Trainer
from evenear.training.runs.preparation import (
    TOKENIZER_NAME,
    Corpus,
    Source,
    build_model,
    check_widths,
    prepare,
)
from evenear.training.settings import TrainingConfig
from evenear.training.splicepoints import stored_splice_points
from evenear.training.tasks.transducer import TransducerTask

__all__ = ["Run"]


@dataclass(frozen=True)
class Run:
    """A prepared run. `train` runs it; the model with the lowest dev WER stays in its folder."""

    config: TrainingConfig
    corpus: Corpus
    task: TransducerTask
    trainer: Trainer
    folder: Path
    start_from: Bundle | None = None
    """The model it began with: what it searches with is kept."""
    origin: Mapping[str, Any] = field(default_factory=dict)
    """Where speech, starting weights and pronunciations came from."""

    @classmethod
    def prepare(
        cls,
        config: TrainingConfig,
        sources: Sequence[Source],
        folder: Path,
        *,
        start_from: str | Path | None = None,
        encoder_from: Path | None = None,
        splice_with: str | Path | None = None,
        pronunciations: Path | None = None,
        threads: int | None = None,
        device: str = "cpu",
        progress: Callable[[int], None] | None = None,
        parting: Callable[[int], None] | None = None,
    ) -> "Run":
        """Read and store the corpora, and build the model.

        Args:
            config: The run.
            sources: What to train on.
            folder: Where the run's files go.
            start_from: A trained model (its folder or name) whose tokenizer and weights to begin
                with; None begins with random weights.
            encoder_from: A Whisper model whose encoder to begin with, and which teaches where the
                objective says so; None begins as `start_from` says.
            splice_with: A trained model (its folder or name) that finds where recorded sentences
                can be parted, to make new ones of them; None makes none.
            pronunciations: A dictionary whose phones an auxiliary loss tells apart; None: no such.
            threads: Threads for all of torch in this process; None leaves them as they are.
            device: Where to compute: cpu, cuda or cuda:1.
            progress: Called with the number of utterances that were stored.
            parting: Called with the number of stored utterances in which splice points were sought.

        Raises:
            ConfigError: The encoder was not made for the features, or the model that finds splice
                points was trained on others.
            CheckpointError: The model to start from is damaged or of another shape.
        """
        check_widths(config)
        lexicon = Lexicon.read(pronunciations) if pronunciations is not None else None
        if threads is not None:
            torch.set_num_threads(threads)
        bundle = load_model(start_from) if start_from is not None else None
        if bundle is not None:
            folder.mkdir(parents=True, exist_ok=True)
            write_bytes(folder / TOKENIZER_NAME, bundle.tokenizer.model)
        corpus = prepare(sources, config.data, folder, seed=config.seed, progress=progress)
        splice_points = None
        if splice_with is not None:
            finder = load_model(splice_with)
            _check_features(finder, config)
            splice_points = stored_splice_points(finder, corpus.train, folder, progress=parting)
        return cls.over(
            corpus,
            config,
            folder,
            start_from=bundle,
            encoder_from=encoder_from,
            splice_points=splice_points,
            lexicon=lexicon,
            device=device,
            origin={
                "sources": [f"{one.manifest}:{one.repeats:g}" for one in sources],
                "start_from": bundle.name if bundle else None,
                "encoder_from": encoder_from.name if encoder_from else None,
                "splice_with": str(splice_with) if splice_with else None,
                "pronunciations": pronunciations.name if pronunciations else None,
            },
        )

    @classmethod
    def over(
        cls,
        corpus: Corpus,
        config: TrainingConfig,
        folder: Path,
        *,
        start_from: Bundle | None = None,
        encoder_from: Path | None = None,
        splice_points: SplicePoints | None = None,
        lexicon: Lexicon | None = None,
        device: str = "cpu",
        origin: Mapping[str, Any] | None = None,
    ) -> "Run":
        """Build the model of a run over a prepared corpus, which several runs may share.

        Raises:
            CheckpointError: The model or the encoder to start from is of another shape.
            ConfigError: The objective wants a teacher, and there is none.
        """
        teacher = _teacher(config, encoder_from)
        features = config.data.store.features
        batches = BatchMaker(
            corpus.train,
            corpus.tokenizer,
            config.data.batches,
            features,
            seed=config.seed,
            repeats=corpus.repeats,
            splice_points=splice_points,
            lexicon=lexicon,
            with_clean=teacher is not None,
        )
        plain = BatchConfig(seconds=120.0, min_seconds=0.0, max_seconds=60.0, augmentation=None)
        dev = BatchMaker(corpus.dev, None, plain, features, seed=config.seed)
        references = {u.utterance_id: u.text for u in corpus.dev.utterances}
        held_out = list(dev.batches(0))

        def recognize(model: Transducer) -> WordErrors:
            return _count_errors(model, held_out, references, corpus)

        model = build_model(config, corpus, phones=len(lexicon.phones) if lexicon else 0)
        if start_from is not None:
            _copy_weights(start_from, model)
        elif teacher is not None:
            model.encoder.load_state_dict(teacher.encoder.state_dict())
        elif encoder_from is not None:
            load_pretrained(_transformer(model), encoder_from)
        task = TransducerTask(config, model.to(device), batches, recognize, teacher)
        optimizers = build_optimizers(model, config.optimizer)
        trainer = Trainer(task, optimizers, config, folder, device=device)
        return cls(config, corpus, task, trainer, folder, start_from, origin or {})

    @property
    def model_folder(self) -> Path:
        """Where the best model goes."""
        return self.folder / "model"

    @property
    def description(self) -> str:
        """What is about to be trained, on what."""
        parameters = sum(p.numel() for p in self.task.model.parameters())
        return (
            f"{self.config.name}: {parameters / 1e6:.2f} M parameters, "
            f"{self.task.batches.hours:.2f} hours to train on (copies counted), "
            f"{self.corpus.held_out}, {self.config.num_updates} updates"
        )

    @property
    def left_out(self) -> str:
        """What of the sources will not be trained on, and why; empty if all will be."""
        return in_words({**self.corpus.left_out, **self.task.batches.left_out})

    def train(self) -> Iterator[Progress]:
        """Train to the end; keep a model folder whenever the held-out speakers are heard best."""
        self.trainer.on_best = self._keep
        for step in self.trainer.run():
            is_first = self.trainer.processes.is_first
            if step.score is not None and is_first and not self.model_folder.exists():
                self._keep()
            yield step

    def _keep(self) -> None:
        model = self.trainer.averaged()
        assert isinstance(model, Transducer)
        kept = self.start_from
        save_model(
            self.model_folder,
            model=model,
            features=self.config.data.store.features,
            tokenizer=self.corpus.tokenizer,
            language_model=kept.language_model if kept else None,
            search=kept.search if kept else None,
            words=kept.words if kept and model.config.phones == kept.model.config.phones else None,
            word_search=kept.word_search if kept else None,
            provenance=self._provenance(),
        )

    def _provenance(self) -> dict[str, Any]:
        """How the model came to be; what only the caller knows is in `origin`."""
        trainer = self.trainer
        return {
            **self.origin,
            "settings": to_dict(self.config),
            "updates": trainer.update,
            "hours_heard": round(trainer.heard_seconds / 3600, 2),
            "hours_of_speech": round(self.corpus.train.hours, 2),
            "device": str(trainer.device),
            "threads": torch.get_num_threads(),
            "processes": trainer.processes.count,
            trainer.task.score_name: trainer.best_score,
            "evenear": evenear.__version__,
            "torch": torch.__version__,
        }


def _check_features(finder: Bundle, config: TrainingConfig) -> None:
    """Refuse to find splice points by a model that does not read the frames that are stored."""
    if finder.features != config.data.store.features:
        raise ConfigError(
            f"The model {finder.name} to splice with reads other features than this run stores.",
            hint="Splice with a model that was trained on the same data.store.features.",
        )


def _teacher(config: TrainingConfig, path: Path | None) -> Teacher | None:
    """The pretrained encoder as a teacher, if the objective wants one."""
    if not config.objective.distillation_weight:
        return None
    if config.optimizer.encoder_ratio == 0:
        raise ConfigError(
            "A frozen encoder cannot become like a teacher.",
            hint="Set objective.distillation_weight=0, or optimizer.encoder_ratio above 0.",
        )
    if path is None or not isinstance(config.model.encoder, TransformerConfig):
        raise ConfigError(
            "Distillation needs a pretrained encoder of the kind transformer to learn from.",
            hint="Name a Whisper model with --encoder-from, or set "
            "objective.distillation_weight=0.",
        )
    encoder = config.model.encoder.build()
    load_pretrained(encoder, path)
    return Teacher(encoder)


def _transformer(model: Transducer) -> TransformerEncoder:
    """The encoder, if it can begin with Whisper's weights."""
    if not isinstance(model.encoder, TransformerEncoder):
        raise ConfigError(
            f"Pretrained weights fit encoders of the kind transformer, not "
            f"{model.config.encoder.kind}.",
            hint="Use the recipe evenear-en, or leave --encoder-from out.",
        )
    return model.encoder


def _copy_weights(bundle: Bundle, model: Transducer) -> None:
    """Begin with trained weights and their feature statistics; a head they lack stays random."""
    heads = {"ctc": model.config.ctc, "phones": model.config.phones}
    if replace(bundle.model.config, **heads).structure != model.config.structure:
        raise CheckpointError(
            f"The model {bundle.name} to start from has another shape than the recipe builds.",
            hint="Start from a model of the same recipe, with the same settings but for dropout and "
            "blocks.",
        )
    weights = bundle.model.state_dict()
    if bundle.model.config.phones != model.config.phones:
        weights = {name: t for name, t in weights.items() if not name.startswith("phones.")}
    missing, _ = model.load_state_dict(weights, strict=False)
    unexpected = [name for name in missing if not name.startswith(("ctc.", "phones."))]
    assert not unexpected, unexpected


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
