"""No check of the official suite that passes direct fails through `serve`, but for the table here.

One server is behind the gateway, under its own names, and all tools are listed.
"""

from collections.abc import Iterator

import pytest

from tests.conformance.behind import Runs, addresses_of, run_both, ways
from tests.conformance.suite import shown
from tests.gateway.served import ServedAt, write_servers
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
OFTEN = {("2025-11-25", "stdio"), ("2026-07-28", "http")}


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("conformance")

    def enter(leg: str, command: list[str], url: str) -> ServedAt:
        reached: Object = {"url": url}
        if leg == "stdio":
            reached = {"command": command[0], "args": [*command[1:]]}
        entry: Object = {**reached, "trust": "first-use", "prefix": False}
        config = write_servers(folder / leg, {"behind": entry}, mode="direct")
        return ServedAt(folder / leg, "--config", str(config))

    with addresses_of(folder, enter) as found:
        yield found


@pytest.fixture(scope="module", params=ways(OFTEN), ids="-".join)
def runs(
    request: pytest.FixtureRequest,
    addresses: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Runs:
    return run_both(addresses, request.param, tmp_path_factory.mktemp("results"))


def test_the_server_itself_does_well(runs: Runs) -> None:
    assert runs.passes_enough(), runs.direct.reasons


def test_only_what_the_table_explains_is_lost(runs: Runs) -> None:
    lost = runs.direct.lost(runs.through)
    unexplained = {check: why for check, why in lost.items() if check.id not in LOST}
    assert not unexplained, shown(unexplained)
    if runs.revision == "2025-11-25":
        assert {check.id for check in lost} == LOST.keys(), "the table says what is true"
