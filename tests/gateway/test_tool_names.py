"""Names under which people and models look for a tool."""

import pytest

from pipeguard.gateway.catalog import Catalog, Listing, tools_named, tools_of_server
from tests.gateway.test_catalog import filled, nothing_known, tool


def catalog() -> Catalog:
    return filled(
        Listing("files", [tool("read"), tool("list")]),
        Listing("mail", [tool("list")], is_prefixed=False),
    )


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("files__read", ["files/read"]),
        ("files/read", ["files/read"]),
        ("read", ["files/read"]),
        ("list", ["mail/list"]),  # it is called so
        ("mail__list", ["mail/list"]),
        ("files/none", []),
        ("", []),
    ],
)
def test_a_name_means(name: str, meant: list[str]) -> None:
    assert [f"{tool.server}/{tool.name}" for tool in tools_named(catalog(), name)] == meant


def test_a_name_of_several_means_each() -> None:
    made = catalog()
    made.put(Listing("notes", [tool("read")]), nothing_known)
    assert [tool.public for tool in tools_named(made, "read")] == ["files__read", "notes__read"]


def test_where_a_server_is_named_no_other_servers_tool_is_meant() -> None:
    made = filled(Listing("evil", [*map(tool, ("files__read", "files/read", "read"))]))
    for name in ("files__read", "files/read"):
        assert tools_named(made, name) == []
        assert tools_of_server(made, name) == []
    assert tools_of_server(made, "read") == []


def test_what_is_not_allowed_is_not_meant() -> None:
    made = catalog()
    assert tools_of_server(made, "files__read", lambda _: False) == []
    assert tools_of_server(made, "files/read", lambda _: False) == []
