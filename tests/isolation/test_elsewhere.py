"""On systems without isolation everything else works, and isolation says so."""

from __future__ import annotations

import subprocess
import sys

# What is loaded by then is what that system would load of its own.
SYSTEM = (
    "import sys, aiohttp, click, pipeguard.launch.child, pipeguard.config.directories,"
    " pipeguard.transports.stdio; sys.platform = 'darwin';"
)
MODULES = (
    "pipeguard.isolation.servers.starter",
    "pipeguard.doctor.isolating",
    "pipeguard.cli.isolate",
)


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SYSTEM + code], capture_output=True, text=True, check=False
    )


def test_what_others_import_asks_for_no_system() -> None:
    done = run(f"import {', '.join(MODULES)}")
    assert done.returncode == 0, done.stderr


def test_the_commands_say_where_they_work() -> None:
    done = run("from pipeguard.__main__ import _run; sys.exit(_run(['isolate', 'list']))")
    assert done.returncode != 0
    assert "on Linux only" in done.stderr
