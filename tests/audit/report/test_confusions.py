# SPDX-License-Identifier: Apache-2.0
"""Confusion lists against counts made by hand."""

import polars as pl

from evenear.audit import Table, cohorts_by, gaps
from evenear.audit.report.confusions import CohortConfusions, Confusion, confusions

HEARD = {
    "f": ["the dogs", "the dogs", "the", "a the dog", "the dog"],
    "m": ["the dog", "the dog", "the dogs", "the dog", "the dog"],
}


def spoken() -> Table:
    """40 speakers of five utterances; each said "the dog"."""
    rows = []
    for k in range(40):
        gender = "fm"[k % 2]
        for place, heard in enumerate(HEARD[gender]):
            secret = " secret" if k == 0 and place == 4 else ""
            rows.append((f"u{k}.{place}", f"s{k}", "The dog!", heard + secret, gender))
    frame = pl.DataFrame(
        rows, schema=["utterance_id", "speaker", "reference", "hypothesis", "gender"], orient="row"
    )
    errors = [1 if h != "the dog" else 0 for h in frame["hypothesis"]]
    return Table(frame.with_columns(words=pl.lit(2), errors=pl.Series(errors)))


def found(**settings: int) -> tuple[CohortConfusions, ...]:
    table = spoken()
    cohorts = cohorts_by(table, ["gender"])
    audit = gaps(table, cohorts, num_resamples=200, min_words=50)
    return confusions(table, cohorts, audit, **settings)


def test_pairs_are_counted_and_held_beside_the_rest():
    (female,) = found()  # men have nothing beyond what women have
    assert (female.attribute, female.value, female.utterances) == ("gender", "f", 100)
    assert set(female.pairs) == {
        Confusion(reference="DOG", hypothesis="DOGS", count=40, speakers=20, ratio=2.0),
        Confusion(reference="DOG", hypothesis=None, count=20, speakers=20, ratio=None),
        Confusion(reference=None, hypothesis="A", count=20, speakers=20, ratio=None),
    }


def test_what_one_speaker_alone_has_is_quoted_nowhere():
    assert "SECRET" not in str(found())


def test_lists_may_be_short_or_left_out():
    assert [len(one.pairs) for one in found(per_cohort=1)] == [1]
    assert found(per_cohort=0) == ()


def test_tables_without_texts_have_no_lists():
    table = spoken()
    bare = Table(table.frame.with_columns(reference=pl.lit(None, dtype=pl.String)))
    cohorts = cohorts_by(bare, ["gender"])
    assert confusions(bare, cohorts, gaps(bare, cohorts, num_resamples=200, min_words=50)) == ()
