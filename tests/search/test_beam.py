# SPDX-License-Identifier: Apache-2.0
"""Beam search against greedy search on one side and all alignments on the other.

Dimensions: B streams, T frames, D width, V vocabulary.
"""

import copy
import itertools
import math
from collections import defaultdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.models.transducer import Transducer
from evenear.search import BeamConfig, BeamSearch, GreedySearch, beam_search, greedy_search
from laws import random_features, random_projected, tiny_transducer

laws = settings(deadline=None, max_examples=10, derandomize=True)
WIDE = BeamConfig(width=10_000, max_symbols_per_frame=2, max_gap=math.inf)


def small_model(predictor: str = "lstm", seed: int = 0) -> Transducer:
    return tiny_transducer("lstm", predictor, vocabulary_size=4, blank_id=2, seed=seed)


@torch.no_grad()
def all_alignments(model: Transducer, projected_TD: torch.Tensor, limit: int) -> dict:
    """Every token sequence with the frames and the log-probability of each of its alignments."""
    others = [v for v in range(4) if v != model.blank_id]
    per_frame = [p for n in range(limit + 1) for p in itertools.product(others, repeat=n)]
    tables = {}

    def log_probs(t: int, tokens: tuple[int, ...]) -> list[float]:
        if (t, tokens) not in tables:
            prefix = torch.tensor([tokens], dtype=torch.int64)
            logits_V = model.joiner(projected_TD[t], model.predict(prefix)[0, -1])
            tables[t, tokens] = logits_V.double().log_softmax(dim=0).tolist()
        return tables[t, tokens]

    alignments = defaultdict(list)
    for alignment in itertools.product(per_frame, repeat=len(projected_TD)):
        tokens, frames, score = (), (), 0.0
        for t, emitted in enumerate(alignment):
            for token in emitted:
                score += log_probs(t, tokens)[token]
                tokens, frames = (*tokens, token), (*frames, t)
            score += log_probs(t, tokens)[model.blank_id]
        alignments[tokens].append((score, frames))
    return alignments


def all_readings(model: Transducer, projected_TD: torch.Tensor, limit: int) -> dict[tuple, float]:
    """Log-probability of every token sequence: the sum over its alignments."""
    return {
        tokens: torch.tensor([score for score, _ in found], dtype=torch.float64).logsumexp(0).item()
        for tokens, found in all_alignments(model, projected_TD, limit).items()
    }


@pytest.mark.parametrize("predictor", ["lstm", "stateless"])
@pytest.mark.parametrize("seed", [0, 1])
def test_an_unlimited_beam_sums_every_alignment(predictor, seed):
    model = small_model(predictor, seed)
    projected_BTD = random_projected(model, 3, seed=seed)
    expected = all_readings(model, projected_BTD[0], limit=2)
    search = BeamSearch(model, WIDE)
    (state,) = search.step(projected_BTD, [search.initial_state()])
    found = {h.tokens: h.log_prob for h in search.n_best(state)}
    assert found.keys() == expected.keys()
    assert found == pytest.approx(expected, abs=2e-4)
    ranked = sorted(expected, key=lambda tokens: -expected[tokens])
    assert search.best(state).tokens == ranked[0]
    assert sum(math.exp(score) for score in found.values()) <= 1 + 1e-4


def test_merged_readings_keep_the_times_of_the_likelier_one():
    """With one token and two frames there are two alignments; both orders must occur."""
    seen = set()
    for seed in range(3):
        model = small_model()
        projected_BTD = random_projected(model, 2, seed=seed)
        search = BeamSearch(model, WIDE)
        (state,) = search.step(projected_BTD, [search.initial_state()])
        found = {h.tokens: h.frames for h in search.n_best(state)}
        for tokens, alignments in all_alignments(model, projected_BTD[0], limit=1).items():
            if len(tokens) == 1:
                assert found[tokens] == max(alignments)[1]
                seen.add(found[tokens])
    assert seen == {(0,), (1,)}


@pytest.mark.parametrize("seed", range(2))
def test_a_narrow_beam_never_claims_more_than_the_exact_probability(seed):
    model = small_model(seed=seed)
    projected_BTD = random_projected(model, 3, seed=seed)
    expected = all_readings(model, projected_BTD[0], limit=2)
    for width in (1, 2, 8):
        search = BeamSearch(model, BeamConfig(width=width, max_symbols_per_frame=2))
        (state,) = search.step(projected_BTD, [search.initial_state()])
        assert len(state.hypotheses) <= width
        for hypothesis in search.n_best(state):
            assert hypothesis.log_prob <= expected[hypothesis.tokens] + 1e-4


@pytest.mark.parametrize("predictor", ["lstm", "stateless"])
@pytest.mark.parametrize("limit", [1, 4])
def test_a_beam_of_one_is_greedy_search(predictor, limit):
    model = tiny_transducer(predictor=predictor)
    features_BTF = random_features(80, batch_size=3)
    encoded = model.encode(features_BTF, torch.tensor([80, 50, 9]))
    config = BeamConfig(width=1, max_symbols_per_frame=limit)
    greedy = greedy_search(model, encoded, max_symbols_per_frame=limit)
    beam = beam_search(model, encoded, config)
    assert any(h.tokens for h in greedy)
    for first, second in zip(greedy, beam, strict=True):
        assert first.tokens == second.tokens
        assert first.frames == second.frames
        assert first.log_probs == pytest.approx(second.log_probs, abs=1e-4)
        assert first.log_prob == pytest.approx(second.log_prob, abs=1e-3)


