# SPDX-License-Identifier: Apache-2.0
"""`python -m evenear`: the command line, where its script is not on the path."""

from evenear.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
