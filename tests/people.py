"""The deciders in the tests: a job with a token, or a person at a real terminal."""

import io
import os
import pty
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from pipeguard.__main__ import _run
from pipeguard.launch.agents import AGENT_VARIABLES
from pipeguard.launch.person import TOKEN_VARIABLE, new_token
from pipeguard.runtime import progress
from tests.forking import PIPEGUARD, start

ROOT = Path(__file__).parents[1]
_NUMBER = re.compile(rb"type (\d{4}): \Z")
_TAKE = """import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])"""
_ALL = """
import os, sys
from pipeguard.__main__ import main
from pipeguard.cli import cli
codes = []
for words in {commands}:
    cli.get_command(None, words[0])  # imports it, once for all
for words in {commands}:
    process = os.fork()
    if not process:
        sys.argv = ["pipeguard", *words]
        main()
    codes.append(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
print(",".join(map(str, codes)))
"""


def give_token(patch: pytest.MonkeyPatch) -> None:
    """Become a CI job with a person's token."""
    patch.setenv(TOKEN_VARIABLE, new_token()[0])


def be_nobody(patch: pytest.MonkeyPatch) -> None:
    """Remove the token, and the marks of an agent that happens to run these tests."""
    for name in (TOKEN_VARIABLE, *AGENT_VARIABLES):
        patch.delenv(name, raising=False)


def run_here(
    *words: str, given: str | bytes = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `pipeguard` in this process, without a terminal.

    Args:
        words: the words after `pipeguard`.
        given: its standard input.
        environment: variables in addition to ours.
    """
    stdin = io.BytesIO(given.encode() if isinstance(given, str) else given)
    out, before = io.StringIO(), os.dup(2)
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as err,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setattr(sys, "stdin", io.TextIOWrapper(stdin))
        patch.setattr(progress, "PATIENCE_SECONDS", 3600.0)  # on a busy machine, too
        os.dup2(err.fileno(), 2)  # for what is written past `sys.stderr`
        try:
            with redirect_stdout(out), redirect_stderr(err):
                code = _run([*words])
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            err.flush()
            os.dup2(before, 2)
            os.close(before)
        err.seek(0)
        return subprocess.CompletedProcess(shlex.join(words), code, out.getvalue(), err.read())


def on_terminal(
    verb: str,
    answers: str,
    *arguments: str,
    before_answers: str = "",
    number: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Run a verb on a terminal of its own, with a person's answers.

    Args:
        verb: a command, as `approve`.
        answers: a letter for each question.
        arguments: the arguments of the verb.
        before_answers: Python that runs after the first question.
        number: the typed answer to the question for a number; None for the right one.
        environment: variables in addition to ours.

    Returns:
        The exit code, and the terminal's output.
    """
    command = (*PIPEGUARD, verb, *arguments)
    return run_on_terminal(command, answers, before_answers, number, environment or {})


def all_on_terminal(commands: Sequence[Sequence[str]], **environment: str) -> tuple[list[int], str]:
    """Run commands one after another, each a process on the same new terminal.

    Args:
        commands: each as words after `pipeguard`; a requested number is typed.
        environment: variables in addition to ours.

    Returns:
        Their exit codes, and the terminal's output.
    """
    code = _ALL.format(commands=[list(words) for words in commands])
    _, shown = run_on_terminal((*PIPEGUARD[:-2], "-c", code), "", "", None, environment)
    *_, codes = shown.split()
    return [int(code) for code in codes.split(",")], shown


def run_on_terminal(
    command: Sequence[str],
    answers: str,
    before_answers: str,
    number: str | None,
    environment: Mapping[str, str],
) -> tuple[int, str]:
    """Run a command on a terminal of its own; return its exit code and the terminal's output."""
    primary, secondary = pty.openpty()
    process = start(
        command,
        launcher=(sys.executable, "-c", _TAKE),
        stdin=secondary,
        stdout=secondary,
        stderr=secondary,
        cwd=ROOT,
        env={**os.environ, **environment},
        start_new_session=True,  # so that the terminal can become its own
    )
    os.close(secondary)
    output = b""
    try:
        while chunk := _read(primary):
            output += chunk
            asked = _NUMBER.search(output)
            is_question = bool(answers) and output.endswith((b"[y/N]: ", b"allow it?: "))
            if before_answers and (asked or is_question):
                subprocess.run(
                    [sys.executable, "-c", before_answers], cwd=ROOT, check=True, timeout=60
                )
                before_answers = ""
            if asked:
                os.write(primary, (asked[1] if number is None else number.encode()) + b"\n")
            elif is_question:
                os.write(primary, answers[:1].encode() + b"\n")
                answers = answers[1:]
        return process.wait(60), output.decode()
    finally:
        os.close(primary)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # Linux says so once the other side is closed
        return b""


def share(path: Path) -> None:
    """Give a file or folder to a group that others belong to, as far as this user may."""
    foreign = [1] if os.geteuid() == 0 else [g for g in os.getgroups() if g != os.getgid()]
    if not foreign:
        pytest.skip("this user belongs to no group but their own")
    os.chown(path, -1, foreign[0])