def test_a_wider_beam_finds_readings_at_least_as_probable():
    """Not a theorem for each utterance, but it holds for most, and for all of them together."""
    model = tiny_transducer("convrnn-reduced-2")
    encoded = model.encode(random_features(40, batch_size=20), torch.full((20,), 40))
    scores = [
        torch.tensor([h.log_prob for h in beam_search(model, encoded, BeamConfig(width=width))])
        for width in (1, 8)
    ]
    assert (scores[1] >= scores[0] - 1e-4).float().mean() >= 0.9
    assert scores[1].sum() > scores[0].sum() + 0.1


def test_hypotheses_are_distinct_sorted_and_consistent():
    model = tiny_transducer()
    search = BeamSearch(model, BeamConfig(width=8))
    (state,) = search.step(random_projected(model, 30), [search.initial_state()])
    readings = search.n_best(state)
    assert len({h.tokens for h in readings}) == len(readings) == 8
    assert [h.log_prob for h in readings] == sorted((h.log_prob for h in readings), reverse=True)
    for h in readings:
        assert len(h.tokens) == len(h.frames) == len(h.log_probs)
        assert list(h.frames) == sorted(h.frames)
        assert all(0 <= f < 30 for f in h.frames)
        assert all(p <= 0 for p in h.log_probs)
        assert model.blank_id not in h.tokens


def test_a_small_gap_drops_what_is_far_behind():
    model = tiny_transducer()
    projected_BTD = random_projected(model, 30)
    counts = []
    for gap in (0.5, 100.0):
        search = BeamSearch(model, BeamConfig(width=8, max_gap=gap))
        (state,) = search.step(projected_BTD, [search.initial_state()])
        scores = [h.score for h in state.hypotheses]
        assert min(scores) > max(scores) - gap
        counts.append(len(scores))
    assert counts[0] < counts[1] == 8


class FavoriteToken:
    """A language model that wants one token after any other."""

    def __init__(self, size: int, token: int) -> None:
        self.log_probs_V = torch.full((size,), -8.0)
        self.log_probs_V[token] = -0.01

    def next_log_probs(self, tokens):
        return self.log_probs_V


def test_a_language_model_pulls_towards_its_tokens_in_proportion_to_its_weight():
    model = tiny_transducer()
    encoded = model.encode(random_features(60, batch_size=4), torch.full((4,), 60))
    language_model = FavoriteToken(40, 25)
    shares = []
    for weight in (0.0, 0.2, 0.5):
        config = BeamConfig(width=4, lm_weight=weight, insertion_bonus=weight * 4)
        tokens = [t for h in beam_search(model, encoded, config, language_model) for t in h.tokens]
        shares.append(tokens.count(25) / len(tokens))
    assert shares[0] < shares[1] < shares[2]


def test_scores_are_the_model_plus_what_each_token_adds():
    model = tiny_transducer()
    config = BeamConfig(width=4, lm_weight=0.7, insertion_bonus=0.3, internal_lm_weight=0.2)
    language_model = FavoriteToken(40, 25)
    search = BeamSearch(model, config, language_model)
    (state,) = search.step(random_projected(model, 25), [search.initial_state()])
    best = state.hypotheses[0]
    expected = 0.0
    with torch.no_grad():
        for u, token in enumerate(best.reading.tokens):
            prefix = torch.tensor([best.reading.tokens[:u]], dtype=torch.int64)
            logits_V = model.joiner(model.joiner.encoder_proj.bias, model.predict(prefix)[0, -1])
            logits_V[model.blank_id] = -math.inf
            expected += 0.7 * language_model.log_probs_V[token].item() + 0.3
            expected -= 0.2 * logits_V.log_softmax(dim=0)[token].item()
    assert best.reading.tokens
    assert best.extra == pytest.approx(expected, abs=1e-3)
    assert best.score == pytest.approx(best.reading.log_prob + expected, abs=1e-3)


def test_an_insertion_bonus_buys_tokens():
    model = tiny_transducer()
    encoded = model.encode(random_features(60, batch_size=4), torch.full((4,), 60))
    counts = [
        sum(len(h.tokens) for h in beam_search(model, encoded, BeamConfig(insertion_bonus=bonus)))
        for bonus in (-2.0, 0.0, 2.0)
    ]
    assert counts[0] < counts[1] < counts[2]


