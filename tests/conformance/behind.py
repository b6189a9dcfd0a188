"""The suite's scenarios for servers, run against our server directly and through PipeGuard."""

from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import tools
from tests.conformance.suite import REVISIONS, Run, server_scenarios
from tests.listening import Process

SERVER = Path(__file__).with_name("server.py")
LEGS = ("http", "stdio")  # how PipeGuard reaches the server
DIRECT = "direct"
# How many checks the server itself passes: fewer mean that a test compares less than it seems.
LEAST_PASSED = {"2025-03-26": 3, "2025-06-18": 56, "2025-11-25": 84, "2026-07-28": 140}

Way = tuple[str, str]  # a revision and a leg


@dataclass(frozen=True)
class Runs:
    """The scenarios of one revision, run directly and in one way through PipeGuard."""

    revision: str
    leg: str
    direct: Run
    through: Run

    def passes_enough(self) -> bool:
        """True if the server itself passes enough checks."""
        return len(self.direct.passed) >= LEAST_PASSED[self.revision]


def ways(often: Collection[Way], are_played: Callable[[Way], bool] = lambda _: True) -> list[Any]:
    """Each revision over each leg, for `pytest.fixture`.

    Args:
        often: the ways to play each time; the others are for `make exhaustive`.
        are_played: whether a way is played at all.
    """
    each = [(revision, leg) for revision in REVISIONS for leg in LEGS]
    return [
        way if way in often else pytest.param(way, marks=pytest.mark.exhaustive)
        for way in each
        if are_played(way)
    ]


@contextmanager
def addresses_of(
    folder: Path, enter: Callable[[str, list[str], str], Process]
) -> Iterator[dict[str, str]]:
    """Yield the server's addresses: direct, and through PipeGuard in each way.

    Args:
        folder: for the logs.
        enter: starts PipeGuard for a leg, given the command of a stdio server and the address of
            another one.
    """
    python = str(tools.server_python())
    with ExitStack() as stack:
        # One for each way: what one run changes, the other would be told.
        direct, behind = (
            stack.enter_context(Process(folder / f"{name}.log", [python, SERVER, "http"]))
            for name in (DIRECT, "behind")
        )
        command = [python, str(SERVER), "stdio"]
        hops = {leg: stack.enter_context(enter(leg, command, behind.url)) for leg in LEGS}
        yield {DIRECT: direct.url, **{leg: hop.url for leg, hop in hops.items()}}


def run_both(addresses: Mapping[str, str], way: Way, folder: Path) -> Runs:
    """Run the scenarios of a revision directly, and through PipeGuard over a leg."""
    revision, leg = way
    with ThreadPoolExecutor() as pool:  # the suite mostly waits
        direct, through = (
            pool.submit(server_scenarios, addresses[name], revision, folder / name)
            for name in (DIRECT, leg)
        )
        return Runs(revision, leg, direct.result(), through.result())
