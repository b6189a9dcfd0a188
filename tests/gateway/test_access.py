"""The access of a token's client: tools it finds and calls, and messages it reads and gets."""

import json
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest

from pipeguard.detect.flows.tool_labels import Label, Tool
from pipeguard.firewall.protocol.json_values import JsonValue
from pipeguard.gateway.access import ScopedAccess, may_use_alone
from pipeguard.gateway.catalog import Catalog, Listing
from pipeguard.gateway.eras import REVISIONS, STATELESS
from pipeguard.gateway.tools import CatalogTool
from pipeguard.runtime.rate_limit import RateLimit
from pipeguard.state.store import open_store
from pipeguard.state.tokens import TokenScope, create_token
from tests.gateway.served import ServedAt, write_servers
from tests.gateway.several import STATEFUL, Agent, gathered, stateful
from tests.gateway.test_headers import META
from tests.wrap.listening import Browser
from tests.wrap.wrapped import Json, Object

NAMES = ("get_issue", "create_issue", "delete_issue")
HINTS: dict[str, JsonValue] = {
    "get_issue": {"readOnlyHint": True},
    "create_issue": {"readOnlyHint": False},
    "delete_issue": {"destructiveHint": True},
}


def catalog() -> Catalog:
    filled = Catalog()
    for server in ("github", "jira"):
        definitions: list[JsonValue] = [
            {"name": name, "description": "An issue.", "annotations": HINTS[name]} for name in NAMES
        ]
        filled.put(Listing(server, definitions), lambda name: Tool(name, Label(0)))
    return filled


def access(scope: TokenScope | None, tools: Catalog) -> ScopedAccess:
    return ScopedAccess(tools, lambda: ["github", "jira"], lambda: [*filter(None, [scope])])


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (TokenScope(), {f"{server}__{name}" for server in ("github", "jira") for name in NAMES}),
        (TokenScope(servers=("git*",)), {f"github__{name}" for name in NAMES}),
        (TokenScope(effect="read"), {"github__get_issue", "jira__get_issue"}),
        (TokenScope(effect="write", servers=("jira",)), {"jira__get_issue", "jira__create_issue"}),
        (TokenScope(tools=("github__*",)), {f"github__{name}" for name in NAMES}),
        (TokenScope(tools=("*/delete_issue",)), {"github__delete_issue", "jira__delete_issue"}),
        (TokenScope(tools=("*/delete_issue",), effect="read"), set()),
        (TokenScope(effect="everything"), set()),
        (None, set()),
    ],
)
def test_what_may_not_be_called_is_not_found_either(
    scope: TokenScope | None, expected: set[str]
) -> None:
    tools = catalog()
    allowed = access(scope, tools)
    assert {tool.public for tool in tools if allowed.may_call(tool)} == expected
    found = {tool.public for tool, _ in tools.search("issue", 20, allowed.finds())}
    assert found == expected


@pytest.mark.parametrize(
    ("scope", "method", "expected"),
    [
        (TokenScope(tools=("github__get_issue",)), "tools/call", ["github"]),
        (TokenScope(tools=("github/missing",)), "tools/call", ["github"]),
        (TokenScope(tools=("*_issue",)), "tools/call", ["github", "jira"]),
        (TokenScope(tools=("missing",)), "tools/call", []),
        (TokenScope(tools=("*_issue",)), "resources/read", []),
        (TokenScope(tools=("*_issue",)), "of/tomorrow", []),
        (TokenScope(tools=("*_issue", "*")), "of/tomorrow", ["github", "jira"]),
        (TokenScope(effect="read"), "resources/read", ["github", "jira"]),
        (TokenScope(effect="everything"), "resources/read", []),
    ],
)
def test_a_server_is_for_the_methods_that_a_scope_includes(
    scope: TokenScope, method: str, expected: list[str]
) -> None:
    assert access(scope, catalog()).servers(method) == expected


def test_calls_are_counted_over_a_minute_that_moves() -> None:
    limit = RateLimit(2)
    assert [limit.seconds_to_wait(now) for now in (0.0, 30.0)] == [0.0, 0.0]
    assert limit.seconds_to_wait(50.0) == 10.0
    assert limit.seconds_to_wait(60.0) == 0.0
    assert limit.seconds_to_wait(61.0) == 29.0
    free = RateLimit(0)
    assert [free.seconds_to_wait(61.0) for _ in range(3)] == [0.0] * 3


@pytest.mark.parametrize(
    ("scope", "may"),
    [
        (TokenScope(), True),
        (TokenScope(servers=("github",)), True),
        (TokenScope(servers=("jira",)), False),
        (TokenScope(tools=("github__*",)), False),
        (TokenScope(effect="write"), False),
        (TokenScope(per_minute=5), False),
    ],
)
def test_one_server_takes_tokens_for_all_of_it(scope: TokenScope, may: bool) -> None:
    assert may_use_alone(scope, "github") is may


