# SPDX-License-Identifier: Apache-2.0
"""Names of a package are there when they are asked for, and not loaded before."""

import importlib
import subprocess
import sys

import pytest

LAZY = ["evenear.checkpoint", "evenear.verification"]


@pytest.mark.parametrize("package", LAZY)
def test_every_name_that_is_promised_is_there(package):
    module = importlib.import_module(package)
    for name in module.__all__:
        assert getattr(module, name).__module__.startswith(package)


@pytest.mark.parametrize("package", LAZY)
def test_other_names_are_not(package):
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'no_such'"):
        importlib.import_module(package).no_such  # noqa: B018


@pytest.mark.parametrize("package", LAZY)
def test_nothing_is_loaded_before_it_is_asked_for(package):
    program = (
        f"import sys, {package}\n"
        f"sys.exit(' '.join(name for name in sys.modules if name.startswith('{package}.')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stderr.strip() == ""
