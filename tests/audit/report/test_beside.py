# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

from evenear.audit.report.beside import (
    confound_sentence,
    confusion_sentence,
    heard_as,
    strata_sentence,
)
from evenear.audit.report.confusions import CohortConfusions, Confusion
from evenear.audit.statistics.confounds import Confound, Stratum

FAR = Stratum(
    value="far", speakers=20, rest_speakers=9, words=800, rest_words=200, wer=0.3,
    rest_wer=0.28, gap=0.07,
)  # fmt: skip
ONLY = Stratum(
    value="car", speakers=4, rest_speakers=0, words=90, rest_words=0, wer=0.3,
    rest_wer=None, gap=None,
)  # fmt: skip
ONE = Confound(
    attribute="age×gender", value="teens×f", column="device", distance=0.6, typical="far",
    typical_share=0.8, typical_rest_share=0.2, overlap=1.0, gap=0.848, gap_within=-0.029,
    gap_within_low=-0.3, gap_within_high=0.382, strata=(FAR, ONLY),
)  # fmt: skip


def test_a_confound_is_told_with_both_shares_and_both_gaps():
    assert confound_sentence(ONE) == (
        "device goes with age “teens” and gender “f”: 80 % of its words are of “far”, against 20 % "
        "of the rest's. Within device the gap is −2.9 % (−30.0 to +38.2 %), instead of +84.8 %."
    )
    assert strata_sentence(ONE) == "device: “far” +7.0 % (800 and 200 words)"


def test_little_or_no_overlap_is_said():
    assert "only 40 % of the cohort's words" in confound_sentence(replace(ONE, overlap=0.4))
    nothing = replace(ONE, overlap=0.0, gap_within=None, strata=(ONLY,))
    assert "nothing can be said of the gap within device" in confound_sentence(nothing)
    assert strata_sentence(nothing) == ""


def test_confusions_are_told_by_what_was_heard():
    pairs = (
        Confusion(reference="DOG", hypothesis="DOGS", count=1040, speakers=20, ratio=2.04),
        Confusion(reference="DOG", hypothesis=None, count=9, speakers=4, ratio=None),
        Confusion(reference=None, hypothesis="A", count=8, speakers=4, ratio=1.5),
    )
    one = CohortConfusions(attribute="gender", value="f", utterances=9, pairs=pairs)
    assert confusion_sentence(one) == (
        "Misheard for gender “f”: “DOG” as “DOGS” (1,040, 2.0 times as often), “DOG” not at all "
        "(9, never in the rest), “A” without being said (8, 1.5 times as often)."
    )
    assert confusion_sentence(one, most=1).count("DOG") == 2
    assert heard_as(pairs[1]) == "“DOG” not at all"
