# SPDX-License-Identifier: Apache-2.0
import math

import pytest

from evenear.nn.positions import sinusoids


def test_positions_are_whispers():
    table = sinusoids(1500, 384)
    assert table[0, :192].abs().max() == 0.0
    assert table[0, 192:].min() == 1.0
    assert table[7, 0] == pytest.approx(math.sin(7.0))
    assert table[7, 191] == pytest.approx(math.sin(7.0 / 10_000.0), abs=1e-7)
