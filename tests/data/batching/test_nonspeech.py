# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from evenear.data.batching.nonspeech import nonspeech
from evenear.seeding import rng_for


@pytest.mark.parametrize("num_samples", [0, 1, 7, 1600, 48_000])
def test_every_piece_has_its_length_and_a_power_of_one(num_samples):
    for draw in range(30):
        piece_N = nonspeech(num_samples, rng_for(0, "piece", draw))
        assert piece_N.shape == (num_samples,)
        assert np.isfinite(piece_N).all()
        if num_samples >= 1600:
            assert np.square(piece_N).mean() == pytest.approx(1.0, rel=1e-4)


def test_pieces_differ_and_come_again():
    first, again, other = (nonspeech(4000, rng_for(0, "piece", k)) for k in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_there_are_tones_and_there_is_noise():
    """How much of the energy lies in a hundredth of the spectrum: in tones nearly all of it."""
    shares = []
    for draw in range(60):
        power = np.sort(np.square(np.abs(np.fft.rfft(nonspeech(16_000, rng_for(1, "p", draw))))))
        shares.append(power[-80:].sum() / power.sum())
    assert min(shares) < 0.3
    assert max(shares) > 0.9
