"""No check of the official suite that passes directly fails through `wrap --listen`."""

from collections.abc import Iterator

import pytest

from tests.conformance.behind import Runs, addresses_of, run_both, ways
from tests.conformance.suite import shown
from tests.listening import Listening

pytestmark = pytest.mark.real
NOT_OVER_STDIO = {
    # check: why a server that speaks stdio cannot show it, whoever stands in between
    "server-sse-priming-event": "only what can be resumed is primed, and a pipe cannot be",
    "server-sse-retry-field": "the same",
    "server-sse-disconnect-resume": "a server on a pipe has no stream of HTTP that it could close",
    "server-sse-streams-functional": "an answer that nothing precedes is no stream",
}
# What is played each time: over stdio, each session costs the start of a server.
OFTEN = {("2025-11-25", "http"), ("2026-07-28", "stdio")}
OVER_STDIO = {"2025-11-25", "2026-07-28"}  # older ones have nothing more


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("conformance")

    def enter(leg: str, command: list[str], url: str) -> Listening:
        words = ["--upstream", url] if leg == "http" else ["--", *command]
        return Listening(folder / leg, *words)

    with addresses_of(folder, enter) as found:
        yield found


@pytest.fixture(
    scope="module",
    params=ways(OFTEN, lambda way: way[1] == "http" or way[0] in OVER_STDIO),
    ids="-".join,
)
def runs(
    request: pytest.FixtureRequest,
    addresses: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Runs:
    return run_both(addresses, request.param, tmp_path_factory.mktemp("results"))


def test_the_server_itself_does_well(runs: Runs) -> None:
    assert runs.passes_enough(), runs.direct.reasons


def test_no_check_that_passes_direct_fails_through(runs: Runs) -> None:
    lost = runs.direct.lost(runs.through)
    if runs.leg == "stdio":
        lost = {check: why for check, why in lost.items() if check.id not in NOT_OVER_STDIO}
    assert not lost, shown(lost)
