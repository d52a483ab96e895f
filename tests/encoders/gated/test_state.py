# SPDX-License-Identifier: Apache-2.0
"""Batches that are parted by rows and joined again, in order.

Legend: B streams, T frames, F feature width.
"""

import torch

from evenear.encoders.gated.state import all_encoded, joined, rows_of
from evenear.nn.state import state_tensors
from laws import random_features, tiny_transducer

ROWS = [torch.tensor([1, 3]), torch.tensor([0, 2])]


def test_rows_of_a_state_are_joined_as_they_were():
    encoder = tiny_transducer("gated-thrifty").encoder
    with torch.no_grad():
        _, state = encoder.step(random_features(24, batch_size=4), encoder.initial_state(4))
    parts = [rows_of(state, rows_B) for rows_B in ROWS]
    assert len(parts[0].asked_B) == 2
    for one, other in zip(state_tensors(joined(parts, ROWS)), state_tensors(state), strict=True):
        assert torch.equal(one, other)


def test_utterances_that_are_encoded_apart_are_as_if_encoded_together():
    encoder = tiny_transducer("gated-thrifty").encoder
    features_BTF, lengths_B = random_features(30, batch_size=4), torch.tensor([30, 22, 30, 9])
    asked_B = torch.tensor([0.2, 0.5, 0.7, 0.9])
    with torch.no_grad():
        whole = encoder.encode_asked(features_BTF, lengths_B, asked_B)
        parts = [
            encoder.encode_asked(features_BTF[rows_B], lengths_B[rows_B], asked_B[rows_B])
            for rows_B in ROWS
        ]
    found = all_encoded(parts, ROWS)
    torch.testing.assert_close(found.encoded.encoded_BTD, whole.encoded.encoded_BTD)
    assert torch.equal(found.encoded.lengths_B, whole.encoded.lengths_B)
    torch.testing.assert_close(found.spent_BT, whole.spent_BT)
    for one, other in zip(found.toggles, whole.toggles, strict=True):
        assert torch.equal(one.ff_BTG, other.ff_BTG)
        assert torch.equal(one.key_BTH, other.key_BTH)
