# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from evenear.cli.verification.verifying import heard_samples, lines, scored
from evenear.errors import ManifestError
from evenear.seeding import rng_for
from evenear.verification import all_trials, calibrate_threshold
from tiny_speakers import write_speakers
from verification.hearing import tiny_embedder


def test_recordings_are_heard_with_what_is_known_of_their_speakers(tmp_path):
    manifest = write_speakers(tmp_path, num_speakers=2, num_each=2)
    count = []
    samples, vectors, failures = heard_samples(
        tiny_embedder(), manifest, None, ["gender"], progress=lambda: count.append(1)
    )
    assert len(count) == len(samples) == len(vectors) == 4
    assert failures == []
    assert samples[0].attributes == {"gender": "male"}
    scores_N = scored(all_trials(samples), vectors)
    assert scores_N[0] == pytest.approx(float(vectors[0] @ vectors[1]), abs=1e-6)


def test_nothing_left_is_an_error(tmp_path):
    manifest = write_speakers(tmp_path, num_speakers=2, num_each=1)
    with pytest.raises(ManifestError, match="could be used"):
        heard_samples(tiny_embedder(), manifest, "test", [], progress=lambda: None)


def test_a_table_has_a_line_for_each_group():
    names = [f"s{n // 2}" for n in range(12)]
    first, second = np.triu_indices(12, k=1)
    found = calibrate_threshold(
        np.where(first // 2 == second // 2, 1.0, 0.0),
        [names[i] for i in first],
        [names[i] for i in second],
        false_accept_rate=0.05,
        groups={"sex": {name: "f" if name < "s3" else "m" for name in names}},
        rng=rng_for(0, "draws"),
    )
    text = "\n".join(lines(found))
    assert "EER 0.00 %" in text
    assert "Threshold 1.0000" in text
    assert "sex=f: 0.0 % [0.0, 0.0], 3 speakers, 3 pairs" in text
