# SPDX-License-Identifier: Apache-2.0
"""What the tests of the command line share: a model of noise on disk, and a way to run commands.

Nothing here may import torch before a fixture is asked for it: the audit's tests run without it.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from evenear.cli import main


class Done(NamedTuple):
    """How a command ended, and what it said where."""

    code: int
    out: str
    err: str


Command = Callable[..., Done]


@pytest.fixture
def evenear(monkeypatch, capsys) -> Command:
    """Run the command line in this process, which spares seconds of imports."""

    def call(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["evenear", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as done:
            main()
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return Done(int(done.value.code or 0), said.out, said.err)

    return call


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """A small random model that says something about noise."""
    from evenear.checkpoint import save_model
    from laws import tiny_bundle

    bundle = tiny_bundle()
    folder = tmp_path_factory.mktemp("models") / "noise"
    save_model(
        folder,
        model=bundle.model,
        features=bundle.features,
        tokenizer=bundle.tokenizer,
        language_model=bundle.language_model,
    )
    return folder
