"""Edge cases of the end and the beginning of `pipeguard serve`."""

import asyncio
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeguard.config.options import WrapOptions
from pipeguard.detect.detector import Engines
from pipeguard.gateway import serving
from pipeguard.gateway.serving import ServeOptions
from pipeguard.gateway.sources import Sources
from pipeguard.state.store import open_store
from pipeguard.state.tokens import TokenScope, create_token
from tests.fuzz.rulebook import engines
from tests.gateway.rogues import until
from tests.gateway.served import Served, ServedAt, actor, write_servers
from tests.gateway.test_serving import client_of, status
from tests.launch.processes import PATIENCE_SECONDS
from tests.launch.processes import until as await_words
from tests.wrap.listening import Browser

pytestmark = pytest.mark.real


def test_a_token_that_has_ended_still_closes_the_door(tmp_path: Path) -> None:
    path = write_servers(tmp_path, {"one": actor()})
    (tmp_path / "state").mkdir(mode=0o700)
    with closing(open_store(str(tmp_path / "state" / "pipeguard.db"))) as store:
        token = create_token(store, "ci", TokenScope(), datetime(2026, 1, 1, tzinfo=UTC))
    with ServedAt(tmp_path, "--config", str(path), "--log-level", "warning") as served:
        assert status(served.url) == 401
        for given, why in ((token, "is not valid"), ("x", "is not valid")):
            with client_of(served.url, given).send("POST", {}) as refused:
                assert why in refused.read().decode()
        with Browser(served.url).send("GET") as unnamed:
            assert unnamed.status == 401
        await_words(lambda: "entrance.no-token" in served.said(), "it is in the log")


def test_a_client_that_reads_nothing_and_hangs_up_keeps_nobody(tmp_path: Path) -> None:
    config = write_servers(tmp_path, {"one": actor()}, mode="direct")
    with Served(tmp_path, "--config", str(config)).opened() as client:
        for _ in range(8):  # more than a pipe holds
            client.request("tools/call", name="one__echo", arguments={"text": "x" * 20_000})
        client.hang_up()
        assert client.process.wait(PATIENCE_SECONDS) == 0


def test_an_edit_while_the_rules_are_loaded_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_servers(tmp_path, {"one": actor()})

    def edited() -> Engines:
        write_servers(tmp_path, {"one": actor(), "two": actor()})
        return engines()

    async def client(run: serving._Serving, *_: object) -> None:
        async with asyncio.timeout(30):
            await until(lambda: "two" in run._gateway.members)

    monkeypatch.setattr(serving, "wait_for_engines", edited)
    monkeypatch.setattr(serving._Serving, "_over_stdio", client)
    options = ServeOptions(Sources(str(path)), None, WrapOptions((), {}, {}, []))
    assert asyncio.run(serving._Serving(options).run(1)) == 0
