# SPDX-License-Identifier: Apache-2.0
"""A rescorer learns what was said from stored frames, and from nothing else.

Dimensions: B utterances, U pieces, V vocabulary.
"""

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from bfloat16 import need_bfloat16
from evenear.config import replace
from evenear.data.batching.augmentation import FrameAugmentation
from evenear.data.batching.batches import BatchConfig, BatchMaker
from evenear.data.batching.store import FrameStore, StoreConfig, build_store
from evenear.data.corpora.manifests import Utterance
from evenear.features import stack_frames
from evenear.seeding import rng_for
from evenear.training.loop.optimizers import build_optimizers
from evenear.training.loop.trainer import Trainer
from evenear.training.settings import OptimizerConfig
from evenear.training.tasks.rescorer import RescorerTask, RescorerTraining
from laws import FEATURES, tiny_transducer
from tiny_rescorers import tiny_rescorer

HERTZ = {"LOW": 400.0, "MID": 1000.0, "HIGH": 2600.0}
PIECES = {"LOW": (3,), "MID": (4, 5), "HIGH": (4, 6)}
SETTINGS = RescorerTraining(
    num_updates=30,
    precision="float32",
    smoothing=0.0,
    wrong_pieces=0.0,
    optimizer=OptimizerConfig(peak_rate=2e-2, warmup_updates=3, average_decay=0.8),
    evaluate_every=30,
    snapshot_every=30,
)


def pieces(text: str) -> tuple[int, ...] | None:
    """As a tokenizer that does not know every word."""
    words = text.split()
    return None if "WHAT" in words else tuple(p for word in words for p in PIECES[word])


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> tuple[FrameStore, FrameStore]:
    """Words that are tones, of 0.25 seconds each; every sixth text has a word without pieces."""
    folder, found = tmp_path_factory.mktemp("rescorer"), []
    time_N = np.arange(4000) / 16_000
    for k in range(24):
        words = rng_for(0, "words", k).choice(list(HERTZ), size=1 + k % 3).tolist()
        tones = [0.2 * np.sin(2 * np.pi * HERTZ[word] * time_N) for word in words]
        soundfile.write(folder / f"{k}.wav", np.concatenate(tones).astype(np.float32), 16_000)
        text = " ".join(words + ["WHAT"] * (k % 6 == 5))
        seconds = 0.25 * len(words)
        found.append(Utterance(f"u{k}", f"s{k}", text, folder / f"{k}.wav", 0.0, seconds))
    settings = StoreConfig(features=FEATURES, augment=False)
    learned = build_store(found, Path(folder) / "store", settings)
    return learned, build_store(found[:7], Path(folder) / "dev", settings)


def task(stores, settings: RescorerTraining = SETTINGS, *, masks: bool = False) -> RescorerTask:
    upper = tiny_transducer("lstm")
    batches = BatchConfig(
        seconds=6.0, min_seconds=0.0, augmentation=FrameAugmentation() if masks else None
    )
    learned, dev = stores
    return RescorerTask(
        settings,
        tiny_rescorer(frame_dim=upper.config.joiner_dim, vocabulary_size=8),
        upper,
        BatchMaker(learned, None, batches, FEATURES, seed=0),
        BatchMaker(dev, None, replace(batches, augmentation=None), FEATURES, seed=0),
        pieces,
        {u.utterance_id: u.text for store in stores for u in store.utterances},
    )


def nats(made: RescorerTask, store: FrameStore, place: int) -> float:
    """The negative log-probability of an utterance's text and its end, piece by piece."""
    spelled = pieces(store.utterances[place].text)
    assert spelled is not None
    config = made.model.config
    row = [*config.start, *spelled, config.end_id]
    frames_1TF = torch.from_numpy(stack_frames(store.frames(place), FEATURES))[None]
    with torch.no_grad():
        encoded = made.upper.encode(frames_1TF, torch.tensor([frames_1TF.shape[1]]))
        projected = made.upper.joiner.encoder_proj(encoded.encoded_BTD)
        logits_1UV = made.model(torch.tensor([row[:-1]]), projected, encoded.lengths_B)
    log_probs_UV = logits_1UV[0].log_softmax(dim=1)
    first = len(config.start)
    return -sum(float(log_probs_UV[k - 1, row[k]]) for k in range(first, len(row)))


def batches_of(made: RescorerTask):
    return [made.batch(group, 0) for group in made.plan(0)]


def test_the_loss_falls_and_the_recognizer_stays_as_it_is(stores, tmp_path):
    made = task(stores)
    upper = {name: tensor.clone() for name, tensor in made.upper.state_dict().items()}
    before = made.evaluate(made.model)
    optimizers = build_optimizers(made.model, SETTINGS.optimizer)
    losses = [step.loss for step in Trainer(made, optimizers, SETTINGS, tmp_path / "run").run()]
    assert all(map(math.isfinite, losses))
    assert made.evaluate(made.model) < 0.3 * before
    assert all(torch.equal(t, upper[name]) for name, t in made.upper.state_dict().items())
    assert not made.upper.training


