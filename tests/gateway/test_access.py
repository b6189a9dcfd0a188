"""What a token's client may find and call."""

import pytest

from pipeguard.core.flows.tool_labels import Label, Tool
from pipeguard.core.protocol.json_values import JsonValue
from pipeguard.gateway.access import RateLimit, ScopedAccess, may_use_alone
from pipeguard.gateway.catalog import Catalog, CatalogTool, Listing
from pipeguard.state.tokens import TokenScope

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
    return ScopedAccess(tools, lambda: ["github", "jira"], lambda: scope, RateLimit())


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


def test_the_scope_of_many_tools_is_asked_for_once() -> None:
    scopes = iter([TokenScope(effect="read")])
    tools = catalog()
    allowed = ScopedAccess(tools, lambda: ["github", "jira"], lambda: next(scopes), RateLimit())
    assert [tool.name for tool in allowed.allowed(tools)] == ["get_issue", "get_issue"]


def test_servers_are_those_of_the_scope() -> None:
    tools = catalog()
    assert access(TokenScope(servers=("j*",)), tools).servers() == ["jira"]
    assert access(None, tools).servers() == []


def test_calls_are_counted_over_a_minute_that_moves() -> None:
    limit = RateLimit()
    assert [limit.seconds_to_wait(2, now) for now in (0.0, 30.0)] == [0.0, 0.0]
    assert limit.seconds_to_wait(2, 50.0) == 10.0
    assert limit.seconds_to_wait(2, 60.0) == 0.0
    assert limit.seconds_to_wait(2, 61.0) == 29.0
    assert limit.seconds_to_wait(0, 61.0) == 0.0


@pytest.mark.parametrize(
    ("scope", "may"),
    [
        (TokenScope(), True),
        (TokenScope(servers=("github",)), True),
        (TokenScope(servers=("jira",)), False),
        (TokenScope(tools=("github__*",)), False),
        (TokenScope(effect="write"), False),
        (TokenScope(per_minute=5), False),
        (None, False),
    ],
)
def test_a_server_alone_is_for_tokens_that_may_use_all_of_it(
    scope: TokenScope | None, may: bool
) -> None:
    assert may_use_alone(scope, "github") is may


def test_a_tool_of_another_server_is_no_match() -> None:
    tools = catalog()
    tool = next(iter(tools))
    assert isinstance(tool, CatalogTool)
    assert not access(TokenScope(tools=("jira__get_issue",)), tools).may_call(tool)
