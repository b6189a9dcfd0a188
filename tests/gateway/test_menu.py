"""The menu of tools for an agent: short, and enough to call one."""

from typing import cast

from pipeguard.firewall.protocol.json_values import JsonObject, serialise
from pipeguard.gateway import menu
from pipeguard.gateway.access import list_effects
from pipeguard.gateway.concepts import WordMatch
from pipeguard.gateway.fit import LEAST_FIT
from pipeguard.gateway.search import SearchHit
from pipeguard.gateway.tools import CatalogTool, Effect

SCHEMA: JsonObject = {
    "type": "object",
    "properties": {
        "head": {"type": ["integer", "null"]},
        "path": {"type": "string"},
        "mode": {"enum": ["r", "w"]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "either": {"anyOf": [{"type": "string"}, {"type": "number"}]},
        "odd": True,
    },
    "required": ["path"],
}
TOOL = CatalogTool(
    0,
    "files__read",
    "files",
    "read",
    {"name": "read", "description": "Reads a file.", "inputSchema": SCHEMA},
    Effect.READ,
)


def test_a_signature_has_what_is_required_first() -> None:
    assert menu.signature(TOOL.definition) == (
        'path: string, head?: integer, mode?: "r"|"w", tags?: string[], either?: string|number,'
        " odd?: any"
    )


def test_a_description_is_cut_at_a_sentence() -> None:
    text = "First sentence here. Second one is a good deal longer than that. Third."
    assert menu.first_sentences(text, 40) == "First sentence here."
    assert menu.first_sentences(text, 400) == text
    assert menu.first_sentences("word " * 40, 20) == "word word word word …"


def test_the_menu_is_small() -> None:
    listed = menu.definitions(menu.ORDER)
    assert len(serialise(listed)) / 4 < 1200  # tokens, at 4 bytes each
    assert [tool["name"] for tool in listed if isinstance(tool, dict)] == [
        *("retrieve_tools", "describe_tool"),
        *("call_tool_read", "call_tool_write", "call_tool_destructive", "read_more"),
    ]


def test_the_menu_has_no_variant_that_may_not_be_used() -> None:
    listed = menu.definitions(list_effects("read"))
    names = [str(tool["name"]) for tool in listed if isinstance(tool, dict)]
    assert [name for name in names if name in menu.CALLS] == ["call_tool_read"]


def test_a_description_of_a_held_tool_says_so_and_why() -> None:
    assert menu.HELD in menu.description(TOOL._replace(is_held=True)).splitlines()
    assert menu.HELD not in menu.description(TOOL)


def test_a_wrong_variant_is_told_the_right_one() -> None:
    told = menu.wrong_variant(TOOL._replace(effect=Effect.DESTRUCTIVE))
    assert told == (
        f"Nothing was called: use call_tool_destructive instead, with the name {TOOL.public} and"
        " its arguments, since it deletes, overwrites, pays or runs code."
    )


def test_an_unknown_tool_is_told_what_is_near() -> None:
    near = menu.unknown_tool("reed", [TOOL], has_search=True)
    assert "files__read(path: string" in near
    assert "retrieve_tools" in near
    assert "retrieve_tools" not in menu.unknown_tool("reed", [TOOL], has_search=False)
    nothing = menu.unknown_tool("reed", [], has_search=False)
    assert nothing == "There is no tool 'reed' here."


def test_an_error_of_the_gateway_says_who_speaks() -> None:
    content = cast("list[object]", menu.failure("There is no such tool.")["content"])
    (block,) = content
    assert block == {"type": "text", "text": "PipeGuard: There is no such tool."}
    assert "PipeGuard" not in str(menu.content("hello"))


def test_an_answer_says_when_perhaps_no_tool_fits_and_what_matched() -> None:
    match = WordMatch("look into", "read", "name", is_same=False)
    hits = [(TOOL, SearchHit(TOOL, 1.0, (match,), fit)) for fit in (0.1, LEAST_FIT)]
    assert menu.results(hits[:1]).startswith(menu.NO_FIT)
    assert menu.NO_FIT not in menu.results(hits)
    assert "matched: read (for 'look into') in name" in menu.results(hits)
    more = (match, WordMatch("filing", "files", "server", is_same=True), match)
    assert "matched: read (for 'look into') in name; files in server\n" in (
        menu.results([(TOOL, SearchHit(TOOL, 1.0, more, 1.0))]) + "\n"
    )
