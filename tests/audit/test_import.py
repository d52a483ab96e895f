# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

import pytest


def run(code):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("missing", ["polars", "scipy"])
def test_a_missing_library_is_named_with_the_way_to_get_it(missing):
    done = run(f"import sys; sys.modules[{missing!r}] = None; import evenear.audit")
    assert done.returncode == 1
    assert f"An audit needs {missing}" in done.stderr
    assert "pip install 'evenear[audit]'" in done.stderr
