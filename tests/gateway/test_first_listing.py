"""What a server offers besides tools waits for approval before any client has listed it."""

from pathlib import Path

import pytest

from pipeguard.gateway.first_listing import MOST_PAGES
from pipeguard.gateway.gateway import Gateway
from tests.gateway.rogues import Client, rogue, talk, until

pytestmark = pytest.mark.real
REVIEW = {"trust": "review"}


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_all_definitions_wait_at_once() -> None:
    async def scenario(_: Client, gateway: Gateway) -> None:
        member = gateway.members["new"]
        held = {key for key, pin in member.run.guard.pins.items() if pin.held_definition}
        assert {kind for kind, _ in held} == {"tool", "prompt", "resource", "template"}
        assert member.waiting == len(held) == 5

    new = rogue(
        "new",
        settings=REVIEW,
        tools=["run"],
        prompts=["greet", "part"],
        resources=["x://one"],
        templates=["x://{id}"],
    )
    talk(scenario, new)


def test_a_list_without_end_is_left_and_the_next_one_read(tmp_path: Path) -> None:
    log = tmp_path / "log"

    async def scenario(_: Client, gateway: Gateway) -> None:
        member = gateway.members["endless"]
        await until(lambda: member.waiting == 1)
        assert log.read_text().count("resources/list") == MOST_PAGES

    talk(
        scenario,
        rogue("endless", settings=REVIEW, endless=True, templates=["x://{id}"], log=str(log)),
    )


def test_a_server_that_never_answers_a_list_is_used_all_the_same() -> None:
    async def scenario(client: Client, _: Gateway) -> None:
        assert "ran at mute" in await client.text("mute__run")

    talk(scenario, rogue("mute", tools=["run"], prompts=["greet"], mute=["prompts/list"]))
