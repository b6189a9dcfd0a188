"""No check of a client that passes directly fails with `wrap --upstream` instead."""

import shlex
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import tools
from tests.conformance.suite import Run, client_scenario, client_scenarios, shown
from tests.listening import hop

pytestmark = pytest.mark.real
CLIENT = Path(__file__).with_name("client.mjs")
ELSEWHERE = "auth/"  # a stdio client logs in nowhere: PipeGuard does, and has tests of that
AT_ONCE = 3  # they mostly wait
# In its latest revision, one for each part of the protocol; `make exhaustive` has all, in each.
OFTEN = {
    "elicitation-sep1034-client-defaults",
    "http-custom-headers",
    "json-schema-2020-12-preservation",
    "sep-2322-client-request-state",
    "sse-retry",
    "tools_call",
}
LEAST_SCENARIOS = 11
Key = tuple[str, str, str]  # way, revision, scenario


@pytest.fixture(scope="module", params=["often", pytest.param("all", marks=pytest.mark.exhaustive)])
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[Key, Future[Run]]:
    """Run every scenario, directly and through, in each of its revisions; or some in the latest."""
    listed = sorted(one for one in client_scenarios() if not one[1].startswith(ELSEWHERE))
    latest = {scenario: revision for revision, scenario in listed}
    assert len(latest) >= LEAST_SCENARIOS
    if request.param == "often":
        listed = [(latest[scenario], scenario) for scenario in sorted(OFTEN)]
    folder = tmp_path_factory.mktemp("clients")
    client = [str(tools.node()), str(CLIENT), str(tools.npm_modules())]
    ways = {"direct": client, "through": [*client, *hop("--upstream"), "--"]}
    found: dict[Key, Future[Run]] = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for revision, scenario in listed:
            for way, command in ways.items():
                place = folder / way / revision / scenario
                arguments = (shlex.join(command), revision, scenario, place)
                found[way, revision, scenario] = pool.submit(client_scenario, *arguments)
    return found


def test_the_client_itself_does_well(runs: dict[Key, Future[Run]]) -> None:
    direct = {key[1:]: run.result() for key, run in runs.items() if key[0] == "direct"}
    assert {scenario for _, scenario in direct} >= OFTEN
    assert {key: run.reasons for key, run in direct.items() if run.reasons} == {}


def test_no_check_that_passes_direct_fails_through(runs: dict[Key, Future[Run]]) -> None:
    lost = [
        shown(run.result().lost(runs["through", *key[1:]].result()))
        for key, run in runs.items()
        if key[0] == "direct"
    ]
    assert not any(lost), "\n".join(filter(None, lost))