@laws
@given(cuts=st.lists(st.integers(0, 30), max_size=4), seed=st.integers(0, 2))
def test_chunks_give_the_same_hypotheses(cuts, seed):
    model = tiny_transducer()
    search = BeamSearch(model, BeamConfig(width=4, insertion_bonus=0.2))
    projected_BTD = random_projected(model, 30, batch_size=2, seed=seed)
    whole = search.step(projected_BTD, [search.initial_state() for _ in range(2)])
    states = [search.initial_state() for _ in range(2)]
    for chunk_BTD in projected_BTD.tensor_split(sorted(cuts), dim=1):
        states = search.step(chunk_BTD, states)
    for first, second in zip(whole, states, strict=True):
        assert [h.tokens for h in search.n_best(first)] == [h.tokens for h in search.n_best(second)]
        assert first.num_frames == second.num_frames == 30


def test_strangers_in_a_batch_do_not_meet():
    model = tiny_transducer()
    search = BeamSearch(model)
    projected_BTD = random_projected(model, 24, batch_size=3)
    states = []
    for b, heard in enumerate((0, 5, 12)):
        states += search.step(projected_BTD[b : b + 1, :heard], [search.initial_state()])
    together = search.step(projected_BTD[:, 12:], states)
    for b, state in enumerate(states):
        (alone,) = search.step(projected_BTD[b : b + 1, 12:], [state])
        assert [h.tokens for h in search.n_best(alone)] == [
            h.tokens for h in search.n_best(together[b])
        ]
        assert alone.num_frames == together[b].num_frames


@pytest.mark.parametrize("kind", [GreedySearch, BeamSearch])
def test_a_step_does_not_touch_its_input_state(kind):
    model = tiny_transducer()
    search = kind(model)
    projected_BTD = random_projected(model, 20)
    (state,) = search.step(projected_BTD[:, :8], [search.initial_state()])
    before = copy.deepcopy(state)
    first = search.step(projected_BTD[:, 8:], [state])
    second = search.step(projected_BTD[:, 8:], [before])
    assert search.best(first[0]) == search.best(second[0])
    assert str(state) == str(before)


def test_a_restart_forgets_the_words_of_every_hypothesis_but_not_the_clock():
    model = tiny_transducer()
    search = BeamSearch(model)
    projected_BTD = random_projected(model, 40)
    (state,) = search.step(projected_BTD[:, :20], [search.initial_state()])
    (after,) = search.step(projected_BTD[:, 20:], [search.restart(state)])
    (fresh,) = search.step(projected_BTD[:, 20:], [search.initial_state()])
    assert search.best(after).tokens == search.best(fresh).tokens
    assert search.best(after).frames == tuple(20 + t for t in search.best(fresh).frames)


@torch.no_grad()
def test_stale_readings_are_dropped_and_the_empty_one_stays():
    model = small_model(seed=3)
    search = BeamSearch(model, WIDE)
    (state,) = search.step(random_projected(model, 3), [search.initial_state()])
    readings = search.n_best(state)
    assert any(r.tokens and r.frames[-1] < 2 for r in readings)
    kept = search.n_best(search.without_stale(state, 2))
    assert kept == [r for r in readings if not r.tokens or r.frames[-1] >= 2]
    assert any(not r.tokens for r in kept)
    greedy = GreedySearch(model)
    state = greedy.initial_state()
    assert greedy.without_stale(state, 2) is state


def test_committed_tokens_change_nothing_of_what_follows():
    """Not even for a language model, which still sees them."""
    model = tiny_transducer("lstm")

    class Parity:
        """Likes tokens that are as even as the one before the last."""

        def next_log_probs(self, tokens):
            liked_V = torch.arange(40) % 2 == (tokens[-2] if len(tokens) > 1 else 0) % 2
            return torch.where(liked_V, -3.0, -5.0)

    searching = BeamSearch(model, BeamConfig(width=2, lm_weight=0.4), Parity())
    projected_BTD = random_projected(model, 150, seed=3)
    plain = cut = searching.initial_state()
    handed_out: tuple[int, ...] = ()
    num_commits = 0
    for t in range(150):
        (plain,) = searching.step(projected_BTD[:, t : t + 1], [plain])
        (cut,) = searching.step(projected_BTD[:, t : t + 1], [cut])
        count = searching.num_shared(cut)
        best = searching.best(cut)
        assert all(one.tokens[:count] == best.tokens[:count] for one in searching.n_best(cut))
        if count:
            cut = searching.commit(cut, best, count)
            handed_out, num_commits = handed_out + best.tokens[:count], num_commits + 1
        assert handed_out + searching.best(cut).tokens == searching.best(plain).tokens
        assert searching.best(cut).log_prob == pytest.approx(searching.best(plain).log_prob)
    assert num_commits > 1
    assert len(cut.committed) <= 32


def test_readings_that_begin_otherwise_are_dropped_by_a_commit():
    model = tiny_transducer("lstm")
    searching = BeamSearch(model, BeamConfig(width=6))
    (state,) = searching.step(random_projected(model, 12, seed=1), [searching.initial_state()])
    best, readings = searching.best(state), searching.n_best(state)
    kept = [one.tokens[2:] for one in readings if one.tokens[:2] == best.tokens[:2]]
    after = searching.commit(state, best, 2)
    assert [one.tokens for one in searching.n_best(after)] == kept
    assert searching.best(after).frames == best.frames[2:]
