# SPDX-License-Identifier: Apache-2.0
"""An epoch is a pure function of store, seed and number, and every utterance is in it."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.config import replace
from evenear.data.batching.augmentation import FrameAugmentation
from evenear.data.batching.batches import Batch, BatchConfig, BatchMaker, Pick, collate
from evenear.data.batching.store import FrameStore, StoreConfig, build_store
from evenear.data.corpora.manifests import Utterance
from evenear.errors import ManifestError
from evenear.features import FeatureConfig, stack_frames
from evenear.lexicon import Lexicon
from evenear.shapes import few_sizes
from laws import tiny_tokenizer
from tiny_corpora import write_tone

FEATURES = FeatureConfig(num_mel_bins=8)
WORDS = ["THE CAT", "A DOG RAN", "THE MOON", "WAIT", "MEET ME AT THE STATION"]
NUM_UTTERANCES = 40
MANY_MASKS = FrameAugmentation(warp_chance=1.0, tempo_chance=1.0, min_time_masks=3)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> FrameStore:
    """Forty utterances of 0.2 to 1.8 seconds, the first thirty in three copies each."""
    folder = tmp_path_factory.mktemp("batches")
    found = []
    for k in range(NUM_UTTERANCES):
        seconds = 0.2 + 0.04 * k
        attributes = {"synthesized": k >= 30}
        audio = write_tone(folder / f"{k}.wav", seconds)
        text = WORDS[k % len(WORDS)]
        found.append(Utterance(f"u{k}", "ann", text, audio, 0.0, seconds, attributes))
    return build_store(found, Path(folder) / "store", StoreConfig(features=FEATURES, copies=3))


def maker(store: FrameStore, *, seed: int = 0, repeats=None, given=None, **changes) -> BatchMaker:
    config = BatchConfig(**{"seconds": 6.0, "min_seconds": 0.0, "augmentation": None, **changes})
    return BatchMaker(
        store, tiny_tokenizer(), config, FEATURES, seed=seed, repeats=repeats, **(given or {})
    )


def ids_of(store: FrameStore, plan: list[list[Pick]]) -> Counter[str]:
    return Counter(store.utterances[index].utterance_id for group in plan for index in group)


def same(first: Batch, second: Batch) -> bool:
    return first.utterance_ids == second.utterance_ids and all(
        torch.equal(a, b) for a, b in zip(first[1:5], second[1:5], strict=True)
    )


@settings(max_examples=30)
@given(st.integers(0, 2**40), st.integers(0, 500))
def test_an_epoch_holds_every_utterance_once(store, seed, epoch):
    plan = maker(store, seed=seed).plan(epoch)
    assert ids_of(store, plan) == {f"u{k}": 1 for k in range(NUM_UTTERANCES)}


@settings(max_examples=40)
@given(st.integers(0, 2**40), st.floats(1.0, 60.0), st.integers(1, 20))
def test_no_batch_exceeds_its_limits(store, seed, seconds, most):
    for group in maker(store, seed=seed, seconds=seconds, max_utterances=most).plan(3):
        longest = max(store.utterances[index].num_frames for index in group)
        assert 1 <= len(group) <= most
        assert len(group) == 1 or longest * len(group) <= seconds * 100


def test_a_limit_below_every_utterance_leaves_each_alone(store):
    plan = maker(store, seconds=0.1).plan(0)
    assert [len(group) for group in plan] == [1] * NUM_UTTERANCES


def test_batches_are_as_full_as_the_next_utterance_allows(store):
    plan = maker(store, seconds=6.0, max_utterances=64).plan(0)
    speech = sum(store.utterances[i].num_frames for group in plan for i in group) / 100
    assert len(plan) <= 2 * speech / 6.0


def test_utterances_of_a_batch_are_of_similar_length(store):
    plan = maker(store).plan(0)
    frames = [[store.utterances[i].num_frames for i in group] for group in plan]
    real = sum(map(sum, frames))
    padded = sum(max(group) * len(group) for group in frames)
    assert real / padded > 0.8


def test_batches_of_easy_epochs_may_be_smaller(store):
    asked = maker(store, seconds=6.0, easy_epochs=1, easy_batch_seconds=1.5, easy_seconds=1.0)
    easy, later = asked.plan(0), asked.plan(1)
    longest = [max(store.utterances[i].num_frames for i in group) * len(group) for group in easy]
    assert max(longest) <= 150
    assert len(easy) > len(later) / 2
    assert later == maker(store, seconds=6.0).plan(1)


def test_batches_of_one_length_are_of_one_size(store):
    asked = maker(store, seconds=6.0, repeats={f"u{k}": 20.0 for k in range(NUM_UTTERANCES)})
    shapes = Counter(asked.batch(group, 0).features_BTF.shape[:2] for group in asked.plan(0))
    # Nine lengths of stacked frames (up to 1.96 s), and at each what was left of the one before.
    assert len({length for _, length in shapes}) == 9
    assert all(size == 200 // length for (size, length), n in shapes.items() if n > 1)
    assert sum(1 for n in shapes.values() if n == 1) <= 9


def test_the_plan_is_the_same_each_time_it_is_asked_for(store):
    asked = maker(store, seed=5)
    third = asked.plan(3)
    assert asked.plan(1) != third
    assert asked.plan(3) == third
    assert maker(store, seed=5).plan(3) == third
    assert maker(store, seed=6).plan(3) != third


def test_batches_do_not_come_in_order_of_length(store):
    lengths = [store.utterances[group[0]].num_frames for group in maker(store).plan(0)]
    assert lengths != sorted(lengths)
    assert lengths != sorted(lengths, reverse=True)


def test_epochs_take_turns_with_the_copies_of_an_utterance(store):
    asked = maker(store)
    copies: dict[str, set[int]] = {}
    for epoch in range(30):
        for group in asked.plan(epoch):
            for index in group:
                row = store.utterances[index]
                copies.setdefault(row.utterance_id, set()).add(row.copy)
    assert all(copies[f"u{k}"] == {0, 1, 2} for k in range(30))
    assert all(copies[f"u{k}"] == {0} for k in range(30, NUM_UTTERANCES))


def test_whole_repeats_come_that_often_in_different_copies(store):
    plan = maker(store, repeats={"u3": 2.0, "u35": 4.0}).plan(0)
    counts = ids_of(store, plan)
    assert (counts["u3"], counts["u35"], counts["u4"]) == (2, 4, 1)
    copies = [store.utterances[pick] for group in plan for pick in group]
    assert len({row.copy for row in copies if row.utterance_id == "u3"}) == 2


def test_a_fraction_of_a_repeat_comes_in_that_part_of_the_epochs(store):
    asked = maker(store, repeats={"u1": 0.25, "u2": 1.5, "u3": 0.0})
    counts = sum((ids_of(store, asked.plan(epoch)) for epoch in range(400)), Counter())
    # Binomial: 400 draws of chance 0.25 have a deviation of 8.7, of chance 0.5 of 10.
    assert abs(counts["u1"] - 100) < 45
    assert abs(counts["u2"] - 600) < 50
    assert (counts["u3"], counts["u0"]) == (0, 400)


def test_too_short_and_too_long_utterances_are_left_out(store):
    plan = maker(store, min_seconds=0.5, max_seconds=1.0).plan(0)
    taken = [store.utterances[index] for group in plan for index in group]
    assert taken
    assert all(50 <= row.num_frames <= 100 for row in taken)


def test_a_store_without_a_usable_utterance_is_refused(store):
    with pytest.raises(ManifestError, match="between 50"):
        maker(store, min_seconds=50.0, max_seconds=60.0)


def test_a_batch_holds_stacked_frames_and_tokens_and_nothing_in_the_padding(store):
    asked, tokenizer = maker(store), tiny_tokenizer()
    group = asked.plan(0)[0]
    batch = asked.batch(group, 0)
    longest = few_sizes(int(batch.lengths_B.max()))
    assert batch.features_BTF.shape == (len(group), longest, FEATURES.dim)
    for row, index in enumerate(group):
        frames_TF = stack_frames(store.frames(index), FEATURES)
        length = int(batch.lengths_B[row])
        assert length == len(frames_TF)
        np.testing.assert_array_equal(batch.features_BTF[row, :length].numpy(), frames_TF)
        assert not batch.features_BTF[row, length:].any()
        tokens = tokenizer.encode(store.utterances[index].text)
        assert batch.targets_BU[row, : len(tokens)].tolist() == tokens
        assert batch.target_lengths_B[row] == len(tokens)
        assert batch.utterance_ids[row] == store.utterances[index].utterance_id


def test_an_epoch_can_be_entered_anywhere(store):
    asked = maker(store, augmentation=MANY_MASKS)
    whole = list(asked.batches(2))
    rest = list(maker(store, augmentation=MANY_MASKS).batches(2, first=3))
    assert len(rest) == len(whole) - 3 > 0
    assert all(same(a, b) for a, b in zip(whole[3:], rest, strict=True))


def rows_of(batch: Batch) -> dict[str, bytes]:
    return {
        name: batch.features_BTF[row, : int(batch.lengths_B[row])].numpy().tobytes()
        for row, name in enumerate(batch.utterance_ids)
    }


def test_augmentation_depends_on_neither_order_nor_company(store):
    asked = maker(store, augmentation=MANY_MASKS)
    group = asked.plan(0)[0]
    assert len(group) > 2
    rows = rows_of(asked.batch(group, 0))
    assert rows_of(asked.batch(group[::-1], 0)) == rows
    assert rows_of(asked.batch(group[1:2], 0)).items() <= rows.items()


def test_augmentation_does_not_depend_on_the_size_of_batches(store):
    frames: list[dict[str, bytes]] = []
    for seconds in (3.0, 12.0):
        asked = maker(store, augmentation=MANY_MASKS, seconds=seconds)
        rows: dict[str, bytes] = {}
        for batch in asked.batches(0):
            rows |= rows_of(batch)
        frames.append(rows)
    assert frames[0] == frames[1]


def test_augmentation_is_fresh_in_each_epoch(store):
    asked = maker(store, augmentation=MANY_MASKS)
    group = asked.plan(0)[0]
    first, second = rows_of(asked.batch(group, 0)), rows_of(asked.batch(group, 1))
    assert all(first[name] != second[name] for name in first)


def test_an_utterance_that_comes_twice_in_an_epoch_is_varied_twice(store):
    asked = maker(store, augmentation=MANY_MASKS, repeats={"u38": 3.0})
    heard = [rows_of(asked.batch([item], 0)) for group in asked.plan(0) for item in group]
    of_it = [rows["u38"] for rows in heard if "u38" in rows]
    assert len(of_it) == 3
    assert len(set(of_it)) == 3


def test_augmentation_follows_the_seed_of_the_run(store):
    group = [Pick(5), Pick(6)]
    first, second = (
        rows_of(maker(store, augmentation=MANY_MASKS, seed=seed).batch(group, 0)) for seed in (1, 2)
    )
    assert all(first[name] != second[name] for name in first)


@given(
    st.lists(
        st.tuples(st.integers(1, 30), st.lists(st.integers(1, 99), max_size=6)),
        min_size=1,
        max_size=4,
    )
)
def test_padding_adds_nothing_and_loses_nothing(rows):
    frames = [np.full((length, 4), row + 1.0, np.float32) for row, (length, _) in enumerate(rows)]
    targets = [tokens for _, tokens in rows]
    batch = collate([f"u{k}" for k in range(len(rows))], frames, targets)
    assert batch.features_BTF.dtype == torch.float32
    assert batch.lengths_B.tolist() == [length for length, _ in rows]
    assert batch.target_lengths_B.tolist() == [len(tokens) for tokens in targets]
    for row, (length, tokens) in enumerate(rows):
        assert (batch.features_BTF[row, :length] == row + 1).all()
        assert not batch.features_BTF[row, length:].any()
        assert batch.targets_BU[row].tolist()[: len(tokens)] == tokens
        assert not batch.targets_BU[row, len(tokens) :].any()


def test_settings_that_make_no_batch_are_refused():
    with pytest.raises(ValueError, match="greater than 0"):
        replace(BatchConfig(), seconds=0.0)


def test_easy_epochs_hold_short_utterances_as_they_are_stored(store):
    asked = maker(store, augmentation=MANY_MASKS, easy_epochs=2, easy_seconds=1.0)
    for epoch in (0, 1):
        plan = asked.plan(epoch)
        taken = [store.utterances[pick] for group in plan for pick in group]
        assert 0 < len(taken) < NUM_UTTERANCES
        # One copy may be slower than another, so an utterance is as long as its first copy.
        assert {row.utterance_id for row in taken} == {
            row.utterance_id for row in store.utterances if row.copy == 0 and row.num_frames <= 100
        }
        batch = asked.batch(plan[0], epoch)
        for row, pick in enumerate(plan[0]):
            frames_TF = stack_frames(store.frames(pick.stored), FEATURES)
            found_TF = batch.features_BTF[row, : len(frames_TF)].numpy()
            np.testing.assert_array_equal(found_TF, frames_TF)
    assert sum(map(len, asked.plan(2))) == NUM_UTTERANCES
    group = asked.plan(2)[0]
    assert rows_of(asked.batch(group, 2)) != rows_of(maker(store).batch(group, 2))


def test_phones_are_those_of_what_is_said(store):
    """Also in spliced sentences; and of none with a word that the dictionary does not have."""
    words = sorted({word for text in WORDS for word in text.split()} - {"MOON"})
    lexicon = Lexicon(tuple("ABCDEFGHIJ"), {word: ((k + 1, 1),) for k, word in enumerate(words)})
    splice_points = {
        (one.utterance_id, one.copy): [one.num_frames // 2]
        for one in store.utterances
        if len(one.text.split()) > 1
    }
    tokenizer, spliced = tiny_tokenizer(), 0
    making = maker(
        store, given={"lexicon": lexicon, "splice_points": splice_points}, splice_chance=0.5
    )
    for batch in making.batches(0):
        assert batch.phones_BP is not None
        assert batch.phone_lengths_B is not None
        for row, utterance_id in enumerate(batch.utterance_ids):
            text = tokenizer.decode(batch.targets_BU[row, : batch.target_lengths_B[row]].tolist())
            spliced += text != WORDS[int(utterance_id[1:]) % len(WORDS)]
            said = batch.phones_BP[row, : batch.phone_lengths_B[row]].tolist()
            expected = (
                []
                if "MOON" in text
                else [p for w in text.split() for p in lexicon.pronunciations[w][0]]
            )
            assert said == expected
    assert spliced > 5
    assert next(maker(store).batches(0)).phones_BP is None


def test_what_is_in_no_epoch_is_counted_by_why_and_not_in_the_hours(tmp_path):
    found = []
    for name, seconds, text in (
        ("short", 0.2, "WAIT"),
        ("long", 3.0, "WAIT"),
        ("much", 0.5, "MEET ME AT THE STATION " * 5),
        ("fine", 1.0, "MEET ME AT THE STATION"),
    ):
        audio = write_tone(tmp_path / f"{name}.wav", seconds)
        found.append(Utterance(name, "ann", text.strip(), audio, 0.0, seconds, {}))
    stored = build_store(found, tmp_path / "store", StoreConfig(features=FEATURES, augment=False))
    batches = maker(stored, min_seconds=0.3, max_seconds=2.0)
    assert ids_of(stored, batches.plan(0)) == {"fine": 1}
    assert batches.left_out == {
        "shorter than 0.3 s": 1,
        "longer than 2 s": 1,
        "with a text of more than 80 tokens a second": 1,
    }
    assert batches.hours == pytest.approx(1.0 / 3600, rel=0.05)
    with pytest.raises(ManifestError, match=r"none is: 4 longer than 0\.1 s"):
        maker(stored, max_seconds=0.1)
