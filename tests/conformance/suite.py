"""Runs the official conformance suite and reads its results, check by check.

The suite is npm's `@modelcontextprotocol/conformance`, at the version of tests/package-lock.json.
The tests say which difference between two runs is a fault.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests import tools
from tests.commands import run_command

RUN_SECONDS = 300  # far beyond the slowest run
TAIL_LETTERS = 1000
PASSED, SKIPPED = "SUCCESS", "SKIPPED"
TELLS_NOTHING = {"INFO"}  # what the suite notes in passing
SCENARIO = re.compile(r"^(?:server-)?(?P<name>.+?)-\d{4}-\d\d-\d\dT[\d-]+Z$")
LISTED = re.compile(r"^  - (?P<name>\S+) \[(?P<revisions>[\d,-]+)\]$", re.MULTILINE)
REVISIONS = ("2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28")


class Check(NamedTuple):
    """A check of the suite, which may run more than once."""

    scenario: str
    id: str
    name: str


@dataclass(frozen=True)
class Run:
    """The results of one run of the suite.

    Attributes:
        statuses: the statuses of each check, one for each time that it ran.
        reasons: the suite's explanations of checks that failed.
        printed: its whole output.
    """

    statuses: Mapping[Check, list[str]]
    reasons: Mapping[Check, str]
    printed: str = ""

    @property
    def passed(self) -> set[Check]:
        """The checks that passed every time that they ran."""
        return {
            check
            for check, statuses in self.statuses.items()
            if PASSED in statuses and set(statuses) <= {PASSED, SKIPPED}
        }

    def lost(self, through: "Run") -> dict[Check, str]:
        """Return the checks that passed here but failed or did not run in the other run."""
        return {
            check: through.reasons.get(check) or through.without(check.scenario)
            for check in sorted(self.passed - through.passed)
        }

    def without(self, scenario: str) -> str:
        """Explain why a check of this scenario may not have run."""
        others = [why for check, why in self.reasons.items() if check.scenario == scenario]
        if not others and not self.statuses:
            return f"nothing ran: {self.printed[-TAIL_LETTERS:]}"
        return f"was not made; what did not go well before it: {others}"


def server_scenarios(url: str, revision: str, folder: Path) -> Run:
    """Run the suite's server scenarios of this revision against the address."""
    words = ["server", "--url", url, "--suite", "all", "--spec-version", revision]
    return _run(words, folder)


def shown(lost: Mapping[Check, str]) -> str:
    """Format the lost checks, one a line."""
    return "\n".join(f"{check.scenario}: {check.name}: {why}" for check, why in lost.items())


def client_scenarios() -> list[tuple[str, str]]:
    """List each of the suite's scenarios for clients, with each of its revisions."""
    printed = run_command([*_suite(), "list", "--client"], check=True).stdout
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
    done = run_command(
        [*_suite(), *words, *patience, "--output-dir", str(folder)], timeout=RUN_SECONDS
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
