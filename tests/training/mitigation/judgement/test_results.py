# SPDX-License-Identifier: Apache-2.0
"""What a result says of the cohort that was repaired for."""

from types import SimpleNamespace
from typing import Any

import pytest

from evenear.training.mitigation.judgement.results import Result


def result(*rows: tuple[str, str, bool]) -> Result:
    """A repair for `age<18` whose comparison has these rows: attribute, value, suppressed."""
    how = SimpleNamespace(cohort=SimpleNamespace(text="age<18"))
    changes = SimpleNamespace(
        rows=[SimpleNamespace(attribute=a, value=v, suppressed=s) for a, v, s in rows]
    )
    some: Any = SimpleNamespace(how=how)
    made: Any = changes
    return Result(some, *[SimpleNamespace()] * 3, made, SimpleNamespace())  # type: ignore


def test_the_cohort_is_its_row_among_the_changes():
    found = result(("gender", "male", False), ("cohort", "age<18", False)).cohort
    assert found is not None
    assert (found.attribute, found.value) == ("cohort", "age<18")


@pytest.mark.parametrize(
    "rows",
    [[("cohort", "age<18", True)], [("cohort", "not age<18", False)], [("x", "age<18", False)]],
)
def test_there_is_none_where_too_few_of_it_tested_or_nobody(rows):
    assert result(*rows).cohort is None
