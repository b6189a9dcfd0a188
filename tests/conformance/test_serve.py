"""No check of the official suite that passes direct fails through `serve`, but for the table here.

One server is behind the gateway, under its own names, and all tools are listed.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests import tools
from tests.conformance.suite import REVISIONS, Run, server_scenarios, shown
from tests.conformance.test_servers import LEAST_PASSED, LEGS, SERVER
from tests.gateway.served import ServedAt, write_servers
from tests.listening import Process
from tests.wrap.wrapped import Object

pytestmark = pytest.mark.real

# check: why it is lost. The gateway merges many servers into one, so what is said on which stream,
# and where that goes on after it was cut off, is its own.
LOST = {
    "server-sse-priming-event": "the gateway's streams cannot be resumed, so none is primed",
    "server-sse-retry-field": "the same",
    "server-sse-disconnect-resume": "the same",
    "server-sse-streams-functional": "an answer that nothing precedes is no stream",
}
OFTEN = {("2025-11-25", "stdio"), ("2026-07-28", "http"), ("2026-07-28", "stdio")}
WAYS = [
    (revision, leg)
    if (revision, leg) in OFTEN
    else pytest.param((revision, leg), marks=pytest.mark.exhaustive)
    for revision in REVISIONS
    for leg in LEGS
]


@dataclass(frozen=True)
class Runs:
    """The scenarios of one revision, run against the server directly and through the gateway."""

    revision: str
    direct: Run
    through: Run


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Where to reach the server: directly, and through gateways that reach it in two ways."""
    folder = tmp_path_factory.mktemp("conformance")
    python = str(tools.server_python())
    with ExitStack() as stack:
        # One for each way: what one run changes, the other would be told.
        direct, behind = (
            stack.enter_context(Process(folder / f"{name}.log", [python, SERVER, "http"]))
            for name in ("direct", "behind")
        )
        entries: dict[str, Object] = {
            "http": {"url": behind.url},
            "stdio": {"command": python, "args": [str(SERVER), "stdio"]},
        }
        gateways = {}
        for leg in LEGS:
            entry: Object = {**entries[leg], "trust": "first-use", "prefix": False}
            config = write_servers(folder / leg, {"behind": entry}, mode="direct")
            gateway = ServedAt(folder / leg, "--config", str(config))
            gateways[leg] = stack.enter_context(gateway)
        yield {"direct": direct.url, **{leg: gateway.url for leg, gateway in gateways.items()}}


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
        return Runs(revision, direct.result(), through.result())


def test_the_server_itself_does_well(runs: Runs) -> None:
    assert len(runs.direct.passed) >= LEAST_PASSED[runs.revision], runs.direct.reasons


def test_only_what_the_table_explains_is_lost(runs: Runs) -> None:
    lost = runs.direct.lost(runs.through)
    unexplained = {check: why for check, why in lost.items() if check.id not in LOST}
    assert not unexplained, shown(unexplained)
    if runs.revision == "2025-11-25":
        assert {check.id for check in lost} == LOST.keys(), "the table says what is true"
