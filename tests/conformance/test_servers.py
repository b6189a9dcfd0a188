"""No check of the official suite that passes direct fails through `wrap --listen`."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import tools
from tests.conformance.suite import REVISIONS, Run, server_scenarios, shown
from tests.listening import Listening, Process

pytestmark = pytest.mark.real
SERVER = Path(__file__).with_name("server.py")
LEGS = ("http", "stdio")  # how PipeGuard reaches the server
# How many checks the server itself passes: fewer mean that this test compares less than it seems.
LEAST_PASSED = {"2025-03-26": 3, "2025-06-18": 56, "2025-11-25": 84, "2026-07-28": 140}


NOT_OVER_STDIO = {
    # check: why a server that speaks stdio cannot show it, whoever stands in between
    "server-sse-priming-event": "only what can be resumed is primed, and a pipe cannot be",
    "server-sse-retry-field": "the same",
    "server-sse-disconnect-resume": "a server on a pipe has no stream of HTTP that it could close",
    "server-sse-streams-functional": "an answer that nothing precedes is no stream",
}
# What is played each time: over stdio, each session costs the start of a server.
OFTEN = {("2025-11-25", "http"), ("2026-07-28", "http"), ("2026-07-28", "stdio")}
WAYS = [
    (revision, leg)
    if (revision, leg) in OFTEN
    else pytest.param((revision, leg), marks=pytest.mark.exhaustive)
    for revision in REVISIONS
    for leg in LEGS
    if leg == "http" or revision in {"2025-11-25", "2026-07-28"}  # older ones have nothing more
]


@dataclass(frozen=True)
class Runs:
    """The scenarios of one revision, run against the server directly and in one way through."""

    revision: str
    leg: str
    direct: Run
    through: Run


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Where to reach the server: directly, and in each way through PipeGuard."""
    folder = tmp_path_factory.mktemp("conformance")
    python = str(tools.server_python())
    with ExitStack() as stack:
        # One for each way: what one run changes, the other would be told.
        direct, behind = (
            stack.enter_context(Process(folder / f"{name}.log", [python, SERVER, "http"]))
            for name in ("direct", "behind")
        )
        words = {
            "http": ("--upstream", behind.url),
            "stdio": ("--", python, str(SERVER), "stdio"),
        }
        hops = {leg: stack.enter_context(Listening(folder / leg, *words[leg])) for leg in LEGS}
        yield {"direct": direct.url, **{leg: hop.url for leg, hop in hops.items()}}


@pytest.fixture(scope="module", params=WAYS, ids="-".join)
def runs(
    request: pytest.FixtureRequest,
    addresses: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Runs:
    (revision, leg), folder = request.param, tmp_path_factory.mktemp("results")
    with ThreadPoolExecutor() as pool:  # the suite mostly waits
        direct, through = (
            pool.submit(server_scenarios, addresses[way], revision, folder / way)
            for way in ("direct", leg)
        )
        return Runs(revision, leg, direct.result(), through.result())


def test_the_server_itself_does_well(runs: Runs) -> None:
    assert len(runs.direct.passed) >= LEAST_PASSED[runs.revision], runs.direct.reasons


def test_no_check_that_passes_direct_fails_through(runs: Runs) -> None:
    lost = runs.direct.lost(runs.through)
    if runs.leg == "stdio":
        lost = {check: why for check, why in lost.items() if check.id not in NOT_OVER_STDIO}
    assert not lost, shown(lost)
