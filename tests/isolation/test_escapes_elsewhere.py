"""Escape attempts of a server with other clients: `wrap --listen`, `serve`, both kinds."""

import json
import sys
from pathlib import Path

import pytest

from tests.gateway.served import Served, ServedAt, text_of, write_servers
from tests.isolation.test_escapes import check_outcomes, surrounded
from tests.isolation.test_escapes import home as home  # a fixture, by its name
from tests.launch.processes import until
from tests.wrap.deciding import decide
from tests.wrap.listening import Browser, Listening
from tests.wrap.wrapped import Object

pytestmark = [pytest.mark.real, pytest.mark.needs("bubblewrap")]

PROGRAM = Path(__file__).with_name("reacher.py")
LIMITS = ("memory=512MiB", "processes=64", "files=256", "file-size=64MiB", "scratch=32MiB")


def command_of(facts: dict[str, object], written: Path) -> list[str]:
    """Return the server's command."""
    return [sys.executable, "-I", "-S", str(PROGRAM), json.dumps(facts), str(written)]


def check(written: Path, state: Path) -> None:
    """Check that no attempt succeeded, and that refused hosts are in the audit."""
    check_outcomes(json.loads(written.read_text()))
    until(lambda: _audited(state), "refused hosts are in the audit")


def _audited(state: Path) -> bool:
    exported = decide(state, "audit", "export")[1]
    return all(host in exported for host in ("example.com", "metadata.google.internal"))


@pytest.fixture
def written(home: Path) -> Path:
    return home / "work" / "given" / "outcomes.json"


def options(given: Path) -> list[str]:
    """Return the options of `wrap`."""
    return [
        *("--isolate", "auto", "--write", str(given)),
        *(word for limit in LIMITS for word in ("--limit", limit)),
    ]


def test_nothing_is_reached_behind_an_address(home: Path, tmp_path: Path, written: Path) -> None:
    with surrounded(home, tmp_path) as facts:
        command = command_of(facts, written)
        with Listening(tmp_path, options(written.parent), command) as run:
            worked(run.url, "work")
            check(written, run.store.parent)


def worked(url: str, tool: str) -> None:
    """Have a server behind an address try to escape."""
    client = Browser(url)
    client.open()
    client.ask("tools/list")
    assert text_of(client.ask("tools/call", name=tool, arguments={})) == "done"


def entry(facts: dict[str, object], written: Path) -> Object:
    """Return the server's entry for `serve`."""
    program, *arguments = command_of(facts, written)
    isolate: Object = {"write": [str(written.parent)], "limits": dict(_pairs())}
    return {"command": program, "args": [*arguments], "trust": "first-use", "isolate": isolate}


def _pairs() -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (limit.partition("=") for limit in LIMITS)]


def test_nothing_is_reached_behind_a_gateway(home: Path, tmp_path: Path, written: Path) -> None:
    with surrounded(home, tmp_path) as facts:
        beside = {"two": entry(facts, written), "one": entry(facts, written)}
        servers = write_servers(tmp_path, beside)
        with Served(tmp_path, "--config", str(servers), "--mode", "direct") as run:
            run.initialize()
            assert run.call("one__work") == "done"
            check(written, run.store.parent)


@pytest.mark.exhaustive
def test_nothing_is_reached_behind_a_gateway_at_an_address(
    home: Path, tmp_path: Path, written: Path
) -> None:
    with surrounded(home, tmp_path) as facts:
        servers = write_servers(tmp_path, {"one": entry(facts, written)})
        with ServedAt(tmp_path, "--config", str(servers), "--mode", "direct") as run:
            worked(run.url, "one__work")
            check(written, run.store.parent)
