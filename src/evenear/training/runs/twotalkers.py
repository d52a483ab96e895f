# SPDX-License-Identifier: Apache-2.0
"""A run of a two-channel model: decodes recordings, mixes them on the fly, keeps the best model.

The transducer that hears each channel begins as a trained recognizer of single talkers, whose
features, tokenizer and words it keeps. A two-channel model can be trained further, too.

Legend: B mixtures, T frames, F feature width.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from evenear.checkpoint import Bundle, load_model
from evenear.checkpoint.folders import find_folder, read_kind
from evenear.checkpoint.twotalkers import (
    TWO_TALKERS,
    TwoTalkerBundle,
    TwoTalkerSettings,
    load_two_talkers,
    save_two_talkers,
)
from evenear.config import replace as changed
from evenear.config import to_dict
from evenear.data.conversations.batches import MixtureBatchMaker
from evenear.data.conversations.sounds import SoundStore, build_sound_store
from evenear.data.corpora.manifests import Utterance, load_cuts, utterance
from evenear.data.corpora.splits import is_held_back
from evenear.errors import ConfigError, ManifestError, TokenizerError
from evenear.features import extract
from evenear.lexicon import Lexicon
from evenear.metrics.words import normalize
from evenear.models.activity import ActivityConfig
from evenear.models.separator import SeparatorConfig
from evenear.models.twotalkers import SeparatorTransducer, SeparatorTransducerConfig
from evenear.seeding import torch_rng_for
from evenear.training.loop.optimizers import build_optimizers
from evenear.training.loop.trainer import Progress, Trainer
from evenear.training.runs.preparation import Source, split_speakers
from evenear.training.tasks.separator import SeparatorTask, TwoTalkerConfig

__all__ = ["TwoTalkerRun", "begin_with", "read_recordings"]

_VOICES = "evenear-speaker"
"""The network that tells voices apart where words are attributed."""
_END_SECONDS = 0.4
"""After so long without their voice a talker's turn ends there; chosen on held-out speakers."""
_TOKEN_SECONDS = 0.8
"""After so long without a token a channel's turn ends elsewhere."""
_SILENCE = 3200
"""Samples of silence, enough to know its frames."""


