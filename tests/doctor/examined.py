"""`pipeguard doctor` as its user runs it, with an environment of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.commands import run_command
from tests.people import run_here

RUN = (sys.executable, "-E", "-P", "-m", "pipeguard", "doctor")
# Checks of what is read anew at each look.
HERE = {*("policy", "state", "store", "audit", "pins", "logins", "clients", "isolation")}
_NOT_OURS = ("PIPEGUARD", "COVERAGE_PROCESS")


class Told(NamedTuple):
    """The result of one check: its state, all its messages, and all fixes."""

    state: str
    what: str
    fix: str


class Examined(NamedTuple):
    """One run, with the result of each check."""

    code: int
    checks: dict[str, Told]
    stdout: str
    stderr: str

    def of(self, name: str) -> Told:
        return self.checks[name]


class Person:
    """A home folder and variables, to be broken; another's settings are not among them."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not any(part in name.upper() for part in _NOT_OURS)
        }
        self.environment |= {
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "XDG_STATE_HOME": str(home / ".local" / "state"),
            "XDG_DATA_HOME": str(home / ".local" / "share"),
            "SHELL": "/bin/bash",
            "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
        }

    @property
    def state(self) -> Path:
        return self.home / ".local" / "state" / "pipeguard"

    @contextmanager
    def here(self) -> Iterator[None]:
        """Be that person, in their home."""
        with pytest.MonkeyPatch.context() as patch:
            for name in os.environ.keys() - self.environment.keys():
                patch.delenv(name)
            for name, value in self.environment.items():
                patch.setenv(name, value)
            patch.chdir(self.home)
            yield

    def run(self, *words: str, start: tuple[str, ...] = RUN) -> subprocess.CompletedProcess[str]:
        """Run it: in a process of its own if a check examines how a process starts."""
        if start is RUN and words and {*words} - {"--json"} <= HERE:
            with self.here():
                return run_here("doctor", *words)
        return run_command([*start, *words], cwd=self.home, env=self.environment, timeout=120)

    def examined(self, *checks: str, start: tuple[str, ...] = RUN) -> Examined:
        """Run the checks; require each problem to have a fix, and no traceback."""
        done = self.run(*checks, "--json", start=start)
        assert "Traceback" not in done.stdout + done.stderr
        assert "internal error" not in done.stderr, done.stderr
        told = json.loads(done.stdout)
        assert told["exit_code"] == done.returncode
        found = {}
        for check in told["checks"]:
            assert check["told"], check["id"]
            assert all(one["fix"] for one in check["told"] if one["state"] == "wrong"), check
            found[check["id"]] = Told(
                check["state"],
                "\n".join(one["what"] for one in check["told"]),
                "\n".join(filter(None, (one["fix"] for one in check["told"]))),
            )
        return Examined(done.returncode, found, done.stdout, done.stderr)

    def fix(self, command: str) -> None:
        """Run a check's fix in a shell."""
        subprocess.run(["sh", "-ec", command], env=self.environment, cwd=self.home, check=True)
