"""Results that were forgotten early: data that is sent afterwards is taken for theirs."""

import pytest

from pipeguard.detect.flows.leak import PRIVATE_OUT, UNTRUSTED_ACTS, Leak
from pipeguard.detect.flows.leak_search import find_leaks
from pipeguard.detect.flows.ledger import RESULT_SECONDS, Flows
from pipeguard.detect.flows.tool_labels import Label, Tool, make_tool
from pipeguard.detect.flows.tool_results import (
    LEAST_CHARS,
    MOST_TOOLS,
    OTHER_TOOLS,
    ForgottenResults,
    ToolResult,
)
from pipeguard.firewall.finding import Confidence
from pipeguard.firewall.protocol.json_values import JsonValue, serialise
from tests.each import each

NOTE = Tool("note", Label.NONE)
FILE = Tool("read_file", Label.READS_PRIVATE)
PAGE = Tool("read_page", Label.TAKES_IN | Label.OUTSIDE)
POST = make_tool("http_post", None)
RUN = make_tool("run_command", None)
WORDS = "nothing of what came before is in this"


def forgotten(*tools: Tool, since: float = 0.0) -> ForgottenResults:
    made = ForgottenResults()
    made.add([ToolResult(tool, b"{}", since, frozenset()) for tool in tools], RESULT_SECONDS)
    return made


def ledger(*tools: Tool) -> Flows:
    flows = Flows()
    for tool in tools:
        content: list[JsonValue] = [{"type": "text", "text": "The tram left at nine. " * 9}]
        flows.record_result(tool, serialise({"result": {"content": content}}), 0.0)
    flows.record_request(serialise({"text": WORDS}))
    flows.give_way()
    return flows


@pytest.mark.parametrize(
    ("source", "tool", "rule"),
    [
        (FILE, POST, PRIVATE_OUT),
        (NOTE, POST, PRIVATE_OUT),  # its text may have said that it is private
        (PAGE, POST, UNTRUSTED_ACTS),  # it may have told the model to send this
        (PAGE, RUN, UNTRUSTED_ACTS),
        (PAGE, Tool("anything", Label.NONE), UNTRUSTED_ACTS),
        (FILE, RUN, None),
        (FILE, Tool("get_time", Label.READS_PRIVATE), None),
        (POST, POST, None),  # back to where it came from
        (FILE._replace(server="a"), POST._replace(name="read_file", server="b"), PRIVATE_OUT),
        (FILE._replace(server="a"), POST._replace(name="read_file", server="a"), None),
    ],
)
def test_what_is_sent_or_done_is_taken_for_it_where_it_would_matter(
    source: Tool, tool: Tool, rule: str | None
) -> None:
    leaks = find_leaks(ledger(source), tool, {"body": WORDS}, 1.0)
    assert [leak.rule for leak in leaks] == [rule] * (rule is not None)
    for leak in leaks:
        assert leak.source == source.name
        assert leak.confidence is (Confidence.HIGH if tool.labels else Confidence.MEDIUM)


@each("arguments, count", [({"url": "https://a.example/?d=none-of-it"}, 1), ({"text": WORDS}, 0)])
def test_an_address_is_sent_by_any_tool(arguments: JsonValue, count: int) -> None:
    looks = Tool("look_at", Label.READS_PERSONAL)
    assert len(find_leaks(ledger(FILE), looks, arguments, 1.0)) == count


def test_what_came_back_since_then_is_looked_up_as_ever() -> None:
    value = "kX82mQz71LpT04vB"
    flows = ledger(PAGE)
    flows.record_result(make_tool("get_env", None), serialise({"result": value}), 1.0)
    leaks: list[Leak] = find_leaks(flows, POST, {"body": value}, 2.0)
    assert {leak.rule for leak in leaks} == {UNTRUSTED_ACTS, "flows.secret-out"}


def test_after_the_time_for_which_it_would_have_been_remembered_it_is_over() -> None:
    made = forgotten(FILE, since=5.0)
    assert made.find_leaks(POST, 99, 5.0 + RESULT_SECONDS)
    assert made.find_leaks(POST, 99, 5.1 + RESULT_SECONDS) == []
    assert not made


def test_a_little_may_leave_once_and_not_in_many_pieces() -> None:
    made = forgotten(FILE)
    assert made.find_leaks(POST, LEAST_CHARS - 1, 0.0) == []
    (leak,) = made.find_leaks(POST, 1, 0.0)
    assert (leak.rule, leak.source) == (PRIVATE_OUT, FILE.name)


def test_of_very_many_tools_no_names_are_kept() -> None:
    made = forgotten(*(Tool(f"page_{number}", PAGE.labels) for number in range(MOST_TOOLS)), FILE)
    (leak,) = made.find_leaks(POST, 99, 0.0)
    assert (leak.rule, leak.source) == (PRIVATE_OUT, OTHER_TOOLS)
