"""The destination of a string in a call: another host, a person, or none."""

from typing import Any

from pipeguard.detect.flows.tool_labels import Label, Tool
from pipeguard.detect.flows.way_out import WayOut, is_sent_by_line, way_out
from pipeguard.firewall.protocol.json_values import JsonObject
from pipeguard.firewall.protocol.places import get_value
from tests.detect.cases import read_cases
from tests.each import each

CASES = read_cases(__file__)

MARK = "SAMPLE"
URL = "https://collect.example/in"


def goes(
    tool: str, arguments: dict[str, Any], *path: str | int, labels: Label = Label.NONE
) -> WayOut:
    value: JsonObject = {"method": "tools/call", "params": {"name": tool, "arguments": arguments}}
    whole = ("params", "arguments", *path)
    text = get_value(value, whole)
    assert isinstance(text, str)
    start = text.index(MARK)
    return way_out(Tool(tool, labels), value, whole, (start, start + len(MARK)))


@each("tool, arguments, path", CASES["requests"])
def test_requests(tool: str, arguments: dict[str, Any], path: list[str | int]) -> None:
    assert goes(tool, arguments, *path) is WayOut.REQUESTED


@each("tool, arguments, path", CASES["what_stays"])
def test_what_stays(tool: str, arguments: dict[str, Any], path: list[str | int]) -> None:
    assert goes(tool, arguments, *path) is WayOut.NOWHERE


@each("before", ["", "x" * 3000 + "\n"])
def test_a_part_is_sent_by_its_own_line_however_long_the_text_is(before: str) -> None:
    for line, is_sent in ((f"![it]({URL}) {MARK}", True), (f"![it]({URL})\n{MARK}", False)):
        text = f"{before}{line}\nmore"
        at = text.index(MARK)
        assert is_sent_by_line({"text": text}, ("text",), (at, at + len(MARK))) is is_sent


def test_a_tool_that_sends() -> None:
    message = {"text": f"here is {MARK}"}
    assert goes("post_message", message, "text", labels=Label.SENDS) is WayOut.SENT
    kept = Label.SENDS | Label.WRITES
    assert goes("post_message", message, "text", labels=kept) is WayOut.NOWHERE
    assert goes("post_message", message, "text") is WayOut.NOWHERE


def test_a_path_that_leads_to_no_string() -> None:
    value: JsonObject = {"params": {"arguments": {"a": None}}}
    assert way_out(Tool("x", Label.NONE), value, ("params", "b"), (0, 1)) is WayOut.NOWHERE
    assert way_out(Tool("x", Label.NONE), [], (), (0, 1)) is WayOut.NOWHERE


def test_only_so_many_strings_are_looked_through() -> None:
    many = {"text": MARK, **{f"k{at}": "x" for at in range(600)}}
    assert goes("x", many, "text") is WayOut.NOWHERE
