"""What the end, and the beginning, of `pipeguard serve` must not miss."""

import asyncio
from pathlib import Path

import pytest

from pipeguard.config.options import WrapOptions
from pipeguard.core.session.guard import Engines
from pipeguard.gateway import serving
from pipeguard.gateway.serving import ServeOptions
from pipeguard.gateway.sources import Sources
from tests.fuzz.rulebook import engines
from tests.gateway.rogues import until
from tests.gateway.served import actor, write_servers

pytestmark = pytest.mark.real


def test_an_edit_while_the_rules_are_loaded_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))
    path = write_servers(tmp_path, {"one": actor()})

    def edited() -> Engines:
        write_servers(tmp_path, {"one": actor(), "two": actor()})
        return engines()

    async def client(run: serving._Serving, *_: object) -> None:
        async with asyncio.timeout(30):
            await until(lambda: "two" in run._gateway.members)

    monkeypatch.setattr(serving, "load_engines", edited)
    monkeypatch.setattr(serving._Serving, "_over_stdio", client)
    options = ServeOptions(Sources(str(path)), None, WrapOptions((), {}, {}, []))
    assert asyncio.run(serving._Serving(options).run(1)) == 0
