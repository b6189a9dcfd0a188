"""Servers taken over from a client's configuration, or from a file of the same form."""

import json
from pathlib import Path

import pytest

from pipeguard.errors import PolicyError
from pipeguard.gateway.servers_file import runs_gateway
from pipeguard.gateway.sources import Sources, imported_servers


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a client, in a home of its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".cursor").mkdir()
    return tmp_path / ".cursor" / "mcp.json"


def write(file: Path, **servers: object) -> None:
    file.write_text(json.dumps({"mcpServers": servers}))


def test_a_clients_servers_are_taken_without_the_guard_and_the_gateway(file: Path) -> None:
    write(
        file,
        plain={"command": "node", "args": ["a.js"], "env": {"KEY": "${env:SECRET}"}},
        guarded={"command": "pipeguard", "args": ["wrap", "--name", "g", "--", "node", "b.js"]},
        remote={"url": "https://mcp.example.com/mcp", "headers": {"X": "1"}},
        gateway={"command": "pipeguard", "args": ["serve"]},
    )
    servers = {
        server.name: server for server in imported_servers("cursor", {"SECRET": "s"}).servers
    }
    assert set(servers) == {"plain", "guarded", "remote"}
    assert servers["plain"].env == {"KEY": "s"}
    assert servers["guarded"].command == ("node", "b.js")
    assert servers["remote"].url == "https://mcp.example.com/mcp"


def test_an_entry_that_starts_nothing_is_told_with_its_line(file: Path) -> None:
    write(file, good={"command": "node"}, bad={"comand": "node"})
    with pytest.raises(PolicyError, match="line 1: the server bad has no `command` and no `url`"):
        imported_servers("cursor", {})


def test_names_that_are_none_here_are_changed_and_told(file: Path) -> None:
    write(
        file,
        **{"my server": {"command": "a"}, "my-server": {"command": "b"}, "?!": {"command": "c"}},
    )
    imported = imported_servers("cursor", {})
    assert [(server.name, server.command) for server in imported.servers] == [("my-server", ("a",))]
    assert [note.partition("the server ")[2] for note in imported.notes] == [
        "my server is called my-server here",
        "my-server is left out: 'my server' is called my-server, too; rename one",
        "?! is left out: give it a name with a letter or digit",
    ]
    assert Sources(imports=("cursor",)).read({}).notes == imported.notes


@pytest.mark.parametrize("text", ["${env:Unset}", "${UNSET}"])
def test_a_variable_that_is_not_set_is_told_by_its_line(file: Path, text: str) -> None:
    write(file, one={"command": "node", "args": [text]})
    with pytest.raises(PolicyError, match=r"line 1: the server one: the variable (?i:unset) is"):
        imported_servers("cursor", {})


def test_a_file_that_others_may_write_is_not_read(file: Path) -> None:
    write(file, good={"command": "node"})
    file.chmod(0o666)
    with pytest.raises(PolicyError, match="may write to"):
        imported_servers(str(file), {})
    with pytest.raises(PolicyError, match="may write to"):
        imported_servers("cursor", {})


def test_the_gateway_is_no_server_of_itself_wherever_it_stands(file: Path) -> None:
    write(file, me={"command": "/usr/bin/pipeguard", "args": ["serve"]}, good={"command": "node"})
    file.chmod(0o600)
    for sources in (Sources(imports=(str(file),)), Sources(file=str(file))):
        assert [server.name for server in sources.read({}).servers] == ["good"]


@pytest.mark.parametrize(
    ("words", "is_gateway"),
    [
        (("pipeguard", "serve"), True),
        (("/opt/x/pipeguard.exe", "serve", "--listen", "x"), True),
        (("python", "-m", "pipeguard", "serve"), True),
        (("uvx", "pipeguard", "serve"), True),
        (("pipeguard", "wrap", "--", "node"), False),
        (("node", "serve"), False),
        ((), False),
    ],
)
def test_a_command_that_runs_the_gateway_is_known(words: tuple[str, ...], is_gateway: bool) -> None:
    assert runs_gateway(words) is is_gateway
