# SPDX-License-Identifier: Apache-2.0
"""Search for words against all that could have been said, path by path.

Dimensions: B streams, T steps, P phones with blank first, D width, N pairs, K words of context.
"""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.config import replace
from evenear.errors import ConfigError
from evenear.models.transducer import Transducer
from evenear.search import LexiconConfig, LexiconSearch, PronunciationTree
from evenear.search.judgement import begin_context, log_probs
from evenear.search.rescoring import Rescoring
from evenear.seeding import rng_for, torch_rng_for
from laws import chunkings, random_projected, tiny_transducer

laws = settings(deadline=None, max_examples=10, derandomize=True)
NUM_PHONES = 3
WAYS = [(1, (1,)), (2, (1, 2)), (2, (3, 2)), (3, (2, 2)), (4, (3,)), (5, (3,))]
SPELLINGS = [(), (7,), (8, 9), (10, 11, 12), (13,), (14,)]
WIDE = LexiconConfig(width=10**6, max_gap=math.inf, lm_weight=0.8, word_bonus=-0.3)
PENALIZED = replace(WIDE, blank_penalty=0.6)


class Table:
    """A language model of words that is a table, with one word of context."""

    vocabulary_size = 6

    def __init__(self, seed: int = 0) -> None:
        logits = rng_for(seed, "words").normal(size=(7, 6))
        self.log_probs = logits - np.log(np.exp(logits).sum(1, keepdims=True))

    def begin(self) -> np.ndarray:
        return np.array([6])

    def log_probs_of(self, contexts_NK: np.ndarray, tokens_N: np.ndarray) -> np.ndarray:
        return self.log_probs[contexts_NK[:, 0], tokens_N]


def model(encoder: str = "lstm") -> Transducer:
    """One that says what the seed wants, about as often as words are said."""
    tiny = tiny_transducer(encoder)
    made = Transducer(replace(tiny.config, phones=NUM_PHONES)).eval()
    made.load_state_dict(tiny.state_dict(), strict=False)
    assert made.phones is not None
    rng = torch_rng_for(0, "phones")
    with torch.no_grad():
        made.phones.weight.normal_(std=1.5, generator=rng)
        made.phones.bias.zero_()
    return made


def search(
    settings: LexiconConfig = WIDE, encoder: str = "lstm", rescoring: Rescoring | None = None
) -> LexiconSearch:
    table = Table()
    tree = PronunciationTree(WAYS, table.log_probs.max(axis=0))
    return LexiconSearch(model(encoder), tree, table, SPELLINGS, settings, rescoring)


def said(path: tuple[int, ...]) -> list[int]:
    return [phone for phone, _ in itertools.groupby(path) if phone]


def parsings(phones: list[int]) -> list[tuple[int, ...]]:
    """All word sequences that are said like this."""
    if not phones:
        return [()]
    found = []
    for word, way in WAYS:
        if tuple(phones[: len(way)]) == way:
            found += [(word, *rest) for rest in parsings(phones[len(way) :])]
    return found


def worth(words: tuple[int, ...], table: Table, settings: LexiconConfig) -> float:
    pairs = itertools.pairwise((6, *words))
    score = sum(table.log_probs[before, word] for before, word in pairs)
    return settings.lm_weight * score + settings.word_bonus * len(words)


def exhaustive(log_probs_TP: np.ndarray, settings: LexiconConfig = WIDE) -> dict:
    """The score of the best path of each sequence of words."""
    scores, table = {}, Table()
    for path in itertools.product(range(NUM_PHONES + 1), repeat=len(log_probs_TP)):
        log_prob = sum(log_probs_TP[t, phone] for t, phone in enumerate(path))
        log_prob -= settings.blank_penalty * path.count(0)
        for words in parsings(said(path)):
            score = log_prob + worth(words, table, settings)
            scores[words] = max(scores.get(words, -math.inf), score)
    return scores


