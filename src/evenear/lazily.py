# SPDX-License-Identifier: Apache-2.0
"""Names of a package that are loaded when somebody asks for them.

    from typing import TYPE_CHECKING
    if TYPE_CHECKING:
        from evenear.checkpoint.bundles import load_model
    __getattr__ = lazily(__name__, {"load_model": "bundles"})

A command that verifies a voice then does not load what recognizes speech, only because both come
from one package.
"""

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["lazily"]


def lazily(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """What a package's `__getattr__` does (PEP 562).

    Args:
        package: Its `__name__`.
        homes: The module within it that each of its names comes from.
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return load
