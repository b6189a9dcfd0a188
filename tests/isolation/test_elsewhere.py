"""On systems without isolation everything else works, and isolation says so."""

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


def test_what_others_import_asks_for_no_system_and_commands_say_where_they_work() -> None:
    code = f"import {', '.join(MODULES)}; print('imported', flush=True);"
    code += "from pipeguard.__main__ import _run; sys.exit(_run(['isolate', 'list']))"
    command = [sys.executable, "-c", SYSTEM + code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "imported\n", done.stderr
    assert done.returncode != 0
    assert "on Linux only" in done.stderr