def words_of(searching: LexiconSearch, tokens: tuple[int, ...]) -> tuple[int, ...]:
    """Words by their spellings, none of which begins another."""
    spelled = {tuple(each): word for word, each in enumerate(searching.spellings) if each}
    found, rest = [], list(tokens)
    while rest:
        (word,) = (w for each, w in spelled.items() if tuple(rest[: len(each)]) == each)
        found.append(word)
        del rest[: len(searching.spellings[word])]
    return tuple(found)


@pytest.mark.parametrize("chosen", [WIDE, PENALIZED], ids=["plain", "blanks penalized"])
@pytest.mark.parametrize("seed", range(6))
def test_an_unlimited_beam_finds_the_best_of_all_paths(seed, chosen):
    searching = search(chosen)
    projected_BTD = random_projected(searching.model, 5, seed=seed)
    log_probs_TP = searching.model.phone_logits(projected_BTD)[0].log_softmax(-1).double()
    scores = exhaustive(log_probs_TP.detach().numpy(), chosen)
    (state,) = searching.step(projected_BTD, [searching.initial_state()])
    best = max(scores, key=lambda words: scores[words])
    found = searching.best(state)
    assert words_of(searching, found.tokens) == best
    ended = state.beam.scores_N[state.beam.nodes_N == 0].max()
    assert ended == pytest.approx(scores[best], abs=1e-4)
    if not chosen.blank_penalty:
        expected = scores[best] - worth(best, Table(), chosen)
        assert found.log_prob == pytest.approx(expected, abs=1e-4)


def test_the_readings_that_occur_differ():
    """Or the test above would say little."""
    searching = search()
    lengths = {
        len(
            searching.best(
                searching.step(
                    random_projected(searching.model, 5, seed=seed), [searching.initial_state()]
                )[0]
            ).tokens
        )
        for seed in range(6)
    }
    assert len(lengths) > 2


@laws
@given(data=st.data(), seed=st.integers(0, 50))
@pytest.mark.parametrize("encoder", ["lstm", "convrnn-reduced-2"])
def test_chunks_of_any_size_and_company_give_the_same(encoder, data, seed):
    searching = search(LexiconConfig(width=12), encoder)
    projected_BTD = random_projected(searching.model, 14, batch_size=3, seed=seed)
    lengths = [14, 3, 9]
    whole = searching.step(projected_BTD, [searching.initial_state()] * 3, lengths)
    for row, length in enumerate(lengths):
        state, start = searching.initial_state(), 0
        for size in data.draw(chunkings(length)):
            chunk_1TD = projected_BTD[row : row + 1, start : start + size]
            (state,) = searching.step(chunk_1TD, [state])
            start += size
        alone, together = searching.best(state), searching.best(whole[row])
        assert (alone.tokens, alone.frames) == (together.tokens, together.frames)
        assert alone.log_prob == pytest.approx(together.log_prob, abs=1e-3)
        assert state.num_frames == length


def test_no_frames_and_no_listeners_change_nothing():
    searching = search()
    nothing_BTD = torch.zeros(1, 0, searching.model.config.joiner_dim)
    state = searching.initial_state()
    assert searching.step(nothing_BTD, [state]) == [state]
    assert searching.step(torch.zeros(0, 3, searching.model.config.joiner_dim), []) == []
    assert searching.best(state).tokens == ()


def test_a_state_is_never_changed():
    searching = search(LexiconConfig(width=20))
    projected_BTD = random_projected(searching.model, 12)
    (state,) = searching.step(projected_BTD[:, :6], [searching.initial_state()])
    before, found = copy.deepcopy(state), searching.best(state)
    assert found.tokens
    searching.step(projected_BTD[:, 6:], [state])
    searching.restart(state)
    searching.without_stale(state, 3)
    searching.commit(state, found, searching.num_shared(state) or len(found.tokens))
    for name, value in before.beam._asdict().items():
        after = getattr(state.beam, name)
        if name == "words_N":
            assert [w and w.words for w in after] == [w and w.words for w in value]
            continue
        assert np.array_equal(after, value) if isinstance(value, np.ndarray) else after == value


