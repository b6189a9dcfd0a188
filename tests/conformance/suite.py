"""Runs the official conformance suite and reads what it found, check by check.

The suite is npm's `@modelcontextprotocol/conformance`, at the version of tests/package-lock.json.
Which difference between two runs is a fault is for the tests to say.
"""

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests import tools

RUN_SECONDS = 300  # far beyond the slowest run
TAIL_LETTERS = 1000
PASSED, SKIPPED = "SUCCESS", "SKIPPED"
TELLS_NOTHING = {"INFO"}  # what the suite notes in passing
SCENARIO = re.compile(r"^(?:server-)?(?P<name>.+?)-\d{4}-\d\d-\d\dT[\d-]+Z$")
LISTED = re.compile(r"^  - (?P<name>\S+) \[(?P<revisions>[\d,-]+)\]$", re.MULTILINE)
REVISIONS = ("2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28")


class Check(NamedTuple):
    """One thing that the suite looks at; it may look more than once."""

    scenario: str
    id: str
    name: str


@dataclass(frozen=True)
class Run:
    """What one run of the suite found.

    Attributes:
        statuses: of each check, each time that it was made.
        reasons: what the suite says of the checks that did not go well.
        printed: all that it printed.
    """

    statuses: Mapping[Check, list[str]]
    reasons: Mapping[Check, str]
    printed: str = ""

    @property
    def passed(self) -> set[Check]:
        """The checks that went well each time that they were made."""
        return {
            check
            for check, statuses in self.statuses.items()
            if PASSED in statuses and set(statuses) <= {PASSED, SKIPPED}
        }

    def lost(self, through: "Run") -> dict[Check, str]:
        """What went well here and did not, or was not made, in the other run; with the reason."""
        return {
            check: through.reasons.get(check) or through.without(check.scenario)
            for check in sorted(self.passed - through.passed)
        }

    def without(self, scenario: str) -> str:
        """Why a check of this scenario may not have been made."""
        others = [why for check, why in self.reasons.items() if check.scenario == scenario]
        if not others and not self.statuses:
            return f"nothing ran: {self.printed[-TAIL_LETTERS:]}"
        return f"was not made; what did not go well before it: {others}"


def server_scenarios(url: str, revision: str, folder: Path) -> Run:
    """Run what the suite has for a server of this revision against the server at the address."""
    words = ["server", "--url", url, "--suite", "all", "--spec-version", revision]
    return _run(words, folder)


def shown(lost: Mapping[Check, str]) -> str:
    """What was lost, a line for each check."""
    return "\n".join(f"{check.scenario}: {check.name}: {why}" for check, why in lost.items())


def client_scenarios() -> list[tuple[str, str]]:
    """Each scenario that the suite has for clients, with each revision that it has it for."""
    printed = subprocess.run(
        [*_suite(), "list", "--client"], capture_output=True, encoding="utf-8", check=True
    ).stdout
    return [
        (revision, found["name"])
        for found in LISTED.finditer(printed)
        for revision in found["revisions"].split(",")
    ]


def client_scenario(command: str, revision: str, scenario: str, folder: Path) -> Run:
    """Run a scenario for clients: the suite is the server, and adds its address to the command."""
    words = ["client", "--command", command, "--scenario", scenario, "--spec-version", revision]
    return _run(words, folder)


def _suite() -> list[str | Path]:
    package = tools.npm_modules() / "@modelcontextprotocol" / "conformance"
    return [tools.node(), package / "dist" / "index.js"]


def _run(words: list[str], folder: Path) -> Run:
    patience = ("--timeout", str(1000 * RUN_SECONDS))  # its own 30 s are few on a busy machine
    done = subprocess.run(
        [*_suite(), *words, *patience, "--output-dir", str(folder)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=RUN_SECONDS,
        check=False,
    )
    statuses: dict[Check, list[str]] = {}
    reasons: dict[Check, str] = {}
    for path in sorted(folder.rglob("checks.json")):
        found = SCENARIO.match(path.parent.name)
        assert found, path
        for one in json.loads(path.read_text("utf-8")):
            if one["status"] in TELLS_NOTHING:
                continue
            check = Check(found["name"], one["id"], one["name"])
            statuses.setdefault(check, []).append(one["status"])
            if one["status"] not in (PASSED, SKIPPED):
                told = one.get("errorMessage") or one.get("details")
                reasons[check] = f"{one['status']}: {told}"
    return Run(statuses, reasons, done.stdout + done.stderr)
