"""The file of the servers behind a gateway, and its errors with their positions."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.errors import PolicyError
from pipeguard.gateway.menu import MenuLimits, ToolMode
from pipeguard.gateway.servers_file import Start, parse_servers
from pipeguard.gateway.sources import Sources
from pipeguard.gateway.tools import Override
from tests.fuzz.budget import tried
from tests.snapshot import Snapshot

GOOD = """
mode: direct
servers:
  files:
    command: npx
    args: [-y, "@x/files", "${env:ROOT}/data"]
    env: {TOKEN: "keyring:files"}
    tools: {allow: ["read_*"], block: [read_all], overrides: {read_file: {name: cat}}}
    tags: [disk]
    trust: first-use
  web: {url: "https://mcp.example.com/mcp", headers: {X-Team: blue}, transport: http}
  off: {command: x, enabled: false}
"""


def test_a_file_is_read() -> None:
    file = parse_servers(GOOD, "pipeguard.yaml", {"ROOT": "/srv"})
    files, web = file.servers
    assert file.mode is ToolMode.DIRECT
    assert files.command == ("npx", "-y", "@x/files", "/srv/data")
    assert (files.trust, files.tags, files.allow, files.block) == (
        *("first-use", ("disk",)),
        *(("read_*",), ("read_all",)),
    )
    assert files.overrides == {"read_file": Override("cat", "")}
    assert files.env == {"TOKEN": "keyring:files"}
    assert (web.url, web.headers, web.trust) == (
        *("https://mcp.example.com/mcp", {"X-Team": "blue"}),
        "review",
    )


def test_a_low_limit_of_tools_is_the_default_of_a_search_too() -> None:
    assert parse_servers("tools_limit: 3", "x", {}).limits == MenuLimits(3, 3, 20_000)
    assert parse_servers("top_k: 30\ntools_limit: 40", "x", {}).limits[:2] == (30, 40)


def test_servers_start_as_the_file_says_unless_they_say_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "pipeguard.yaml"
    path.write_text(
        "start: lazy\nidle: 60\nservers:\n  a: {command: x}\n"
        "  b: {command: x, start: eager}\n  c: {command: x, idle: 5}\n"
    )
    path.chmod(0o600)
    read = Sources(str(path)).read({}).servers
    assert [(server.start is Start.LAZY, server.idle_seconds) for server in read] == [
        *((True, 60.0), (False, 60.0), (True, 5.0))
    ]


def test_it_becomes_the_options_of_wrap() -> None:
    files, web = parse_servers(GOOD, "pipeguard.yaml", {"ROOT": "/srv"}).servers
    assert files.options({}).values == {"--name": "files", "--trust": "first-use"}
    assert files.options({}).lists == {"--env": ("TOKEN=keyring:files",), "--tag": ("disk",)}
    assert web.options({}).values["--transport"] == "streamable-http"
    assert web.options({}).lists == {"--header": ("X-Team: blue",)}


def test_what_clients_have_is_read_too() -> None:
    text = '{"mcpServers": {"a": {"command": "x", "args": ["1"], "type": "stdio"}}}'
    (server,) = parse_servers(text, "mcp.json", {}).servers
    assert (server.name, server.command) == ("a", ("x", "1"))


WRONG = (
    "servers: {a: {command: x, url: y}}",
    "servers: {a: {}}",
    "servers: {a: {comand: x}}",
    "egress: {}",
    "servers: {a b: {command: x}}",
    'servers: {a: {command: "${env:NOPE}"}}',
    "servers: {a: {command: x, trust: revew}}",
    "servers: {a: {url: x, args: [y]}}",
    "servers: {a: {command: x, headers: {a: b}}}",
    "servers:\n  a: {command: x}\n  a: {command: y}",
    "servers: [a]",
    "servers: {a: {command: x}}\nmcpServers: {a: {command: y}}",
    "start: later",
    "servers: {a: {command: x, idle: soon}}",
    "servers: {a: {command: x, tools: {overrides: {b: {name: d}, c: {name: d}}}}}",
    "mode: all",
    "top_k: 0",
    "response_chars: many",
    "top_k: 9\ntools_limit: 3",
)


def test_what_is_wrong_is_told_by_line_and_column(snapshot: Snapshot) -> None:
    told = []
    for text in WRONG:
        with pytest.raises(PolicyError) as error:
            parse_servers(text, "pipeguard.yaml", {})
        told.append(f"{text}\n! {error.value}")
    snapshot.text("servers-errors", "\n\n".join(told))


@tried(50)
@given(
    st.recursive(
        st.sampled_from(["servers", "a", "command", "x", "true", "7", "~"]),
        lambda inner: (
            st.lists(inner, max_size=3).map("[{}]".format)
            | st.dictionaries(st.sampled_from(["servers", "a", "command", "args"]), inner).map(str)
        ),
        max_leaves=8,
    )
)
def test_any_document_is_read_or_refused(text: str) -> None:
    with suppress(PolicyError):
        parse_servers(text, "pipeguard.yaml", {})