def test_a_tool_of_another_server_is_no_match() -> None:
    tools = catalog()
    tool = next(iter(tools))
    assert isinstance(tool, CatalogTool)
    assert not access(TokenScope(tools=("jira__get_issue",)), tools).may_call(tool)


CHANGED = {f"notifications/{kind}/list_changed" for kind in ("tools", "prompts", "resources")}
SCOPES = {  # of tokens, each with the servers of which it may use all
    "whole": (TokenScope(), {"alpha", "bravo"}),
    "server": (TokenScope(servers=("alpha",)), {"alpha"}),
    "effect": (TokenScope(effect="read"), {"alpha", "bravo"}),
    "tool": (TokenScope(tools=("alpha__echo",)), set[str]()),
    "slash": (TokenScope(tools=("alpha/echo",)), set[str]()),
}
# Each method of each revision, with params that aim at a server; what shows that it was reached.
AIMED: dict[str, tuple[Object, str]] = {
    "prompts/list": ({}, "@__greet"),
    "prompts/get": ({"name": "@__greet"}, "Hello."),
    "resources/list": ({}, "@://a"),
    "resources/templates/list": ({}, "@-item://"),
    "resources/read": ({"uri": "@://a"}, "read at @"),
    "resources/subscribe": ({"uri": "@://a"}, '"result"'),
    "resources/unsubscribe": ({"uri": "@://a"}, '"result"'),
    "completion/complete": (
        {
            "ref": {"type": "ref/prompt", "name": "@__greet"},
            "argument": {"name": "whom", "value": "x"},
        },
        "x at @",
    ),
}
OTHERS: dict[str, Object] = {
    "ping": {},
    "server/discover": {},
    "tools/list": {},
    "logging/setLevel": {"level": "debug"},
    "tasks/list": {},
    "tasks/get": {"taskId": "@/t1"},
    "tasks/result": {"taskId": "@/t1"},
    "tasks/cancel": {"taskId": "@/t1"},
    "of/tomorrow": {"name": "@__greet", "uri": "@://a"},
    "sampling/createMessage": {"messages": [], "maxTokens": 1},
    "elicitation/create": {"message": "@"},
    "roots/list": {},
}
BY_MENU: dict[str, Object] = {
    "retrieve_tools": {"query": "greet", "server": "@"},
    "describe_tool": {"name": "@__state"},
    "call_tool_write": {"name": "@__state", "arguments": {}},
}


class Raw(Browser):
    """A client of a token, in one revision or another."""

    def __init__(self, url: str, token: str, revision: str) -> None:
        super().__init__(url, Authorization=f"Bearer {token}")
        self._revision = revision
        if revision == STATELESS:
            self.headers["MCP-Protocol-Version"] = STATELESS
        else:
            info: Object = {"name": "tests", "version": "1"}
            params: Object = {"protocolVersion": revision, "capabilities": {}, "clientInfo": info}
            self.opened = self.body("initialize", params)

    def body(self, method: str, params: Object) -> str:
        """Return the body that answers a request."""
        asked: Object = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
        if self._revision == STATELESS:
            asked["params"] = {**params, "_meta": META}
            name = params.get("name", params.get("uri", params.get("taskId")))
            self.headers |= {"Mcp-Method": method, "Mcp-Name": str(name)}
            if not isinstance(name, str):
                del self.headers["Mcp-Name"]
        with self.send("POST", asked) as answer:
            if session := answer.headers["Mcp-Session-Id"]:
                self.headers["Mcp-Session-Id"] = session
            return ("" if answer.status == 200 else f"{answer.status} ") + answer.read().decode()


def aimed(params: Json, server: str) -> Object:
    """Params that name a server."""
    filled: Object = json.loads(json.dumps(params).replace("@", server))
    return filled


@pytest.fixture(scope="module", params=["direct", "search"])
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ServedAt, dict[str, str]]]:
    """A gateway of two servers, and a token of each scope."""
    folder = tmp_path_factory.mktemp("scopes")
    (folder / "state").mkdir(mode=0o700)
    with closing(open_store(str(folder / "state" / "pipeguard.db"))) as store:
        tokens = {name: create_token(store, name, scope) for name, (scope, _) in SCOPES.items()}
    servers: dict[str, Object] = {
        name: {"command": sys.executable, "args": [str(STATEFUL), name], "trust": "first-use"}
        for name in ("alpha", "bravo")
    }
    config = write_servers(folder, servers, mode=request.param)
    with ServedAt(folder, "--config", str(config)) as served:
        yield served, tokens


