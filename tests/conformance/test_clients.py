"""Every check of a client passes with `wrap --upstream` in between."""

import shlex
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import tools
from tests.conformance.suite import Run, client_scenario, client_scenarios
from tests.listening import hop

pytestmark = pytest.mark.real
CLIENT = Path(__file__).with_name("client.mjs")
ELSEWHERE = "auth/"  # a stdio client logs in nowhere: PipeGuard does, and has tests of that
AT_ONCE = 3  # they mostly wait
# In its latest revision, some parts of the protocol; `make exhaustive` has all, in each.
OFTEN = {
    "elicitation-sep1034-client-defaults",
    "http-custom-headers",
    "sep-2322-client-request-state",
    "sse-retry",
}
LEAST_SCENARIOS = 11
Key = tuple[str, str]  # revision, scenario


@pytest.fixture(scope="module", params=["often", pytest.param("all", marks=pytest.mark.exhaustive)])
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[Key, Future[Run]]:
    """Run every scenario in each of its revisions, or some in the latest."""
    listed = sorted(one for one in client_scenarios() if not one[1].startswith(ELSEWHERE))
    latest = {scenario: revision for revision, scenario in listed}
    assert len(latest) >= LEAST_SCENARIOS
    if request.param == "often":
        listed = [(latest[scenario], scenario) for scenario in sorted(OFTEN)]
    folder = tmp_path_factory.mktemp("clients")
    client = [str(tools.node()), str(CLIENT), str(tools.npm_modules()), *hop("--upstream"), "--"]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return {
            key: pool.submit(client_scenario, shlex.join(client), *key, folder.joinpath(*key))
            for key in listed
        }


def test_every_check_passes_through(runs: dict[Key, Future[Run]]) -> None:
    found = {key: run.result() for key, run in runs.items()}
    assert {scenario for _, scenario in found} >= OFTEN
    assert [key for key, run in found.items() if not run.passed] == []
    assert {key: run.reasons for key, run in found.items() if run.reasons} == {}
