# SPDX-License-Identifier: Apache-2.0
import dataclasses

import pytest

from evenear.audit.report.findings import Finding


def test_a_finding_needs_only_its_name_and_how_it_was_found():
    finding = Finding(attribute="region", kind="geography", summary="A tree.")
    assert not finding.shapes
    assert not finding.dots
    assert not finding.descriptions


def test_a_finding_does_not_change():
    finding = Finding(attribute="region", kind="geography", summary="A tree.")
    with pytest.raises(dataclasses.FrozenInstanceError):
        finding.summary = "Another."  # type: ignore[misc]
