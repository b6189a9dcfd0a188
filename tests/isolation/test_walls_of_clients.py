"""Several clients of one address: their messages about walls that one of them hit."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

import pytest

from tests.isolation.test_walls import texts
from tests.isolation.test_wrapped import REACHER
from tests.launch.processes import until
from tests.wrap.listening import Browser, Listening

pytestmark = pytest.mark.needs("bubblewrap")

HOST = "192.0.2.1:22"


def opened(url: str) -> Browser:
    client = Browser(url)
    client.open()
    client.ask("tools/list")
    return client


def call(client: Browser, tool: str, what: str) -> list[str]:
    return texts(client.ask("tools/call", name=tool, arguments={"what": what}))


def test_no_client_reads_of_another_one_s_walls(tmp_path: Path) -> None:
    shared, home = tmp_path / "shared", tmp_path / "home"
    shared.mkdir()
    home.mkdir()
    go = shared / "go"
    options = ("--isolate", "auto", "--write", str(shared))
    environment = {"HOME": str(home), "PIPEGUARD_POLICY": ""}
    with Listening(tmp_path, options, REACHER, environment) as at:
        one, other = opened(at.url), opened(at.url)
        said: list[list[str]] = []
        waiting = Thread(target=lambda: said.append(call(other, "outwait", str(go))), daemon=True)
        waiting.start()
        until((shared / "go.begun").exists, "the other client's call runs")
        assert len(call(one, "fetch", HOST)) == 1, "whose wall it was is not known"
        go.touch()
        waiting.join()
        assert said == [["it failed"]]
        until(lambda: f"excerpt={HOST}" in at.said(), "the person is told all the same")
        assert len(call(one, "fetch", HOST)) == 1, "there are several clients now"
        assert len(call(other, "claim", "it failed")) == 1
