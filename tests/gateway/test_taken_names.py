"""No tool takes the public name of another, nor hides it."""

import pytest

from pipeguard.gateway.catalog import Catalog, Listing, tool_globs
from pipeguard.gateway.tools import Override, ShownTools
from tests.gateway.test_catalog import filled, nothing_known, tool


def names(catalog: Catalog) -> dict[tuple[str, str], str]:
    """The public names, by the server's and the tool's own."""
    return {(entry.server, entry.name): entry.public for entry in catalog}


@pytest.mark.parametrize("order", [("p", "q"), ("q", "p")])
@pytest.mark.parametrize("is_prefixed", [True, False])
def test_a_name_that_the_user_gave_takes_none_from_a_tool_that_has_it_in_any_order(
    order: tuple[str, str], *, is_prefixed: bool
) -> None:
    shown = ShownTools(overrides={"p": Override("q")}, has_tool=order.__contains__)
    listing = Listing("one", [tool(name) for name in order], shown, is_prefixed=is_prefixed)
    begin = "one__" if is_prefixed else ""
    assert names(filled(listing)) == {("one", "q"): f"{begin}q", ("one", "p"): f"{begin}p"}


def test_a_name_without_a_prefix_hides_no_other() -> None:
    first = Listing("a", [tool("x"), tool("b__x")], is_prefixed=False)
    found = names(filled(first, Listing("b", [tool("x")], is_prefixed=False)))
    assert len(set(found.values())) == 3
    assert found["a", "x"] == "a__x"
    assert found["b", "x"] == "b__x"


def test_a_name_without_a_prefix_is_not_in_another_servers_scope() -> None:
    other = Listing("two", [tool("one__write")], is_prefixed=False)
    catalog = filled(Listing("one", [tool("read")]), other)
    keys = tool_globs(catalog, ["one__*"])
    assert [entry.name for entry in catalog if entry.key in keys] == ["read"]


def test_a_new_server_takes_no_name_without_a_prefix_that_is_in_use() -> None:
    catalog = filled(Listing("old", [tool("x"), tool("y")], is_prefixed=False))
    assert names(catalog) == {("old", "x"): "x", ("old", "y"): "y"}
    catalog.put(Listing("a", [tool("x")], is_prefixed=False), nothing_known)
    expected = {("old", "x"): "old__x", ("old", "y"): "y", ("a", "x"): "a__x"}
    assert names(catalog) == expected
    assert catalog.find("x") is None
    catalog.drop("a")
    assert names(catalog)["old", "x"] == "x"


def test_a_new_server_takes_no_prompt_of_another() -> None:
    catalog = filled(Listing("old", [], is_prefixed=False))
    assert catalog.public_name("old", "p") == "p"
    catalog.put(Listing("a", [], is_prefixed=False), nothing_known)
    assert catalog.public_name("old", "p") == "old__p"
    assert catalog.public_name("a", "p") == "a__p"
    catalog.drop("a")
    assert catalog.public_name("old", "p") == "p"


@pytest.mark.parametrize(
    "name", ["files/read", "files__read", "fiIes/read", "FILES__list", "f\u0456les\uff0fread"]
)
@pytest.mark.parametrize("has_listed", [True, False])
def test_a_bare_name_does_not_look_like_another_servers(name: str, *, has_listed: bool) -> None:
    catalog = Catalog(lambda: ["evil", "files"])
    catalog.put(Listing("evil", [tool(name)], is_prefixed=False), nothing_known)
    if has_listed:
        catalog.put(Listing("files", [tool("read")]), nothing_known)
    assert catalog.find(name) in (None, *catalog.of("files"))
    assert names(catalog)["evil", name].startswith("evil__")
    named = tool_globs(catalog, ["files/*"])
    assert not [each for each in catalog if each.server == "evil" and each.key in named]
    assert catalog.public_name("evil", name).startswith("evil__")


@pytest.mark.parametrize("name", ["profiles/read", "files", "files_read", "git__log", "a/b"])
def test_another_name_without_a_prefix_stays(name: str) -> None:
    catalog = filled(
        Listing("evil", [tool(name)], is_prefixed=False), Listing("files", [tool("read")])
    )
    assert names(catalog)["evil", name] == name


def test_of_names_without_a_prefix_that_look_alike_none_stays() -> None:
    first = Listing("a", [tool("read_file"), tool("burn")], is_prefixed=False)
    found = names(filled(first, Listing("b", [tool("read_fiIe")], is_prefixed=False)))
    assert set(found.values()) == {"a__read_file", "burn", "b__read_fiIe"}