@dataclass(frozen=True)
class TwoTalkerRun:
    """A prepared run. `train` runs it; the model with the lowest score stays in its folder."""

    config: TwoTalkerConfig
    settings: TwoTalkerSettings
    bundle: Bundle | TwoTalkerBundle
    task: SeparatorTask
    trainer: Trainer
    folder: Path

    @classmethod
    def prepare(
        cls,
        config: TwoTalkerConfig,
        sources: Sequence[Source],
        folder: Path,
        *,
        start_from: str | Path | None = None,
        threads: int | None = None,
        device: str = "cpu",
        progress: Callable[[int], None] | None = None,
    ) -> "TwoTalkerRun":
        """Decode the recordings and build the model.

        Args:
            config: The run.
            sources: Recordings of single speakers; how often is not asked, as they are drawn.
            folder: Where the run's files go.
            start_from: A trained recognizer or two-channel model; None: as the recipe says.
            threads: Threads for all of torch in this process; None leaves them as they are.
            device: Where to compute.
            progress: Called with the number of recordings that were decoded.

        Raises:
            ManifestError: No recording can be spelled with the recognizer's tokenizer, or there are
                too few speakers for a conversation beside those held out.
        """
        if threads is not None:
            torch.set_num_threads(threads)
        settings, model, bundle = begin_with(config, start_from or config.begins_with)
        recordings = _spelled(read_recordings(sources, config.excluded_splits), bundle)
        _expect_speakers(recordings, config.dev_speakers)
        train, dev = split_speakers(recordings, config.dev_speakers, seed=config.seed)
        train = _few_of_each(train, config.recordings_of_speaker)
        dev = _few_of_each(dev, config.recordings_of_speaker)
        stores = [
            build_sound_store(part, folder / name, progress)
            for name, part in (("sounds", train), ("dev-sounds", dev))
        ]
        batches, dev_batches = (
            _maker(config, settings, bundle, store, model.stride) for store in stores
        )
        wanted = changed(config.batches, num_mixtures=config.dev_mixtures)
        dev_batches.settings = wanted
        held_out = [dev_batches.batch(group, 0) for group in dev_batches.plan(0)]
        task = SeparatorTask(config, model.to(device), batches, held_out)
        optimizers = build_optimizers(model, config.optimizer)  # pyright: ignore[reportArgumentType]
        trainer = Trainer(task, optimizers, config, folder, device=device)
        return cls(config, settings, bundle, task, trainer, folder)

    @property
    def model_folder(self) -> Path:
        """Where the best model goes."""
        return self.folder / "model"

    @property
    def description(self) -> str:
        """What is about to be trained, on what."""
        voices = self.task.batches.sounds.voices
        moving = sum(p.numel() for p in self.task.model.parameters() if p.requires_grad)
        every = sum(p.numel() for p in self.task.model.parameters())
        return (
            f"{self.config.name}: {moving / 1e6:.2f} of {every / 1e6:.2f} M parameters move, "
            f"{len(voices)} recordings of {len({v.speaker for v in voices})} speakers, "
            f"{self.config.num_updates} updates"
        )

    def train(self) -> Iterator[Progress]:
        """Train to the end; keep a model folder whenever held-out mixtures are heard best."""
        self.trainer.on_best = self._keep
        for step in self.trainer.run():
            if step.score is not None and not self.model_folder.exists():
                self._keep()
            yield step

    def _keep(self) -> None:
        model = self.trainer.averaged()
        assert isinstance(model, SeparatorTransducer)
        own = self.bundle.words if self.settings.words_of is None else None
        settings = self.settings
        if self.config.recognizer == "tuned":
            settings = changed(settings, transducer_of=None)
        save_two_talkers(
            self.model_folder,
            model=model,
            settings=settings,
            tokenizer=self.bundle.tokenizer,
            words=own,
            provenance={
                "run": to_dict(self.config),
                "began_with": self.bundle.name,
                "speech": self.task.identity,
                "updates": self.trainer.update,
                "heard_hours": self.trainer.heard_seconds / 3600,
            },
        )


