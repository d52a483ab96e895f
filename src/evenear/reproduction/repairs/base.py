# SPDX-License-Identifier: Apache-2.0
"""A recognizer that has heard one cohort hardly at all: what a repair begins with.

A pretrained encoder (Whisper's, which hears whole utterances here: nothing is streamed) stays as it
is, and fresh heads learn to read it from speakers outside of the weak cohort alone. The encoder
hears each utterance once, so hundreds of updates cost minutes. Speakers who taught it take no part
in finding, tuning or testing; their speech is what replay replays, and what says which weights
others need.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from evenear.checkpoint import Bundle, load_model, save_model
from evenear.checkpoint.pretrained import load_pretrained
from evenear.data.batching.augmentation import FrameAugmentation
from evenear.data.batching.batches import BatchConfig
from evenear.data.batching.store import StoreConfig
from evenear.data.corpora.manifests import Utterance
from evenear.encoders.transformer import TransformerConfig, TransformerEncoder
from evenear.features import FeatureConfig
from evenear.models.transducer import LstmPredictorConfig, Transducer
from evenear.nn.recurrent import LstmStackConfig
from evenear.search import BeamConfig, LexiconConfig
from evenear.seeding import rng_for, torch_rng_for
from evenear.tokenizer import Tokenizer
from evenear.training.encoding import Precision
from evenear.training.mitigation.upper import cut_below, heard_below
from evenear.training.runs.preparation import Corpus, split_speakers
from evenear.training.runs.recognizer import Run
from evenear.training.settings import (
    DataConfig,
    ModelConfig,
    ObjectiveConfig,
    OptimizerConfig,
    TrainingConfig,
)

__all__ = ["BasePlan", "base_speakers", "train_base"]

_WHOLE_FRAMES = 3000
"""Feature frames of a block: 30 s, longer than any utterance."""


@dataclass(frozen=True)
class BasePlan:
    """How the recognizer comes to be."""

    encoder_from: Path
    """A Whisper model whose encoder it hears with."""
    encoder: TransformerConfig = field(
        default_factory=lambda: TransformerConfig(block_frames=_WHOLE_FRAMES)
    )
    more: Sequence[Utterance] = ()
    """More speech of speakers outside of the weak cohort, such as synthesized speech."""
    share: float = 0.67
    """Of the speakers outside of the weak cohort who do not test, how many teach it."""
    updates: int = 1000
    batch_seconds: float = 48.0
    vocabulary_size: int = 128
    dev_speakers: int = 4
    precision: Precision = "float32"


def base_speakers(sides: Mapping[str, bool], test: set[str], plan: BasePlan) -> frozenset[str]:
    """Who teaches it: drawn once, whatever the seed of a repair."""
    pool = sorted(
        (s for s, is_weak in sides.items() if not is_weak and s not in test),
        key=lambda s: rng_for(0, "base speaker", s).random(),
    )
    return frozenset(pool[: round(plan.share * len(pool))])


def train_base(
    plan: BasePlan,
    utterances: Sequence[Utterance],
    folder: Path,
    *,
    report: Callable[[str], None] = lambda _text: None,
) -> Bundle:
    """Train the heads, or go on, or read what is finished. Texts must be normalized.

    Args:
        plan: How.
        utterances: Speech of those who teach it.
        folder: Where files go; the recognizer is in `base/`.
        report: Told what goes on.
    """
    made = folder / "base"
    if made.is_dir():
        return load_model(made)
    spoken = [*utterances, *plan.more]
    tokenizer = Tokenizer.train([u.text for u in spoken], plan.vocabulary_size)
    whole = _untrained(plan, tokenizer)
    cut = cut_below(whole, 0, precision=plan.precision)
    train, dev = split_speakers(spoken, plan.dev_speakers, seed=0)
    report(f"Hearing {len(spoken)} utterances of those who teach the recognizer.")
    plain = StoreConfig(features=whole.features, augment=False)
    corpus = Corpus(
        heard_below(cut, train, plain, folder),
        heard_below(cut, dev, plain, folder),
        tokenizer,
        repeats={},
    )
    run = Run.over(corpus, _training(plan, cut.upper), folder / "base-run", start_from=cut.upper)
    if run.trainer.snapshot_path.exists():
        run.trainer.resume()
    report(run.description)
    for step in run.train():
        if step.score is not None:
            report(f"{step.update} updates: {100 * step.score:.1f} % of held-out words wrong.")
    best = load_model(run.model_folder).model
    save_model(
        made,
        model=cut.joined(best),
        features=whole.features,
        tokenizer=tokenizer,
        provenance={
            "encoder_from": plan.encoder_from.name,
            "updates": plan.updates,
            "speakers": len({u.speaker for u in spoken}),
            "hours_of_speech": round(sum(u.seconds for u in spoken) / 3600, 2),
            "dev_wer": run.trainer.best_score,
        },
    )
    return load_model(made)


def _untrained(plan: BasePlan, tokenizer: Tokenizer) -> Bundle:
    """The pretrained encoder with heads that know nothing."""
    shape = _model(plan.encoder).transducer(
        vocabulary_size=len(tokenizer), blank_id=tokenizer.blank_id, with_ctc=True
    )
    with torch.random.fork_rng(devices=[]):
        torch.random.set_rng_state(torch_rng_for(0, "weights").get_state())
        model = Transducer(shape)
    assert isinstance(model.encoder, TransformerEncoder), "of such a config"
    load_pretrained(model.encoder, plan.encoder_from)
    return Bundle(
        model=model.eval(),
        features=FeatureConfig.whisper(),
        tokenizer=tokenizer,
        card="",
        language_model=None,
        search=BeamConfig(width=1),
        words=None,
        word_search=LexiconConfig(),
        name="base",
    )


def _model(encoder: TransformerConfig) -> ModelConfig:
    predictor = LstmPredictorConfig(
        embedding_dim=128,
        lstm=LstmStackConfig(num_layers=1, hidden_dim=256, dim=256, dropout=0.2),
        token_dropout=0.1,
    )
    return ModelConfig(encoder=encoder, predictor=predictor, joiner_dim=320)


def _training(plan: BasePlan, upper: Bundle) -> TrainingConfig:
    encoder = upper.model.config.encoder
    assert isinstance(encoder, TransformerConfig), "the upper part of one"
    masks = FrameAugmentation(
        warp_chance=0.0, tempo_chance=0.0, num_frequency_masks=0, time_mask_ratio=0.05
    )
    return TrainingConfig(
        name="base",
        num_updates=plan.updates,
        data=DataConfig(
            store=StoreConfig(features=upper.features),
            batches=BatchConfig(seconds=plan.batch_seconds, max_seconds=16.0, augmentation=masks),
            vocabulary_size=plan.vocabulary_size,
        ),
        model=_model(encoder),
        objective=ObjectiveConfig(ctc_weight=0.5),
        optimizer=OptimizerConfig(
            peak_rate=2e-3,
            encoder_ratio=0.0,
            warmup_updates=max(1, min(100, plan.updates // 5)),
            decay_from=0.4,
            max_gradient_norm=20.0,
            average_decay=0.995,
        ),
        precision=plan.precision,
        evaluate_every=max(1, plan.updates // 6),
        snapshot_every=max(1, min(100, plan.updates // 2)),
    )
