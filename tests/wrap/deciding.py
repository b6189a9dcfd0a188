"""Commands of PipeGuard as a person runs them, next to a running `wrap` or `serve`."""

import os
import subprocess
import sys
from pathlib import Path
from time import monotonic

from click.testing import CliRunner

from pipeguard.cli import cli
from pipeguard.launch.person import TOKEN_VARIABLE, new_token
from tests.forking import PIPEGUARD

READING = {"explain", "status"}  # commands that decide nothing, and need no process
WRITTEN_SECONDS = 3.0  # within which an event is in the audit, on a busy machine

# Not below this process, which is the client of the server: else it is an agent's.
_AWAY = """import os, subprocess, sys
if os.fork():
    os._exit(0)
done = subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL)
os.write(1, b"\\n%d" % done.returncode)
"""


def decide(
    state: Path,
    *words: str,
    environment: dict[str, str] | None = None,
    stderr: int = subprocess.STDOUT,
) -> tuple[int, str]:
    """Run one command; return its exit code and output.

    A run writes its rows after its answers, so this waits for a missing one.

    Args:
        state: the folder with the store of the run.
        words: the words of the command, after `pipeguard`.
        environment: further variables.
        stderr: the target of its standard error, as for `subprocess.run`.
    """
    given = {"PIPEGUARD_STATE_DIR": str(state), TOKEN_VARIABLE: new_token()[0]}
    variables = {**os.environ, **given, **(environment or {})}
    until = monotonic() + WRITTEN_SECONDS
    run = _read_here if words[0] in READING else _run
    while True:
        code, shown = run(words, variables, stderr)
        if "is in the audit" not in shown or monotonic() > until:
            return code, shown


def _read_here(words: tuple[str, ...], variables: dict[str, str], stderr: int) -> tuple[int, str]:
    done = CliRunner().invoke(cli, words, env=variables)
    shown = done.output if stderr == subprocess.STDOUT else done.stdout
    is_error = done.exception is not None and not isinstance(done.exception, SystemExit)
    return done.exit_code, f"{shown}{done.exception}" if is_error else shown


def _run(words: tuple[str, ...], variables: dict[str, str], stderr: int) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", _AWAY, *PIPEGUARD, *words],
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=variables,
        check=True,
    )
    shown, _, code = done.stdout.decode().rpartition("\n")
    return int(code), shown