def test_a_settled_reading_is_the_best_for_both_judges():
    weight, differ = 0.7, 0
    narrow = replace(WIDE, width=200)
    plain, both = search(narrow), search(replace(narrow, transducer_weight=weight, num_readings=99))
    for seed in range(6):
        projected_BTD = random_projected(both.model, 5, seed=seed)
        (state,) = both.step(projected_BTD[:, :2], [both.initial_state()])
        (state,) = both.step(projected_BTD[:, 2:], [state])
        judged: dict[tuple[int, ...], float] = {}
        for place in np.flatnonzero(state.beam.nodes_N == 0):
            tokens = both._reading(state.beam, int(place)).tokens
            (own,) = log_probs(both.model, projected_BTD[0], [tokens], begin_context(both.model))
            score = state.beam.scores_N[place] + weight * own
            judged[tokens] = max(judged.get(tokens, -math.inf), score)
        assert len(judged) > 5
        assert both.finalized(state).tokens == max(judged, key=lambda tokens: judged[tokens])
        (other,) = plain.step(projected_BTD, [plain.initial_state()])
        assert plain.finalized(other) == plain.best(other)
        assert both.best(state).tokens == plain.best(other).tokens
        differ += both.finalized(state).tokens != plain.best(other).tokens
    assert differ > 0


def test_what_is_kept_for_the_transducer_is_no_longer_than_its_reading():
    both = search(replace(WIDE, width=50, transducer_weight=0.5))
    projected_BTD = random_projected(both.model, 12)
    (state,) = both.step(projected_BTD, [both.initial_state()])
    assert state.heard.num_frames == 12
    kept = both.without_stale(state, 9)
    assert torch.equal(kept.heard.whole(), projected_BTD[0, 9:])
    assert both.restart(state).heard.num_frames == 0


@pytest.mark.parametrize("seed", range(6))
def test_what_all_readings_share_can_be_committed_without_changing_the_rest(seed):
    """An unlimited beam would share nothing; this one forgets what is unlikely."""
    searching = search(replace(WIDE, width=12, max_gap=9.0, transducer_weight=0.5))
    projected_BTD = random_projected(searching.model, 60, seed=seed)
    plain = cut = searching.initial_state()
    handed_out, num_commits = (), 0
    for t in range(60):
        (plain,) = searching.step(projected_BTD[:, t : t + 1], [plain])
        (cut,) = searching.step(projected_BTD[:, t : t + 1], [cut])
        count = searching.num_shared(cut)
        if count:
            best = searching.best(cut)
            assert all(
                searching._reading(cut.beam, k).tokens[:count] == best.tokens[:count]
                for k in range(len(cut.beam.nodes_N))
            )
            cut = searching.commit(cut, best, count)
            handed_out, num_commits = handed_out + best.tokens[:count], num_commits + 1
        left, whole = searching.best(cut), searching.best(plain)
        assert handed_out + left.tokens == whole.tokens
        assert whole.frames[len(handed_out) :] == left.frames
        assert np.array_equal(cut.beam.scores_N, plain.beam.scores_N)
        assert cut.beam.words_N[0] is None or len(cut.beam.words_N[0].words) < 40
    assert num_commits > 1
    assert cut.heard.num_frames < plain.heard.num_frames