def begin_with(
    config: TwoTalkerConfig, start_from: str | Path
) -> tuple[TwoTalkerSettings, SeparatorTransducer, Bundle | TwoTalkerBundle]:
    """The model before training: a trained recognizer behind a fresh separator, or a trained one.

    Raises:
        ConfigError: A two-channel model to go on with has another separator than is asked for.
    """
    if read_kind(_folder(start_from)) == TWO_TALKERS:
        bundle = load_two_talkers(start_from)
        if _weights_of(bundle.settings.model.separator) != _weights_of(config.separator):
            raise ConfigError(
                f"{bundle.name} has another separator than the recipe {config.name}.",
                hint="Begin with a recognizer of single talkers, or take the model's own recipe.",
            )
        model_config = changed(
            bundle.settings.model, turns=config.turns, separator=config.separator
        )
        settings = changed(bundle.settings, model=model_config)
        if _attributes(bundle.settings.model.separator) != _attributes(config.separator):
            settings = _ending(settings)
        model = SeparatorTransducer(model_config)
        model.load_state_dict(bundle.model.state_dict())
        return settings, model, bundle
    single = load_model(start_from)
    model_config = SeparatorTransducerConfig(
        separator=config.separator, transducer=single.model.config, turns=config.turns
    )
    with torch.random.fork_rng(devices=[]):
        torch.random.set_rng_state(torch_rng_for(config.seed, "weights").get_state())
        model = SeparatorTransducer(model_config)
    model.transducer.load_state_dict(single.model.state_dict())
    model.mean_F.copy_(single.model.mean_F)
    model.scale_F.copy_(single.model.scale_F)
    if model.separator.activity is not None:
        silence_TF = torch.from_numpy(extract(np.zeros(_SILENCE, np.float32), single.features))
        model.separator.activity.silence_F.copy_(model.normalize(silence_TF)[len(silence_TF) // 2])
    if model.separator.gives_shares:
        model.separator.nat_F.copy_(single.model.scale_F * single.features.nat)
    is_shipped = not Path(start_from).is_dir()
    settings = TwoTalkerSettings(
        model=model_config,
        features=single.features,
        search=single.search,
        word_search=single.word_search,
        words_of=str(start_from) if is_shipped and single.words is not None else None,
        transducer_of=str(start_from) if is_shipped else None,
    )
    return _ending(settings), model, single


def _attributes(separator: SeparatorConfig) -> bool:
    """Whether one recognizer hears both talkers, told apart by their voices."""
    return separator.activity is not None and separator.activity.where_both == "attributed"


def _ending(settings: TwoTalkerSettings) -> TwoTalkerSettings:
    """The settings, with turns that end as fits how the talkers are heard."""
    if _attributes(settings.model.separator):
        return changed(settings, voices_of=_VOICES, endpoint_seconds=_END_SECONDS)
    return changed(settings, voices_of=None, endpoint_seconds=_TOKEN_SECONDS)


def _weights_of(separator: SeparatorConfig) -> SeparatorConfig:
    """The separator's settings as far as its weights depend on them."""
    if separator.activity is None:
        return separator
    return changed(separator, activity=ActivityConfig())


def read_recordings(sources: Sequence[Source], excluded_splits: Sequence[str]) -> list[Utterance]:
    """Recordings outside the excluded splits, their texts normalized, each source a corpus."""
    found = []
    for number, source in enumerate(sources):
        for cut in iter(load_cuts(source.manifest)):
            one = utterance(cut)
            split = one.attributes.get("split")
            if not is_held_back(split) and split not in excluded_splits:
                corpus = {"corpus": str(number), **one.attributes}
                found.append(replace(one, text=normalize(one.text), attributes=corpus))
    return found


def _folder(name_or_folder: str | Path) -> Path:
    """A model's folder, of whatever kind."""
    path = Path(name_or_folder)
    if path.is_dir():
        return path
    try:
        return find_folder(name_or_folder, kind=TWO_TALKERS)
    except Exception:  # it is of another kind, or not there: whoever loads it says so
        return path


def _spelled(recordings: Sequence[Utterance], bundle: Bundle | TwoTalkerBundle) -> list[Utterance]:
    """Recordings whose texts the tokenizer can spell."""
    kept = []
    for one in recordings:
        try:
            if bundle.tokenizer.encode(one.text):
                kept.append(one)
        except TokenizerError:
            continue
    if not kept:
        raise ManifestError(
            f"Mixtures need recordings that {bundle.name} can spell; of {len(recordings)} none is.",
            hint="Texts are English words without digits.",
        )
    return kept


def _few_of_each(recordings: Sequence[Utterance], most: int) -> list[Utterance]:
    """The first recordings of each speaker."""
    counts: dict[str, int] = {}
    kept = []
    for one in recordings:
        counts[one.speaker] = counts.get(one.speaker, 0) + 1
        if counts[one.speaker] <= most:
            kept.append(one)
    return kept


def _maker(
    config: TwoTalkerConfig,
    settings: TwoTalkerSettings,
    bundle: Bundle | TwoTalkerBundle,
    store: SoundStore,
    stride: int,
) -> MixtureBatchMaker:
    lexicon = None
    if bundle.words is not None:
        spoken = dict(zip(bundle.words.words, bundle.words.pronunciations, strict=True))
        lexicon = Lexicon(bundle.words.phones, spoken)
    return MixtureBatchMaker(
        store,
        bundle.tokenizer,
        config.batches,
        settings.features,
        stride=stride,
        marks=config.turns,
        seed=config.seed,
        lexicon=lexicon,
    )


def _expect_speakers(recordings: Sequence[Utterance], num_dev: int) -> None:
    """Two speakers to train on, and those held out, who were recorded."""
    every = {u.speaker for u in recordings}
    recorded = {u.speaker for u in recordings if not u.attributes.get("synthesized", False)}
    most = min(len(every) - 2, len(recorded) - 1)
    if num_dev > most:
        raise ManifestError(
            f"Conversations need two speakers to train on and {num_dev} recorded ones to judge by, "
            f"got {len(every)} speakers, {len(recorded)} of them recorded.",
            hint=f"Give more data, or --set dev_speakers={most}."
            if most > 0
            else "Give recordings of at least three speakers.",
        )
