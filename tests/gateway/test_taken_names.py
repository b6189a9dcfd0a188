"""No tool takes the public name of another, nor hides it."""

from pipeguard.gateway.catalog import Catalog, Listing, Override, tool_globs
from tests.gateway.test_catalog import nothing_known, tool


def names(catalog: Catalog) -> dict[tuple[str, str], str]:
    """The public names, by the server's and the tool's own."""
    return {(entry.server, entry.name): entry.public for entry in catalog}


def test_a_name_that_the_user_gave_hides_no_tool_that_has_it_already() -> None:
    catalog = Catalog()
    renamed = {"p": Override("q")}
    catalog.put(Listing("one", [tool("p"), tool("q")], overrides=renamed), nothing_known)
    found = names(catalog)
    assert found["one", "p"] == "one__q"
    assert found["one", "q"].startswith("one__q_")


def test_a_name_without_a_prefix_hides_no_other() -> None:
    catalog = Catalog()
    catalog.put(Listing("a", [tool("x"), tool("b__x")], is_prefixed=False), nothing_known)
    catalog.put(Listing("b", [tool("x")], is_prefixed=False), nothing_known)
    found = names(catalog)
    assert len(set(found.values())) == 3
    assert found["a", "x"] == "x"
    assert found["b", "x"] == "b__x"


def test_a_name_without_a_prefix_is_not_in_another_servers_scope() -> None:
    catalog = Catalog()
    catalog.put(Listing("one", [tool("read")]), nothing_known)
    catalog.put(Listing("two", [tool("one__write")], is_prefixed=False), nothing_known)
    keys = tool_globs(catalog, ["one__*"])
    assert [entry.name for entry in catalog if entry.key in keys] == ["read"]
