"""Tools of many servers under names that no two share."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.detect.flows.tool_labels import Label, Tool, make_tool
from pipeguard.firewall.protocol.json_values import JsonObject
from pipeguard.gateway.catalog import (
    MOST_NAME_CHARS,
    Catalog,
    Listing,
    hashed_name,
    public_name,
    read_effect,
    tool_globs,
)
from pipeguard.gateway.tools import Effect, Override, ShownTools
from tests.fuzz.budget import tried


def nothing_known(name: str) -> Tool:
    return Tool(name, Label.NONE)


def tool(name: str, **more: str) -> JsonObject:
    return {"name": name, "inputSchema": {"type": "object"}, **more}


def filled(*listings: Listing) -> Catalog:
    catalog = Catalog()
    for listing in listings:
        catalog.put(listing, nothing_known)
    return catalog


def test_two_tools_of_one_name_are_told_apart() -> None:
    catalog = filled(*(Listing(server, [tool("search")]) for server in ("one", "two")))
    assert [entry.public for entry in catalog] == ["one__search", "two__search"]
    found = catalog.find("two__search")
    assert found is not None
    assert (found.server, found.name) == ("two", "search")


def test_what_is_withdrawn_is_gone_from_the_search_too() -> None:
    catalog = filled(Listing("one", [tool("search"), tool("draw")]))
    assert [entry.name for entry, _ in catalog.search("draw", 5)] == ["draw"]
    assert catalog.put(Listing("one", [tool("search")]), nothing_known)
    assert catalog.search("draw", 5) == []
    assert not catalog.put(Listing("one", [tool("search")]), nothing_known)
    assert catalog.drop("one")
    assert len(catalog) == 0


def test_a_tool_keeps_its_number() -> None:
    catalog = filled(Listing("one", [tool("a"), tool("b")]))
    before = {entry.name: entry.key for entry in catalog}
    catalog.put(Listing("one", [tool("b", description="New.")]), nothing_known)
    assert [entry.key for entry in catalog] == [before["b"]]


def test_the_user_says_what_is_shown_and_how() -> None:
    listing = Listing(
        "files",
        [tool("read_file", description="Reads."), tool("read_dir"), tool("delete_file"), "odd"],
        ShownTools(("read_*",), ("*_dir",), {"read_file": Override("cat", "Prints a file.")}),
    )
    (only,) = filled(listing)
    assert (only.public, only.name, only.description) == (
        "files__cat",
        "read_file",
        "Prints a file.",
    )


def test_globs_name_tools_by_their_public_name_or_by_server_and_tool() -> None:
    catalog = filled(Listing("files", [tool("read"), tool("write")]))
    keys = {entry.name: entry.key for entry in catalog}
    assert tool_globs(catalog, ["files/*"]) == set(keys.values())
    assert tool_globs(catalog, ["files__read"]) == {keys["read"]}


def test_signs_in_a_tools_name_cost_a_hash_only_if_two_tools_would_have_one_name() -> None:
    def names(*own: str) -> dict[str, str]:
        catalog = filled(Listing("s", [tool(name) for name in own]))
        return {entry.name: entry.public for entry in catalog}

    assert names("a.b", "c d", "ü", ".e") == {
        "a.b": "s__a_b",
        "c d": "s__c_d",
        "ü": hashed_name("s", "ü"),
        ".e": hashed_name("s", ".e"),
    }
    for own in permutations(["a.b", "a b", "a_b"]):
        assert names(*own) == {
            "a_b": "s__a_b",
            "a.b": hashed_name("s", "a.b"),
            "a b": hashed_name("s", "a b"),
        }


@pytest.mark.parametrize(
    ("name", "description", "effect"),
    [
        ("get_forecast", "Get the forecast of a city.", Effect.READ),
        ("get_order", "", Effect.READ),
        ("find_and_replace", "Finds words.", Effect.WRITE),
        ("frobnicate", "", Effect.WRITE),
        ("", "", Effect.WRITE),
        ("retrieve_balance", "This tool will retrieve the balance.", Effect.READ),
        ("issue_read", "Details of an issue", Effect.READ),
        ("buscar_usuarios", "Busca usuarios por nombre", Effect.READ),
        ("get_or_create_user", "Get a user", Effect.WRITE),
        ("convert_to_draft", "Converts a pull request to a draft", Effect.WRITE),
        ("translate_text", "Translate text into another language", Effect.READ),
        ("get_post", "Get a post by its id", Effect.READ),
        ("list_property_for_sale", "List properties for sale in a city", Effect.READ),
        ("list_property_for_sale", "Lists your property for sale", Effect.WRITE),
        ("browser_tabs", "List, create, close, or select a browser tab.", Effect.DESTRUCTIVE),
        ("translate_and_post", "Translate and post a message", Effect.WRITE),
        ("get", "Gives the text of a page", Effect.READ),
        ("get_dns_records", "Retrieve the DNS records of a domain", Effect.READ),
        ("wipe_history", "Wipes the history", Effect.DESTRUCTIVE),
        ("delete_list", "", Effect.DESTRUCTIVE),
        ("list_delete", "Returns the deletions", Effect.READ),
        ("queue_read", "Reads messages and removes them", Effect.DESTRUCTIVE),
        ("search_index_rebuild", "Rebuilds the search index", Effect.WRITE),
    ],
)
def test_a_tool_whose_words_only_look_reads(name: str, description: str, effect: Effect) -> None:
    definition: JsonObject = {"description": description}
    assert read_effect(make_tool(name, definition), definition) is effect
    denies: JsonObject = {**definition, "annotations": {"readOnlyHint": False}}
    assert read_effect(make_tool(name, denies), denies) is not Effect.READ


@pytest.mark.parametrize(
    ("name", "description"),
    [
        ("fork_repository", "Fork a repository to your account"),
        ("archive_thread", "Archive a thread"),
        ("approve_invoice", "Approve an invoice for payment"),
        ("react_to_message", "React to a message with an emoji"),
        ("print_document", "Print a document on the default printer"),
    ],
)
def test_what_a_tool_changes_does_not_make_it_read(name: str, description: str) -> None:
    for definition in ({"description": description}, {"description": ""}):
        tool: JsonObject = {**definition}
        assert read_effect(make_tool(name, tool), tool) is not Effect.READ


def test_annotations_only_ever_add_to_what_a_tool_may_do() -> None:
    lies: JsonObject = {"annotations": {"readOnlyHint": True, "destructiveHint": False}}
    assert read_effect(Tool("rm", Label.UNDOES), lies) is Effect.DESTRUCTIVE
    assert read_effect(Tool("send", Label.SENDS), lies) is Effect.WRITE
    warns: JsonObject = {"annotations": {"destructiveHint": True}}
    assert read_effect(Tool("get", Label.READS_PRIVATE), warns) is Effect.DESTRUCTIVE
    assert read_effect(Tool("get", Label.READS_PRIVATE, looks=True), {}) is Effect.READ
    assert read_effect(Tool("x", Label.NONE), lies) is Effect.READ
    assert read_effect(Tool("x", Label.NONE), {}) is Effect.WRITE
    schema: JsonObject = {"inputSchema": {"type": "object", "properties": {"path": {}}}}
    assert read_effect(make_tool("convert_format", schema), schema) is Effect.WRITE


PARTS = st.text(alphabet="aB_-9é/ ", min_size=1, max_size=80)


@tried(200)
@given(PARTS, PARTS, PARTS, PARTS)
def test_public_names_are_what_clients_take_and_no_two_share_one(
    server: str, name: str, other_server: str, other_name: str
) -> None:
    public = public_name(server, name)
    assert len(public) <= MOST_NAME_CHARS
    assert public.replace("_", "").replace("-", "").isalnum() or not public.strip("_-")
    assert public.isascii()
    if (server, name) != (other_server, other_name):
        assert public != public_name(other_server, other_name)
