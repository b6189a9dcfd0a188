"""A realistic home folder and repository for the tests of assess."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from pipeguard.assess.assessing import Assessment, assess
from pipeguard.assess.target import AssessmentTarget, of_machine, of_repository
from pipeguard.assess.values import PostureFinding
from pipeguard.clients.machine import Machine
from tests.commands import run_command
from tests.fuzz.rulebook import engines

SECRET = "zq7" + "Rt55Kp0s81LmVw"  # of no real service
Entry = Mapping[str, object]


def write_config(path: Path, servers: Mapping[str, Entry], key: str = "mcpServers") -> Path:
    """Write a client's file with some servers, readable only by its owner."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({key: servers}, indent=1), encoding="utf-8")
    path.chmod(0o600)
    return path


def machine(
    home: Path, servers: Mapping[str, Entry], project: Path | None = None
) -> AssessmentTarget:
    """A machine on which Cursor has these servers."""
    write_config(home / ".cursor/mcp.json", servers)
    environment = {"PIPEGUARD_STATE_DIR": str(home / "state")}
    return of_machine(Machine("linux", home, environment, project), engines())


def repository(root: Path, servers: Mapping[str, Entry]) -> AssessmentTarget:
    """A repository with a file of Claude Code's."""
    write_config(root / ".mcp.json", servers)
    return of_repository(root, Machine("linux", root / "home", {}), engines())


def of(assessment: Assessment | AssessmentTarget, check: str) -> list[PostureFinding]:
    """Return the findings of one check."""
    if isinstance(assessment, AssessmentTarget):
        assessment = assess(assessment)
    return [one for one in assessment.findings if one.check == check]


def run(*arguments: str, home: Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `pipeguard assess` as a user does."""
    command = [sys.executable, "-m", "pipeguard", "assess", *arguments]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("XDG_CONFIG")},
        "HOME": str(home),
        "PIPEGUARD_STATE_DIR": str(home / "state"),
    }
    return run_command(command, cwd=cwd or home, env=environment)
