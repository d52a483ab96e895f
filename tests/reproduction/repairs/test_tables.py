# SPDX-License-Identifier: Apache-2.0
"""Pages say in every figure and note that geography is synthetic."""

from evenear.reproduction.repairs.cohorts import CohortsResult, CohortsSummary
from evenear.reproduction.repairs.tables import cohorts_written, geography_written


def test_what_is_synthetic_is_called_so():
    for written in (
        geography_written({}, "a command", "age<18"),
        cohorts_written(
            CohortsSummary((CohortsResult(0, None, None, None, ()),)), "a command", "age<18"
        ),
    ):
        assert "Synthetic geography" in written.notes[0]
        assert "age<18" in written.notes[0]
        assert written.command == "a command"
