# SPDX-License-Identifier: Apache-2.0
"""The examples of audits run and say what they promise."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("name", "promise"),
    [
        ("audit_by_attributes", "more word errors for device “phone” than for the rest"),
        ("audit_discover", "region 1: south of"),
        ("audit_gate", "fails: lost() > 0"),
    ],
)
def test_the_example_runs(name, promise, tmp_path):
    page = tmp_path / "report.html"
    command = [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"), str(page)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert promise in done.stdout
