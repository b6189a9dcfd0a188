"""A server alone at its own address: the same tools are closed there."""

import json
import sys
import urllib.request
from pathlib import Path

import pytest

from pipeguard.state.audit import AuditFilter, rows
from pipeguard.state.store import Store
from tests.gateway.served import ServedAt, actor, write_servers
from tests.gateway.several import STATEFUL
from tests.gateway.test_serving import post
from tests.launch.processes import until
from tests.wrap.wrapped import Object

pytestmark = pytest.mark.real
OPENING: Object = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "tests", "version": "1"},
}


def ask(url: str, session: str, method: str, **params: object) -> tuple[str, str]:
    """The answer in a session, and the session that it is of."""
    message = {"jsonrpc": "2.0", "id": method, "method": method, "params": params}
    request = post(url, "none", json.loads(json.dumps(message)), session)
    with urllib.request.urlopen(request) as answer:  # noqa: S310  our own address
        return answer.read().decode(), answer.headers["Mcp-Session-Id"]


def test_a_blocked_tool_is_not_called_at_its_servers_own_address(tmp_path: Path) -> None:
    config = write_servers(tmp_path, {"one": actor(tools={"block": ["ech*"]})})
    with ServedAt(tmp_path, "--config", str(config)) as served:
        url = served.at("/servers/one/mcp")
        _, session = ask(url, "", "initialize", **OPENING)
        answer, _ = ask(url, session, "tools/call", name="echo", arguments={"text": "was run"})
        says = "`tools` of one in pipeguard.yaml"
        assert f"PipeGuard: {says} does not allow the tool 'echo'" in answer
        assert "was run" not in answer


def tools_of(served: ServedAt, session: str) -> list[Object]:
    answer, _ = ask(served.at("/servers/one/mcp"), session, "tools/list")
    start = answer.index("{")
    tools: list[Object] = json.JSONDecoder().raw_decode(answer[start:])[0]["result"]["tools"]
    return tools


def test_a_blocked_tool_is_not_listed_at_its_servers_own_address(tmp_path: Path) -> None:
    command: Object = {"command": sys.executable, "args": [str(STATEFUL), "one"]}
    entry: Object = {**command, "trust": "first-use", "tools": {"block": ["ech*"]}}
    config = write_servers(tmp_path, {"one": entry})
    with ServedAt(tmp_path, "--config", str(config)) as served:
        _, session = ask(served.at("/servers/one/mcp"), "", "initialize", **OPENING)
        names = [tool["name"] for tool in tools_of(served, session)]
        assert "work" in names
        assert "echo" not in names


def test_a_name_that_another_tool_of_the_server_has_is_not_given(
    tmp_path: Path,
) -> None:
    overrides: Object = {"log": {"name": "echo"}}
    entry: Object = {
        "command": sys.executable,
        "args": [str(STATEFUL), "one"],
        "trust": "first-use",
        "tools": {"overrides": overrides},
    }
    config = write_servers(tmp_path, {"one": entry}, mode="direct")
    with ServedAt(tmp_path, "--config", str(config)) as served:
        for path, own in (("/servers/one/mcp", "{}"), ("/mcp", "one__{}")):
            url = served.at(path)
            _, session = ask(url, "", "initialize", **OPENING)
            answer, _ = ask(url, session, "tools/list")
            assert f'"{own.format("log")}"' in answer
            arguments = {"text": "it is the real one"}
            answer, _ = ask(
                url, session, "tools/call", name=own.format("echo"), arguments=arguments
            )
            assert "it is the real one" in answer


def test_a_tool_that_the_policy_blocks_is_not_shown_until_the_policy_lets_it_be_called(
    tmp_path: Path,
) -> None:
    command: Object = {"command": sys.executable, "args": [str(STATEFUL), "one"]}
    renamed: Object = {"overrides": {"echo": {"name": "say.again"}}}
    entry: Object = {**command, "trust": "first-use", "tools": renamed}
    config = write_servers(tmp_path, {"one": entry})
    policy = tmp_path / "policy.yaml"
    policy.write_text("tools: {block: [ech*]}\n")
    with ServedAt(tmp_path, "--config", str(config), PIPEGUARD_POLICY=str(policy)) as served:
        _, session = ask(served.at("/servers/one/mcp"), "", "initialize", **OPENING)
        listed = {str(tool["name"]) for tool in tools_of(served, session)}
        assert "echo" not in found(served) | listed
        assert "work" in found(served) & listed
        _, gateway = ask(served.at("/mcp"), "", "initialize", **OPENING)
        for name in ("one__echo", "one/echo", "one__say_again"):
            called: Object = {"name": name, "arguments": {}}
            menu = ("call_tool_read", called), ("describe_tool", {"name": name})
            for tool, arguments in (*menu, (name, {})):
                call = {"name": tool, "arguments": arguments}
                answer, _ = ask(served.at("/mcp"), gateway, "tools/call", **call)
                assert "the policy does not allow the tool" in answer
                assert '"isError":true' in answer
        with Store.open(served.store) as store:
            refused = AuditFilter(rule="policy.tool", action="block")  # lists without it warn
            until(lambda: len(list(rows(store, refused))) == 6, "it is in the audit")
        policy.write_text("mode: enforce\n")
        until(lambda: "echo" in found(served), "the policy lets it be called")
        assert "say.again" in {tool["name"] for tool in tools_of(served, session)}


def found(served: ServedAt) -> set[str]:
    """The tools that agents find."""
    with urllib.request.urlopen(served.at("/tools")) as answer:  # noqa: S310  our own address
        told = json.loads(answer.read())
    return {tool["name"] for tool in told["tools"]}
