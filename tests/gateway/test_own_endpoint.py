"""A server by itself at its own address: the same tools are closed there."""

import json
import sys
import urllib.request
from pathlib import Path

import pytest

from pipeguard.state.audit import AuditFilter, rows
from pipeguard.state.store import open_store
from tests.gateway.served import ServedAt, text_of, write_servers
from tests.gateway.several import STATEFUL
from tests.launch.processes import until
from tests.wrap.listening import Browser
from tests.wrap.wrapped import Object, result

pytestmark = pytest.mark.real
ENTRY: Object = {"command": sys.executable, "args": [str(STATEFUL), "one"], "trust": "first-use"}


def tools_of(client: Browser) -> set[str]:
    tools = result(client.ask("tools/list"))["tools"]
    assert isinstance(tools, list)
    return {str(tool["name"]) for tool in tools if isinstance(tool, dict)}


def test_a_servers_own_address_blocks_and_names_tools_alike(tmp_path: Path) -> None:
    blocked: Object = {**ENTRY, "tools": {"block": ["ech*"]}}
    renamed: Object = {**ENTRY, "tools": {"overrides": {"log": {"name": "echo"}}}}
    config = write_servers(tmp_path, {"closed": blocked, "one": renamed}, mode="direct")
    with ServedAt(tmp_path, "--config", str(config)) as served:
        client = Browser(served.at("/servers/closed/mcp")).open()
        with client.send("GET", path="/metrics") as figures:
            assert b"the extra otel, and the variable OTEL_METRICS_EX" in figures.read()
        names = tools_of(client)
        assert "work" in names
        assert "echo" not in names
        answer = text_of(client.ask("tools/call", name="echo", arguments={"text": "was run"}))
        says = "`tools` of closed in pipeguard.yaml"
        assert f"PipeGuard: {says} does not allow the tool 'echo'" in answer
        assert "was run" not in answer
        for path, own in (("/servers/one/mcp", "{}"), ("/mcp", "one__{}")):
            client = Browser(served.at(path)).open()
            assert own.format("log") in tools_of(client)
            given: Object = {"text": "it is the real one"}
            answer = text_of(client.ask("tools/call", name=own.format("echo"), arguments=given))
            assert answer == "it is the real one"


def test_a_tool_is_hidden_until_the_policy_allows_it(tmp_path: Path) -> None:
    renamed: Object = {"overrides": {"echo": {"name": "say.again"}}}
    config = write_servers(tmp_path, {"one": {**ENTRY, "tools": renamed}})
    policy = tmp_path / "policy.yaml"
    policy.write_text("tools: {block: [ech*]}\n")
    with ServedAt(tmp_path, "--config", str(config), PIPEGUARD_POLICY=str(policy)) as served:
        alone, client = Browser(served.at("/servers/one/mcp")).open(), Browser(served.url).open()
        listed = tools_of(alone)
        assert "echo" not in found(served) | listed
        assert "work" in found(served) & listed
        for name in ("one__echo", "one/echo", "one__say_again"):
            called: Object = {"name": name, "arguments": {}}
            named: Object = {"name": name}
            calls: tuple[tuple[str, Object], ...] = (
                ("call_tool_read", called),
                ("describe_tool", named),
                (name, {}),
            )
            for tool, arguments in calls:
                answer = client.ask("tools/call", name=tool, arguments=arguments)
                assert "the policy does not allow the tool" in text_of(answer)
                assert result(answer)["isError"] is True
        with open_store(served.store) as store:
            refused = AuditFilter(rule="policy.tool", action="block")  # lists without it warn
            until(lambda: len(list(rows(store, refused))) == 6, "it is in the audit")
        policy.write_text("mode: enforce\n")
        until(lambda: "echo" in found(served), "the policy lets it be called")
        assert "say.again" in tools_of(alone)


def found(served: ServedAt) -> set[str]:
    """The tools that agents find."""
    with urllib.request.urlopen(served.at("/tools")) as answer:  # noqa: S310  our own address
        told = json.loads(answer.read())
    return {tool["name"] for tool in told["tools"]}
