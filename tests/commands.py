"""Programs that a test runs to their end, for what they print."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def run_command(
    words: Sequence[str | Path], *, check: bool = False, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a program, whose stdin is empty unless the options have an `input`.

    Args:
        words: the program and its arguments.
        check: whether another exit code than 0 is an error.
        options: others of subprocess.run.

    Raises:
        subprocess.CalledProcessError: it failed, and is checked.
    """
    if "input" not in options:
        options["stdin"] = subprocess.DEVNULL
    return subprocess.run(words, capture_output=True, encoding="utf-8", check=check, **options)
