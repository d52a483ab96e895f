# SPDX-License-Identifier: Apache-2.0
"""Readings judged together are as likely as the loss says of each, and the work is bounded.

Dimensions: B utterances, T frames, U tokens, D width.
"""

import subprocess
import sys

import pytest
import torch

from evenear.losses.transducer.loss import transducer_loss
from evenear.search.judgement import begin_context, continued, log_probs
from laws import PREDICTORS, random_projected, tiny_transducer
from search.test_beam import all_readings, small_model

READINGS = [(5, 6, 7), (5, 6), (), (5, 9, 9, 9), (8,), (5, 6, 7, 8, 9)]


def by_the_loss(model, projected_TD, tokens) -> float:
    """What training would call the loss of one utterance, with the other sign."""
    targets_BU = torch.tensor([tokens], dtype=torch.int64).reshape(1, len(tokens))
    with torch.inference_mode():
        predicted_BUD = model.predict(targets_BU)
        logits_TUV = model.joiner(projected_TD[:, None], predicted_BUD[0, None])
        loss_B = transducer_loss(
            logits_TUV[None],
            targets_BU,
            torch.tensor([len(projected_TD)]),
            torch.tensor([len(tokens)]),
            blank_id=model.blank_id,
        )
    return -float(loss_B)


@torch.inference_mode()
@pytest.mark.parametrize("predictor", PREDICTORS)
@pytest.mark.parametrize("num_frames", [1, 2, 30])
def test_a_reading_is_as_likely_as_the_loss_says(predictor, num_frames):
    model = tiny_transducer("lstm", predictor)
    projected_TD = random_projected(model, num_frames)[0]
    judged = log_probs(model, projected_TD, READINGS, begin_context(model))
    expected = [by_the_loss(model, projected_TD, tokens) for tokens in READINGS]
    assert judged == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("seed", [0, 1])
@torch.no_grad()
def test_a_reading_is_as_likely_as_all_its_alignments_together(seed):
    model = small_model(seed=seed)
    projected_TD = random_projected(model, 3, seed=seed)[0]
    expected = all_readings(model, projected_TD, limit=2)
    expected = {tokens: own for tokens, own in expected.items() if len(tokens) <= 2}
    judged = log_probs(model, projected_TD, list(expected), begin_context(model))
    assert judged == pytest.approx(list(expected.values()), abs=1e-4)


@torch.inference_mode()
def test_company_changes_nothing():
    model = tiny_transducer("lstm")
    projected_TD = random_projected(model, 20)[0]
    together = log_probs(model, projected_TD, READINGS, begin_context(model))
    for tokens, judged in zip(READINGS, together, strict=True):
        (alone,) = log_probs(model, projected_TD, [tokens], begin_context(model))
        assert alone == pytest.approx(judged, abs=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("predictor", PREDICTORS)
def test_what_was_read_before_is_what_the_predictor_knows(predictor):
    """Frames that hear nothing but the second half, after the first half was read."""
    model = tiny_transducer("lstm", predictor)
    projected_TD = random_projected(model, 9)[0]
    context = continued(model, continued(model, begin_context(model), (5, 6)), (7,))
    predicted_UD = model.predict(torch.tensor([[5, 6, 7, 8]]))[0]
    logits_TUV = model.joiner(projected_TD[:, None], predicted_UD[None, 3:])
    lengths = torch.tensor([9]), torch.tensor([1])
    loss_B = transducer_loss(
        logits_TUV[None], torch.tensor([[8]]), *lengths, blank_id=model.blank_id
    )
    (judged,) = log_probs(model, projected_TD, [(8,)], context)
    assert judged == pytest.approx(-float(loss_B), abs=1e-3)
    assert continued(model, context, ()) is context


@torch.inference_mode()
def test_readings_beyond_the_bound_are_left_out_but_never_the_first():
    model = tiny_transducer("lstm")
    projected_TD = random_projected(model, 10)[0]
    every = log_probs(model, projected_TD, READINGS, begin_context(model))
    some = log_probs(model, projected_TD, READINGS, begin_context(model), max_cells=80)
    assert len(some) == 5  # 8 nodes: the root; 5, 6, 7; 9 three times; 8
    assert some == pytest.approx(every[:5], abs=1e-4)
    (first,) = log_probs(model, projected_TD, READINGS, begin_context(model), max_cells=1)
    assert first == pytest.approx(every[0], abs=1e-4)


def test_recognition_never_loads_a_compiler():
    """A second of compiling at the first pause is a second too late for every listener."""
    script = (
        "import sys, numpy as np\n"
        "from laws import tiny_word_bundle, random_sound\n"
        "from evenear.search import LexiconConfig\n"
        "from evenear.streaming import Recognizer, Final\n"
        "search = LexiconConfig(width=12, lm_weight=0.4, transducer_weight=0.5)\n"
        "ears = Recognizer(tiny_word_bundle('lstm-reduced-2', 'lstm'), beam=search)\n"
        "stream = ears.stream()\n"
        "events = stream.accept(random_sound(3.0, seed=1)) + stream.finish()\n"
        "assert any(isinstance(event, Final) for event in events)\n"
        "assert 'numba' not in sys.modules and 'scipy' not in sys.modules\n"
    )
    path = [entry for entry in sys.path if entry]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}\n{script}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
