# SPDX-License-Identifier: Apache-2.0
"""A report as a value."""

from dataclasses import replace

from audit.reports import report, spoken
from evenear.audit import cohorts_by, compare
from evenear.audit.report import Report


def test_all_comparisons_are_there_in_the_order_in_which_they_were_given():
    table = spoken()
    cohorts = cohorts_by(table, ["gender"])
    second, third = (
        compare(table, replace(table, name=name), cohorts, num_resamples=200)
        for name in ("second", "third")
    )
    base = report()
    plain = Report(headline=base.headline, gaps=base.gaps)
    assert plain.comparisons == ()
    assert replace(plain, changes=second).comparisons == (second,)
    assert replace(plain, changes=second, more_changes=(third,)).comparisons == (second, third)
