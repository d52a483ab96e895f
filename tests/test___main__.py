# SPDX-License-Identifier: Apache-2.0
"""`python -m evenear` is the command line: its output, its errors and its exit codes."""

import subprocess
import sys

from evenear import __version__


def test_the_package_runs_as_a_program():
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "error", "-m", "evenear", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    told = run("--version")
    assert (told.returncode, told.stdout, told.stderr) == (0, f"evenear {__version__}\n", "")
    refused = run("audit", "no-such-file.jsonl", "--by", "gender")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("error: There is no file")