def test_a_committed_reading_drops_those_that_begin_otherwise():
    searching = search(replace(WIDE, width=200, max_gap=math.inf))
    (state,) = searching.step(random_projected(searching.model, 12), [searching.initial_state()])
    assert searching.num_shared(state) == 0
    best = searching.best(state)
    first = len(SPELLINGS[words_of(searching, best.tokens)[0]])
    after = searching.commit(state, best, first)
    assert 0 < len(after.beam.nodes_N) < len(state.beam.nodes_N)
    assert searching.best(after).tokens == best.tokens[first:]
    kept = {searching._reading(state.beam, k).tokens for k in range(len(state.beam.nodes_N))}
    kept = {tokens[first:] for tokens in kept if tokens[:first] == best.tokens[:first]}
    found = {searching._reading(after.beam, k).tokens for k in range(len(after.beam.nodes_N))}
    assert found == kept


def test_however_long_one_talks_only_the_last_frames_are_kept_and_judged():
    both = search(replace(WIDE, width=8, transducer_weight=0.5))
    (state,) = both.step(random_projected(both.model, 700), [both.initial_state()])
    assert 160 <= state.heard.num_frames <= 700
    for _ in range(3):
        (state,) = both.step(random_projected(both.model, 200), [state])
        assert state.heard.num_frames <= 520
    assert both.finalized(state).tokens


def test_without_words_nothing_is_found():
    none = PronunciationTree([], np.zeros(6))
    searching = LexiconSearch(model(), none, Table(), [()] * 6)
    (state,) = searching.step(random_projected(searching.model, 9), [searching.initial_state()])
    assert searching.best(state).tokens == ()


def test_a_beam_keeps_its_width_and_its_order():
    searching = search(LexiconConfig(width=7))
    (state,) = searching.step(random_projected(searching.model, 9), [searching.initial_state()])
    assert len(state.beam.scores_N) == 7
    assert (np.diff(state.beam.scores_N) <= 0).all()


def test_tokens_of_a_word_come_where_it_is_said():
    searching = search(LexiconConfig(width=50))
    seen = set()
    for seed in range(8):
        projected_BTD = random_projected(searching.model, 25, seed=seed)
        (state,) = searching.step(projected_BTD, [searching.initial_state()])
        found = searching.best(state)
        assert list(found.frames) == sorted(found.frames)
        assert len(found.tokens) == len(found.frames) == len(found.log_probs)
        assert all(0 <= frame < 25 for frame in found.frames)
        assert all(log_prob <= 0 for log_prob in found.log_probs)
        seen |= set(found.tokens)
    assert {7, 8, 9} <= seen


def test_a_new_reading_begins_at_the_frame_the_stream_is_at():
    searching = search(LexiconConfig(width=20))
    projected_BTD = random_projected(searching.model, 12)
    (state,) = searching.step(projected_BTD[:, :5], [searching.initial_state()])
    (again,) = searching.step(projected_BTD[:, 5:], [searching.restart(state)])
    (alone,) = searching.step(projected_BTD[:, 5:], [searching.initial_state()])
    assert searching.best(again).tokens == searching.best(alone).tokens
    assert searching.best(again).frames == tuple(f + 5 for f in searching.best(alone).frames)
    assert again.num_frames == 12


def test_readings_that_ended_long_ago_go_and_an_empty_one_stays():
    searching = search(LexiconConfig(width=400, max_gap=math.inf))
    (state,) = searching.step(random_projected(searching.model, 8), [searching.initial_state()])
    kept = searching.without_stale(state, 6)
    assert 0 < len(kept.beam.scores_N) < len(state.beam.scores_N)
    assert all(word is None or word.end >= 6 for word in kept.beam.words_N)
    assert any(word is None for word in kept.beam.words_N)
    assert len(kept.beam.nodes_N) == len(kept.beam.words_N) == len(kept.beam.contexts_NK)


def test_too_many_words_for_so_long_a_context_are_refused():
    class Long(Table):
        vocabulary_size = 60_000

        def begin(self) -> np.ndarray:
            return np.full(4, -1)

    with pytest.raises(ConfigError, match="cannot be told apart"):
        LexiconSearch(model(), PronunciationTree(WAYS, np.zeros(6)), Long(), [()] * 6)