@pytest.mark.real
@pytest.mark.often("direct-*2025-11-25*", "direct-*2026-07-28*")
@pytest.mark.parametrize("revision", [*REVISIONS, STATELESS])
@pytest.mark.parametrize("scope", SCOPES)
def test_a_token_reaches_by_no_method_what_its_scope_leaves_out(
    gateway: tuple[ServedAt, dict[str, str]], scope: str, revision: str
) -> None:
    served, tokens = gateway
    client = Raw(served.url, tokens[scope], revision)
    reached: dict[str, set[str]] = {}
    for method, (params, sign) in AIMED.items():
        answers = {name: client.body(method, aimed(params, name)) for name in ("alpha", "bravo")}
        if "Method not found" not in answers["alpha"]:
            reached[method] = {
                name for name, answer in answers.items() if sign.replace("@", name) in answer
            }
    assert set(reached) >= {"prompts/get", "resources/read", "completion/complete"}
    assert reached == dict.fromkeys(reached, SCOPES[scope][1])


@pytest.mark.real
@pytest.mark.often("search-*2025-11-25*", "search-*2026-07-28*")
@pytest.mark.parametrize("revision", [*REVISIONS, STATELESS])
@pytest.mark.parametrize("scope", ["tool", "slash", "server"])
def test_a_server_out_of_scope_is_as_one_that_is_not_there(
    gateway: tuple[ServedAt, dict[str, str]], scope: str, revision: str
) -> None:
    served, tokens = gateway
    client = Raw(served.url, tokens[scope], revision)
    asked: list[tuple[str, Object]] = [(method, params) for method, (params, _) in AIMED.items()]
    asked += [*OTHERS.items(), ("tools/call", {"name": "@__state", "arguments": {}})]
    asked += [
        ("tools/call", {"name": name, "arguments": arguments})
        for name, arguments in BY_MENU.items()
    ]
    for method, params in asked:
        there = client.body(method, aimed(params, "bravo"))
        assert there.replace("bravo", "nobody") == client.body(method, aimed(params, "nobody"))
        if params == aimed(params, "bravo"):
            assert "bravo" not in there
    assert "bravo" not in getattr(client, "opened", "")


@pytest.mark.real
@pytest.mark.often("direct-*")
@pytest.mark.parametrize("path", ["/mcp", "/sse", "/mcp/"])
@pytest.mark.parametrize("verb", ["GET", "POST", "DELETE", "OPTIONS", "PUT"])
def test_the_endpoint_of_a_server_out_of_scope_is_not_there(
    gateway: tuple[ServedAt, dict[str, str]], path: str, verb: str
) -> None:
    served, tokens = gateway

    def asked(server: str) -> tuple[int, bytes]:
        client = Browser(served.at(f"/servers/{server}{path}"))
        client.headers["Authorization"] = f"Bearer {tokens['tool']}"
        with client.send(verb, {"jsonrpc": "2.0", "id": 1, "method": "ping"}) as answer:
            return answer.status, answer.read()

    status, body = asked("bravo")
    assert (status, body.replace(b"bravo", b"nobody")) == asked("nobody")


@pytest.mark.real
async def test_a_client_hears_only_of_what_its_scope_includes() -> None:
    scopes = {name: scope for name, (scope, _) in SCOPES.items()}
    async with gathered(stateful("alpha"), stateful("bravo"), scope=scopes.get) as room:
        agents = {name: await room.agent(name) for name in SCOPES}
        for each in agents.values():
            await each.ask("logging/setLevel", level="debug")
            await each.ask("resources/subscribe", uri="bravo://a")
            await each.ask("tools/list")
            await each.ask("tools/call", name="alpha__echo", arguments={})  # opens the server
        for server in ("alpha", "bravo"):
            await agents["whole"].call(f"{server}__log", {"level": "info"})
            await agents["whole"].call(f"{server}__announce", {"uri": f"{server}://a"})
            for each in agents.values():  # answers that come behind what the servers said
                await each.ask("resources/read", uri=f"{server}://a")
                await each.ask("tools/call", name=f"{server}__echo", arguments={})
        await room.gateway.apply([stateful("alpha"), stateful("bravo", timeout_seconds=59.0)])
        for each in agents.values():
            await each.ask("ping")
        whole = {message["method"] for message in agents["whole"].heard}
        assert whole == {"notifications/message", "notifications/resources/updated", *CHANGED}
        for scope, (_, heard) in SCOPES.items():
            methods = {message["method"] for message in agents[scope].heard}
            if "bravo" in heard and scope != "effect":  # which has no tools that could have changed
                assert methods == whole
            said = json.dumps(agents[scope].heard)
            assert {server for server in ("alpha", "bravo") if server in said} == heard
            assert bool(methods & CHANGED) is ("bravo" in heard)


@pytest.mark.real
@pytest.mark.parametrize("scope", ["whole", "tool"])
async def test_a_server_asks_the_client_whose_call_it_works_on(scope: str) -> None:
    scopes = {"limited": TokenScope(tools=("*" if scope == "whole" else "alpha__ask",))}
    async with gathered(stateful("alpha"), scope=scopes.get) as room:
        agent: Agent = await room.agent("limited", elicitation={})
        assert "accept" in await agent.call("alpha__ask")
