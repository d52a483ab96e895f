# SPDX-License-Identifier: Apache-2.0
"""The loss is a mean over utterances of two losses, each of which has an oracle."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from bfloat16 import need_bfloat16
from evenear.config import replace
from evenear.data.batching.batches import Batch
from evenear.models.transducer import Transducer
from evenear.seeding import torch_rng_for
from evenear.training.objectives import TransducerObjective
from evenear.training.settings import ObjectiveConfig
from laws import FEATURES, random_features, tiny_transducer

LENGTHS = (14, 9, 20)
TARGETS = ([3, 5, 4], [], [7, 3, 3, 9, 11])


PHONES = ([1, 2, 2, 5], [], [4, 3])


def model(*, ctc: bool = True, phones: int = 0, seed: int = 0) -> Transducer:
    config = replace(tiny_transducer().config, ctc=ctc, phones=phones)
    with torch.random.fork_rng(devices=[]):
        torch.random.set_rng_state(torch_rng_for(seed, "weights").get_state())
        return Transducer(config).eval()


def batch(*rows: int) -> Batch:
    """Some of three random utterances, padded as far as the longest of them needs."""
    lengths = [LENGTHS[row] for row in rows]
    width = max([1, *(len(TARGETS[row]) for row in rows)])
    features_BTF = torch.zeros(len(rows), max(lengths), FEATURES.dim)
    targets_BU = torch.zeros(len(rows), width, dtype=torch.int64)
    for place, row in enumerate(rows):
        features_BTF[place, : LENGTHS[row]] = random_features(LENGTHS[row], seed=row)[0]
        targets_BU[place, : len(TARGETS[row])] = torch.tensor(TARGETS[row], dtype=torch.int64)
    return Batch(
        tuple(f"u{row}" for row in rows),
        features_BTF,
        torch.tensor(lengths),
        targets_BU,
        torch.tensor([len(TARGETS[row]) for row in rows]),
    )


class Means(NamedTuple):
    """Means over a batch, and their sum as the loop weighs it."""

    total: Tensor
    transducer: Tensor
    ctc: Tensor
    phones: Tensor


def means(objective: TransducerObjective, given: Batch, hidden: Tensor | None = None) -> Means:
    found = objective.losses(given, hidden).terms
    assert {term.shape for term in found.values()} == {(len(given.utterance_ids),)}
    mean = {name: term.mean() for name, term in found.items()}
    total = sum(objective.term_weights[name] * one for name, one in mean.items())
    none = torch.zeros(())
    return Means(total, *(mean.get(name, none) for name in ("transducer", "ctc", "phones")))


@torch.no_grad()
def losses(trained: Transducer, given: Batch, hidden: Tensor | None = None, **changes) -> Means:
    return means(TransducerObjective(trained, ObjectiveConfig(**changes)), given, hidden)


def test_the_total_is_the_weighted_sum_of_its_parts():
    found = losses(model(), batch(0, 1, 2), ctc_weight=0.7)
    assert found.ctc > 0
    torch.testing.assert_close(found.total, found.transducer + 0.7 * found.ctc)


def test_the_loss_is_the_mean_over_utterances_whatever_their_company():
    alone = [losses(model(), batch(row)) for row in range(3)]
    together = losses(model(), batch(0, 1, 2))
    for part in ("total", "transducer", "ctc"):
        mean = torch.stack([getattr(one, part) for one in alone]).mean()
        torch.testing.assert_close(getattr(together, part), mean, rtol=1e-5, atol=1e-5)


def _walk(log_probs_TUV: Tensor, tokens: list[int], blank: int) -> Tensor:
    """Forward probabilities of a transducer lattice, cell by cell, as Graves wrote them."""
    num_frames = len(log_probs_TUV)
    alpha: dict[tuple[int, int], Tensor] = {(0, 0): torch.tensor(0.0, dtype=torch.float64)}
    for t in range(num_frames):
        for u in range(len(tokens) + 1):
            arrivals = []
            if t > 0:
                arrivals.append(alpha[t - 1, u] + log_probs_TUV[t - 1, u, blank])
            if u > 0:
                arrivals.append(alpha[t, u - 1] + log_probs_TUV[t, u - 1, tokens[u - 1]])
            if arrivals:
                alpha[t, u] = torch.logsumexp(torch.stack(arrivals), dim=0)
    last = (num_frames - 1, len(tokens))
    return -(alpha[last] + log_probs_TUV[last][blank])


@pytest.mark.parametrize("row", [0, 1, 2])
@torch.no_grad()
def test_the_transducer_part_is_what_walking_the_lattice_gives(row):
    trained, given = model(), batch(row)
    encoded = trained.encode(given.features_BTF, given.lengths_B)
    projected_TD = trained.joiner.encoder_proj(encoded.encoded_BTD)[0, : encoded.lengths_B[0]]
    targets_BU = torch.tensor([TARGETS[row]], dtype=torch.int64)
    predicted_UD = trained.predict(targets_BU)[0]
    logits_TUV = trained.joiner(projected_TD[:, None], predicted_UD[None])
    expected = _walk(logits_TUV.double().log_softmax(-1), TARGETS[row], trained.blank_id)
    found = losses(trained, given).transducer
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


def test_without_a_head_there_is_no_ctc_part():
    found = losses(model(ctc=False), batch(0, 1, 2))
    assert found.ctc == 0.0
    assert found.total == found.transducer


def with_phones(*rows: int) -> Batch:
    phones_BP = torch.zeros(len(rows), 4, dtype=torch.int64)
    for place, row in enumerate(rows):
        phones_BP[place, : len(PHONES[row])] = torch.tensor(PHONES[row], dtype=torch.int64)
    lengths_B = torch.tensor([len(PHONES[row]) for row in rows])
    return batch(*rows)._replace(phones_BP=phones_BP, phone_lengths_B=lengths_B)


def _ways(phones: list[int], num_steps: int) -> Iterator[tuple[int, ...]]:
    """All paths of blanks and phones that say these phones, by the definition of CTC."""
    for path in itertools.product(range(6), repeat=num_steps):
        if [phone for phone, _ in itertools.groupby(path) if phone] == phones:
            yield path


@torch.no_grad()
def test_the_phone_part_is_a_sum_over_paths():
    trained = model(phones=5)
    given = with_phones(2)
    given = given._replace(features_BTF=given.features_BTF[:, :4], lengths_B=torch.tensor([4]))
    encoded = trained.encode(given.features_BTF, given.lengths_B)
    projected_BTD = trained.joiner.encoder_proj(encoded.encoded_BTD)
    log_probs_TV = trained.phone_logits(projected_BTD)[0].double().log_softmax(-1)
    num_steps = int(encoded.lengths_B[0]) * trained.encoder.stride
    assert log_probs_TV.shape == (num_steps, 6)
    paths = torch.tensor(list(_ways([4, 3], num_steps)))
    scores_NT = log_probs_TV[torch.arange(num_steps), paths]
    found = losses(trained, given).phones
    torch.testing.assert_close(found.double(), -scores_NT.sum(1).logsumexp(0), rtol=1e-5, atol=0)


def test_texts_of_unknown_words_add_no_phone_part():
    trained = model(phones=5)
    found = losses(trained, with_phones(0, 1, 2), phone_weight=0.7)
    alone = [losses(trained, with_phones(row)).phones for row in (0, 2)]
    torch.testing.assert_close(found.phones, sum(alone) / 3)
    expected = found.transducer + 0.3 * found.ctc + 0.7 * found.phones
    torch.testing.assert_close(found.total, expected)
    assert losses(trained, batch(0, 2)).phones == 0.0
    assert losses(model(), with_phones(0, 2)).phones == 0.0


def test_a_weight_of_zero_leaves_the_transducer_alone():
    found = losses(model(), batch(0, 2), ctc_weight=0.0)
    torch.testing.assert_close(found.total, found.transducer)


def test_a_text_too_long_for_its_sound_does_not_spoil_the_batch():
    # CTC needs a frame for each token and each repetition; the transducer does not.
    long = Batch(
        ("short sound",),
        random_features(2),
        torch.tensor([2]),
        torch.full((1, 30), 3),
        torch.tensor([30]),
    )
    found = losses(model(), long)
    assert found.ctc == 0.0
    assert bool(found.total.isfinite())


def test_every_weight_learns_from_it():
    trained = model(phones=5)
    means(TransducerObjective(trained, ObjectiveConfig()), with_phones(0, 2)).total.backward()
    idle = [
        name
        for name, parameter in trained.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert not idle


def test_hidden_tokens_are_read_as_blank_and_still_have_to_be_said():
    trained, given = model(), batch(0, 2)
    everything = torch.ones_like(given.targets_BU, dtype=torch.bool)
    hidden = losses(trained, given, everything)
    nothing = losses(trained, given, ~everything)
    assert hidden.transducer != nothing.transducer
    assert hidden.ctc == nothing.ctc  # it never reads tokens
    torch.testing.assert_close(nothing.total, losses(trained, given).total)
    # The predictor sees blanks alone, so which tokens there are to say changes only what is said.
    blanks_BU = torch.full_like(given.targets_BU, trained.blank_id)
    with torch.no_grad():
        seen = trained.predict(given.targets_BU, everything)
        torch.testing.assert_close(seen, trained.predict(blanks_BU))


def test_bfloat16_is_near_float32_and_comes_back_as_float32():
    need_bfloat16()
    trained, given = model(), batch(0, 1, 2)
    exact = losses(trained, given)
    with torch.no_grad():
        autocast = TransducerObjective(trained, ObjectiveConfig(), autocast=torch.bfloat16)
        rough = means(autocast, given)
    assert rough.total.dtype == torch.float32
    torch.testing.assert_close(rough.total, exact.total, rtol=0.02, atol=0.0)


def test_fastemit_changes_the_gradient_and_not_the_loss():
    gradients = []
    totals = []
    for fastemit in (0.0, 0.1):
        trained = model(ctc=False)
        objective = TransducerObjective(trained, ObjectiveConfig(fastemit=fastemit))
        found = means(objective, batch(0, 2))
        found.total.backward()
        totals.append(found.total.detach())
        gradients.append(trained.joiner.output.weight.grad)
    torch.testing.assert_close(totals[0], totals[1])
    assert not torch.allclose(gradients[0], gradients[1])


def test_a_frozen_encoder_gets_no_gradient_and_the_heads_do():
    trained = model()
    objective = TransducerObjective(trained, ObjectiveConfig())
    found = objective.losses(batch(0, 2), is_frozen=True).terms
    sum(term.mean() for term in found.values()).backward()
    assert all(p.grad is None for p in trained.encoder.parameters())
    assert trained.joiner.output.weight.grad is not None
    torch.testing.assert_close(found["ctc"], objective.losses(batch(0, 2)).terms["ctc"])


def test_detached_heads_learn_and_do_not_move_the_encoder():
    trained = model()
    found = TransducerObjective(trained, ObjectiveConfig()).losses(batch(0, 2), is_detached=True)
    sum(term.mean() for term in found.terms.values()).backward()
    assert not any(p.grad is not None and p.grad.any() for p in trained.encoder.parameters())
    assert trained.joiner.output.weight.grad is not None
