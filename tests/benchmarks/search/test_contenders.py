"""Each contender gets the same tools, and as many as requested."""

import pytest

from benchmarks.search.contenders import Fts5Search, PipeGuardSearch, Search, tool_texts
from benchmarks.search.menu_tokens import SEARCH_TOOL, TOOLS_IN_ANSWER, texts_read
from benchmarks.search.servers import Definitions
from benchmarks.search.speed import grown, measured
from tests.benchmarks.search.test_scores import QUERY

DEFINITIONS: Definitions = {
    "post": [
        {
            "name": "sendParcel",
            "description": "Sends a parcel to an address.",
            "inputSchema": {
                "type": "object",
                "properties": {"street": {"type": "string", "description": "Where it goes."}},
            },
        },
        {"name": "buy_stamps", "description": "Buys stamps."},
    ],
    "bank": [{"name": "pay", "inputSchema": {"type": "object"}}],
}


def test_the_peers_index_names_descriptions_and_parameters_as_words() -> None:
    first, second, third = tool_texts(DEFINITIONS)
    assert first.key == "post/sendParcel"
    assert first.name == "post send Parcel"
    assert set(first.parameters.split()) == {"street", "Where", "it", "goes"}
    assert second.name == "post buy stamps"
    assert third == ("bank/pay", "bank pay", "", "")


@pytest.mark.parametrize("build", [PipeGuardSearch, Fts5Search])
def test_a_contender_names_tools_by_server_and_tool(
    build: type[PipeGuardSearch | Fts5Search],
) -> None:
    search: Search = build(DEFINITIONS)
    assert search.find("send a parcel", 1) == ["post/sendParcel"]
    assert search.find("which 'stamps' to buy?", 1) == ["post/buy_stamps"]


def test_what_an_agent_reads_is_the_menu_and_five_tools_for_each_query() -> None:
    menu, answers = texts_read(grown(DEFINITIONS, 40), ["send a parcel", "buy stamps"])
    assert SEARCH_TOOL in menu
    assert "parcel" not in menu.lower()
    for answer in answers:
        assert sum(answer.count(f"{server}__") for server in DEFINITIONS) >= TOOLS_IN_ANSWER


def test_copies_are_of_other_words_and_no_two_share_a_name() -> None:
    tools = grown(DEFINITIONS, 300)
    names = [f"{server}/{tool['name']}" for server, listed in tools.items() for tool in listed]
    assert len(set(names)) == len(names) == 300
    descriptions = {tool.get("description") for tool in tools["post"]}
    assert len(descriptions) > 20
    assert grown(DEFINITIONS, 300) == tools
    assert sum(map(len, grown(DEFINITIONS, 2).values())) == 2


def test_times_are_taken_of_every_query() -> None:
    times = measured(PipeGuardSearch, DEFINITIONS, [QUERY] * 3)
    assert times.tools == 3
    assert 0 < times.query_p50 <= times.query_p99
