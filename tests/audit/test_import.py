# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

import pytest


def run(code):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )


def test_importing_is_light_and_silent():
    done = run(
        "import sys, evenear.audit\n"
        "heavy = {'torch', 'lhotse', 'torchaudio', 'pandas', 'sklearn', 'statsmodels'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_importing_does_not_touch_global_generators():
    done = run(
        "import random, numpy\n"
        "before = random.getstate(), numpy.random.get_state()[1].tolist()\n"
        "import evenear.audit\n"
        "assert before == (random.getstate(), numpy.random.get_state()[1].tolist())"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("missing", ["polars", "scipy"])
def test_a_missing_library_is_named_with_the_way_to_get_it(missing):
    done = run(f"import sys; sys.modules[{missing!r}] = None; import evenear.audit")
    assert done.returncode == 1
    assert f"An audit needs {missing}" in done.stderr
    assert "pip install 'evenear[audit]'" in done.stderr
