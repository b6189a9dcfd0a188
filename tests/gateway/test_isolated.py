"""A server of the gateway that is isolated: `isolate` in pipeguard.yaml."""

import os
from pathlib import Path

import pytest

from tests.files import write_program
from tests.gateway.served import Served, write_servers
from tests.isolation.test_walls import event_in, texts
from tests.isolation.test_wrapped import REACHER
from tests.launch.processes import until
from tests.wrap.wrapped import Json, Object

pytestmark = [pytest.mark.real, pytest.mark.needs("bubblewrap")]


def entry(**isolate: Json) -> Object:
    program, *arguments = REACHER
    return {"command": program, "args": [*arguments], "trust": "first-use", "isolate": isolate}


def test_a_server_reaches_what_its_entry_gives_it(tmp_path: Path) -> None:
    given, other = tmp_path / "given", tmp_path / "other"
    for folder in (given, other):
        folder.mkdir()
        (folder / "note").write_text("a note")
    servers = {"one": entry(read=[str(given)]), "two": entry()}
    with Served(
        tmp_path, "--config", str(write_servers(tmp_path, servers)), "--mode", "direct"
    ) as run:
        run.initialize()
        assert run.call("one__read", what=str(given / "note")) == "a note"
        assert run.call("one__read", what=str(other / "note")) == "FileNotFoundError"
        assert run.call("two__read", what=str(given / "note")) == "FileNotFoundError"


def test_an_answer_that_failed_at_a_wall_says_so_once(tmp_path: Path) -> None:
    (tmp_path / "note").write_text("a note")
    options = ("--config", str(write_servers(tmp_path, {"one": entry()})), "--mode", "direct")
    with Served(tmp_path, *options).opened() as run:
        for tool, what in (("fetch", "api.example.com"), ("read_text_file", tmp_path / "note")):
            answer = run.ask("tools/call", name=f"one__{tool}", arguments={"what": str(what)})
            ours = [text for text in texts(answer) if text.startswith("PipeGuard: ")]
            assert len(ours) == 1
            assert ("file that it named" if tool == "read_text_file" else str(what)) in ours[0]
            assert event_in(ours[0])


def test_an_entry_that_cannot_be_given_is_told(tmp_path: Path) -> None:
    servers = {"one": entry(read=["/nowhere"])}
    with Served(
        tmp_path, "--config", str(write_servers(tmp_path, servers)), "--mode", "direct"
    ) as run:
        run.initialize()
        run.ask("tools/list")  # of a server that starts slowly, it does not wait
        until(lambda: "/nowhere" in run.said(), "it is told")


def test_a_package_is_fetched_while_other_servers_are_served(tmp_path: Path) -> None:
    """Its installer stands for a slow registry: it waits until another server was called."""
    called = tmp_path / "called"
    waiting = "#!/bin/sh\nwhile [ ! -e notyet ]; do sleep 0.1; done\n"
    installer = write_program(tmp_path / "bin" / "npm", waiting)
    slow: Object = {**entry(), "command": "npx", "args": ["-y", "slow-server"]}
    slow["env"] = {"PATH": f"{installer.parent}:{os.environ['PATH']}"}
    servers = {"slow": slow, "quick": entry(engine="none")}
    config = str(write_servers(tmp_path, servers))
    with Served(tmp_path, "--config", config, "--mode", "direct") as run:
        until(lambda: "fetching slow-server" in run.said(), "the package is being fetched")
        run.initialize()
        run.ask("tools/list")
        assert run.call("quick__write", what=str(called)) == "written"
    assert called.exists()
