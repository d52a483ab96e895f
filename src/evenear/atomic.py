# SPDX-License-Identifier: Apache-2.0
"""Files that are whole or absent: written beside their place, made durable, then renamed into it.

A crash, a full disk or Ctrl-C leaves what was there before. Errors stay `OSError`, so that each
caller can say in its own words what could not be written.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["write_bytes", "writing"]


@contextmanager
def writing(target: Path) -> Iterator[BinaryIO]:
    """A binary file that takes the name `target` when the block ends without an error.

    Raises:
        OSError: It cannot be written; `target` is as it was.
    """
    if target.exists() and not target.is_file():
        raise OSError(f"{target} is not a file")
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(target: Path, content: bytes) -> None:
    """Put `content` under the name `target`, whole or not at all. Raises `OSError` as `writing`."""
    with writing(target) as file:
        file.write(content)
