"""Two isolated servers behind the gateway, one in quarantine: approved, walled, allowed, served."""

import os
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from tests.gateway.served import Served, write_servers
from tests.isolation.test_escapes import answering
from tests.isolation.test_walls import event_in, texts
from tests.isolation.test_wrapped import REACHER
from tests.launch.processes import until
from tests.wrap.deciding import decide
from tests.wrap.wrapped import Json, Object, result

pytestmark = [pytest.mark.real, pytest.mark.needs("bubblewrap")]
POLICY = "# mine\n"


def service_port() -> int:
    """Return a free port below the ephemeral ones, whose refusals are not reported."""
    first = 20_000 + os.getpid() % 10_000
    for port in range(first, first + 1000):
        with socket.socket() as tried, suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port
    pytest.fail("no port is free")


def failing(trust: str, **isolate: Json) -> Object:
    program, *arguments = REACHER
    return {"command": program, "args": [*arguments], "trust": trust, "isolate": isolate}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With a home and a policy of its own."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "diary").write_text("a day")
    (tmp_path / "policy.yaml").write_text(POLICY)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PIPEGUARD_POLICY", str(tmp_path / "policy.yaml"))
    return tmp_path


def decided(folder: Path, *words: str) -> str:
    """Return the output for a person who decides."""
    variables = {"PIPEGUARD_POLICY": str(folder / "policy.yaml"), "HOME": str(folder / "home")}
    code, shown = decide(folder / "state", *words, environment=variables)
    assert code == 0, shown
    return shown


def tools(run: Served) -> set[str]:
    listed = result(run.ask("tools/list"))["tools"]
    assert isinstance(listed, list)
    return {str(tool["name"]).partition("__")[0] for tool in listed if isinstance(tool, dict)}


def call(run: Served, tool: str, what: object) -> list[str]:
    answer = run.ask("tools/call", name=tool, arguments={"what": str(what)})
    return texts(answer) if "result" in answer else []  # while it is started anew


def serving(folder: Path, trust: str = "review") -> Served:
    servers = {"one": failing("first-use"), "two": failing(trust)}
    return Served(folder, "--config", str(write_servers(folder, servers)), "--mode", "direct")


def test_who_is_approved_is_isolated_and_given_what_a_person_allows(folder: Path) -> None:
    with (
        serving(folder) as run,
        answering(socket.AF_INET, ("127.0.0.1", service_port())) as listener,
    ):
        port = listener.getsockname()[1]
        run.initialize()
        until(lambda: tools(run) == {"one"}, "the one that was not reviewed is in quarantine")
        decided(folder, "approve", "two", "--all", "--yes")
        until(lambda: tools(run) == {"one", "two"}, "it was approved")
        event = event_in(call(run, "two__call_port", port)[1])
        until(lambda: f"pipeguard allow {event}" in run.said(), "the person is told the command")
        assert "applies from the next start of two" in decided(folder, "allow", event)
        servers = {"one": failing("first-use"), "two": failing("first-use", hosts=["api.test"])}
        write_servers(folder, servers)  # which starts that one again
        until(lambda: call(run, "two__call_port", port) == ["connected"], "it is given")
        assert len(call(run, "one__call_port", port)) > 1  # to that server alone


def test_a_file_that_is_allowed_holds_once_the_server_is_started_anew(folder: Path) -> None:
    diary = folder / "home" / "diary"
    with serving(folder, trust="first-use") as run:
        run.initialize()
        event = event_in(call(run, "two__read_text_file", diary)[1])
        until(lambda: f"pipeguard allow {event}" in run.said(), "the person is told the command")
        said = decided(folder, "allow", event)
        assert "restart it in its client, or restart `pipeguard serve`" in said
        assert len(call(run, "two__read_text_file", diary)) > 1  # the answer, and our text
        servers = {"one": failing("first-use"), "two": failing("first-use", hosts=["api.test"])}
        write_servers(folder, servers)  # which starts that one anew
        until(lambda: call(run, "two__read_text_file", diary) == ["a day"], "it is given")
        assert len(call(run, "one__read_text_file", diary)) > 1


def test_a_host_that_is_allowed_is_reached_by_the_server_that_runs(folder: Path) -> None:
    with serving(folder, trust="first-use") as run:
        run.initialize()
        event = event_in(call(run, "two__fetch", "api.example.com")[1])
        until(lambda: f"pipeguard allow {event}" in run.said(), "the person is told the command")
        assert "api.example.com" in decided(folder, "allow", event)
        text = (folder / "policy.yaml").read_text()
        assert text == f"{POLICY}isolate:\n- server: two\n  hosts: [api.example.com]\n"
        # Given, it is no wall any more: what is left is a host that nobody answers at.
        until(lambda: len(call(run, "two__fetch", "api.example.com")) == 1, "it is given")
        assert len(call(run, "one__fetch", "api.example.com")) > 1
