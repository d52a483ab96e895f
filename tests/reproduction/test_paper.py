# SPDX-License-Identifier: Apache-2.0
"""The paper's numbers agree with what its text says of them, where it does."""

import pytest

from evenear.recipes.convrnnt import REMEDIES, VARIANTS
from evenear.reproduction import paper


def test_every_variant_has_a_name_to_show():
    assert list(paper.LABELS) == [*VARIANTS, *REMEDIES]


@pytest.mark.parametrize(
    ("test", "other", "reduction"),
    [
        ("clean", "lstm", 0.134),
        ("other", "lstm", 0.120),
        ("clean", "conformer", 0.104),
        ("other", "conformer", 0.029),
        ("clean", "contextnet", 0.151),
        ("other", "contextnet", 0.042),
    ],
)
def test_relative_reductions_follow_from_the_table(test, other, reduction):
    found = 1 - paper.WER["convrnn"][test] / paper.WER[other][test]
    assert found == pytest.approx(reduction, abs=0.0006)


def test_only_the_four_encoders_were_tested_on_librispeech():
    assert set(paper.WER) == set(paper.PARAMETERS) == {"lstm", "convrnn", "conformer", "contextnet"}
    assert set(paper.IN_HOUSE_REDUCTION) | {"lstm"} == set(paper.WER)
    assert set(paper.ABLATION_REDUCTION) < set(paper.LABELS)
