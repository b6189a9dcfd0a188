"""Servers that are ended while they start: nothing of them remains.

`PIPEGUARD_STARTS` sets their number; each must end within a second.
"""

import json
import os
import subprocess
import sys

import pytest

from tests.launch.processes import PATIENCE_SECONDS
from tests.soak.starts import ISOLATED

STARTS = os.environ.get("PIPEGUARD_STARTS", "12")
BUSY = ["nice", "-n", "19", sys.executable, "-I", "-c", "while True: pass"]


@pytest.mark.parametrize("words", [(), ISOLATED], ids=["plain", "isolated"])
def test_what_is_told_to_end_while_it_starts_leaves_nothing(words: tuple[str, ...]) -> None:
    argv = [sys.executable, "-m", "tests.soak.starts", STARTS, "--", *words]
    patience = max(PATIENCE_SECONDS, 2.0 * int(STARTS))
    with subprocess.Popen(BUSY) as one, subprocess.Popen(BUSY) as other:
        try:
            done = subprocess.run(argv, capture_output=True, check=True, timeout=patience)
        finally:
            one.kill()
            other.kill()
    *late, figures = map(json.loads, done.stdout.splitlines())
    assert figures["starts"] == int(STARTS)
    if "PIPEGUARD_STARTS" not in os.environ:
        late = [run for run in late if run["left"]]
    assert late == []
