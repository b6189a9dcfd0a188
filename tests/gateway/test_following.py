"""`serve` follows its sources: whatever an edit is, the next one is read."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from pipeguard.config.options import WrapOptions
from pipeguard.errors import StateError
from pipeguard.gateway import gateway, life, serving
from pipeguard.gateway.gateway import Gateway
from pipeguard.gateway.member import GatewayServer
from pipeguard.gateway.menu import ToolMode
from pipeguard.gateway.serving import ServeOptions
from pipeguard.gateway.sources import Sources
from tests.fuzz.rulebook import engines
from tests.gateway.rogues import until
from tests.gateway.served import actor, write_servers

pytestmark = pytest.mark.real
PATIENCE_SECONDS = 60.0


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "WATCH_SECONDS", 0.05)
    monkeypatch.setattr(serving, "wait_for_engines", engines)
    monkeypatch.setattr(life, "FIRST_DELAY_SECONDS", 0.01)


def follow(
    monkeypatch: pytest.MonkeyPatch,
    sources: Sources,
    scenario: Callable[[Gateway], Awaitable[None]],
) -> None:
    """Serve these sources while a scenario runs in place of a client."""

    async def client(run: serving._Serving, *_: object) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await scenario(run._gateway)

    monkeypatch.setattr(serving._Serving, "_over_stdio", client)
    options = ServeOptions(sources, ToolMode.DIRECT, WrapOptions((), {}, {}, []))
    assert asyncio.run(serving._Serving(options).run(1)) == 0


def test_an_unexpected_error_is_reported_and_the_next_edit_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    read = Sources.read

    def break_once(sources: Sources, variables: os._Environ[str]) -> object:
        text = (tmp_path / "pipeguard.yaml").read_text()
        if "broken" in text:
            raise RecursionError("too deep")
        return read(sources, variables)

    async def scenario(served: Gateway) -> None:
        write_servers(tmp_path, {"broken": actor()})
        await until(lambda: "too deep" in capfd.readouterr().err)
        write_servers(tmp_path, {"one": actor(), "two": actor()})
        await until(lambda: "two" in served.members)

    monkeypatch.setattr(Sources, "read", break_once)
    path = write_servers(tmp_path, {"one": actor()})
    follow(monkeypatch, Sources(str(path)), scenario)


def test_a_server_that_could_not_be_made_is_tried_again_and_says_why_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_fixed = False

    class Unmade(GatewayServer):
        def __init__(self, *arguments: object) -> None:
            if not is_fixed:
                raise StateError("the store is locked")
            super().__init__(*arguments)  # type: ignore[arg-type]  # as they were given

    async def scenario(served: Gateway) -> None:
        nonlocal is_fixed
        assert served.absent() == {"one": "the store is locked"}
        is_fixed = True
        await until(lambda: "one" in served.members)
        assert "one" not in served.left_out

    monkeypatch.setattr(gateway, "GatewayServer", Unmade)
    follow(monkeypatch, Sources(str(write_servers(tmp_path, {"one": actor()}))), scenario)
