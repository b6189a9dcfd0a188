"""Servers that misbehave, or end, or are edited away: their clients are answered all the same."""

import asyncio
from pathlib import Path

import pytest

from pipeguard.gateway.gateway import Gateway
from pipeguard.state.tokens import TokenScope
from tests.gateway.rogues import rogue, talk
from tests.gateway.test_gateway import Client

pytestmark = pytest.mark.real


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_what_was_listed_is_not_read_once_a_token_is_revoked() -> None:
    scopes: list[TokenScope | None] = [TokenScope()]

    async def scenario(client: Client, _: Gateway) -> None:
        await client.result("prompts/list")
        await client.result("resources/list")
        scopes[0] = None
        assert "error" in await client.ask("resources/read", uri="x://b")
        assert "error" in await client.ask("prompts/get", name="b__p")

    talk(scenario, rogue("b", resources=["x://b"], prompts=["p"]), scope=lambda _: scopes[0])


def test_who_waits_for_a_server_to_start_is_answered_when_it_is_removed() -> None:
    async def scenario(client: Client, gateway: Gateway) -> None:
        asking = asyncio.ensure_future(client.result("resources/list"))
        await asyncio.sleep(0)  # it is asked
        await gateway.apply([])
        assert (await asking)["resources"] == []

    talk(scenario, rogue("b", mute=["initialize"]))
