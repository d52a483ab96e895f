# SPDX-License-Identifier: Apache-2.0
"""evenear: streaming speech recognition that hears everyone evenly.

Importing this package loads nothing heavy: take what you need from its modules, for example
`from evenear.streaming import Recognizer` or `from evenear.audit import read_table`.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