def test_the_loss_of_an_utterance_is_what_its_pieces_and_its_end_cost(stores):
    made, seen = task(stores), 0
    places = {u.utterance_id: k for k, u in enumerate(stores[0].utterances)}
    for batch in batches_of(made):
        loss_B = made.losses(batch, 1).terms["pieces"]
        assert loss_B.shape == (len(batch.utterance_ids),)
        for b, name in enumerate(batch.utterance_ids):
            if pieces(stores[0].utterances[places[name]].text) is not None:
                expected = nats(made, stores[0], places[name])
                assert float(loss_B[b].detach()) == pytest.approx(expected, rel=1e-3, abs=1e-3)
                seen += 1
    assert seen == 20


def test_what_cannot_be_written_costs_nothing_and_teaches_nothing(stores):
    made, seen = task(stores, replace(SETTINGS, smoothing=0.1, wrong_pieces=0.2)), 0
    texts = {u.utterance_id: u.text for u in stores[0].utterances}
    for batch in batches_of(made):
        loss_B = made.losses(batch, 1).terms["pieces"]
        unknown = [b for b, name in enumerate(batch.utterance_ids) if "WHAT" in texts[name]]
        known = [b for b in range(len(loss_B)) if b not in unknown]
        assert (loss_B[unknown] == 0).all()
        assert (loss_B[known] > 0).all()
        if unknown:
            made.model.zero_grad()
            loss_B[unknown].sum().backward()
            assert all(w.grad is None or not w.grad.any() for w in made.model.parameters())
        seen += len(unknown)
    assert seen == 4


def test_evaluation_is_nats_for_each_word_that_can_be_written(stores):
    made, dev = task(stores), stores[1]
    written = [k for k, u in enumerate(dev.utterances) if "WHAT" not in u.text]
    assert len(written) == 6
    words = sum(len(dev.utterances[k].text.split()) for k in written)
    expected = sum(nats(made, dev, k) for k in written) / words
    assert made.evaluate(made.model) == pytest.approx(expected, rel=1e-3)
    assert not made.score_is_rate


def test_without_a_text_that_can_be_written_there_is_no_score(stores):
    made = task(stores)
    none = RescorerTask(
        SETTINGS, made.model, made.upper, made.batches, made.dev, lambda _: None, made._texts
    )
    assert math.isnan(none.evaluate(none.model))


def test_smoothed_labels_ask_for_a_little_of_every_piece(stores):
    plain, smooth = task(stores), task(stores, replace(SETTINGS, smoothing=0.4))
    batch = batches_of(plain)[0]
    given_BU, wanted_BU, counts_BU = plain._targets(batch)
    with torch.no_grad():
        log_probs_BUV = plain._logits(plain.model, batch, given_BU).log_softmax(dim=2)
        found_B = smooth.losses(batch, 1).terms["pieces"]
    own_BU = log_probs_BUV.gather(2, wanted_BU[:, :, None])[:, :, 0]
    expected_B = -((0.6 * own_BU + 0.4 * log_probs_BUV.mean(dim=2)) * counts_BU).sum(dim=1)
    torch.testing.assert_close(found_B, expected_B, rtol=1e-4, atol=1e-4)


def test_wrong_pieces_are_read_but_never_wanted_and_change_with_the_update(stores):
    made = task(stores, replace(SETTINGS, wrong_pieces=0.5))
    batch = batches_of(made)[0]
    with torch.no_grad():
        first, again, later = (made.losses(batch, k).terms["pieces"] for k in (1, 1, 2))
        plain = task(stores).losses(batch, 1).terms["pieces"]
    assert torch.equal(first, again)
    assert not torch.allclose(first, later)
    assert not torch.allclose(first, plain)


def test_batches_and_losses_are_the_same_for_the_same_seed(stores):
    settings = replace(SETTINGS, smoothing=0.1, wrong_pieces=0.3)
    one, other = (task(stores, settings, masks=True) for _ in range(2))
    assert one.plan(3) == other.plan(3) != one.plan(4)
    assert one.identity == other.identity != ""
    for group in one.plan(3):
        first, second = one.batch(group, 3), other.batch(group, 3)
        assert first.utterance_ids == second.utterance_ids
        assert torch.equal(first.features_BTF, second.features_BTF)
        losses = [each.losses(b, 7).terms["pieces"] for each, b in ((one, first), (other, second))]
        assert torch.equal(*losses)


def test_half_the_digits_say_nearly_the_same(stores):
    need_bfloat16()
    made = task(stores, replace(SETTINGS, precision="bfloat16"))
    assert made.evaluate(made.model) == pytest.approx(task(stores).evaluate(made.model), rel=0.05)


def test_seconds_are_those_of_the_speech(stores):
    made = task(stores)
    heard = sum(made.heard_seconds(batch) for batch in batches_of(made))
    spoken = sum(u.num_frames for u in stores[0].utterances) * 0.01
    assert heard == pytest.approx(spoken, rel=0.1)
