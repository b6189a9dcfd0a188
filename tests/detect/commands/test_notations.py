"""The named values of documents that a tool runs or requests."""

from pipeguard.detect.commands.argument_usage import Uses
from pipeguard.detect.commands.effects import find_effects
from pipeguard.detect.commands.notations import find_members, is_json
from pipeguard.detect.text.document import MessageText
from pipeguard.firewall.protocol.json_values import JsonValue
from tests.detect.cases import read_cases
from tests.each import each

CASES = read_cases(__file__)
LONG = f"a,sql\n1,{'b' * 2**18}", "sql", "b" * 2**18  # of which the module csv takes half


def lines(tool: str, name: str, text: str) -> list[str]:
    call: JsonValue = {"params": {"name": tool, "arguments": {name: text}}}
    effects, _ = find_effects(Uses(MessageText(call, keyed=True), tool))
    return b"\n".join(effect.data for effect in effects).decode().split("\n")


@each("text, name, value", [*CASES["a_value_has_its_name_in_each_notation"], LONG])
def test_a_value_has_its_name_in_each_notation(text: str, name: str, value: str) -> None:
    members = find_members(text)
    assert isinstance(members, list)
    assert any(isinstance(each, dict) and each.get(name) == value for each in members)


@each("text", CASES["prose_and_programs_have_no_members"])
def test_prose_and_programs_have_no_members(text: str) -> None:
    assert (find_members(text), is_json(text)) == ([], False)


@each("tool, name, text", CASES["what_a_tool_runs_or_requests_is_read_by_its_names"])
def test_what_a_tool_runs_or_requests_is_read_by_its_names(tool: str, name: str, text: str) -> None:
    assert "SQL DROP TABLE a" in lines(tool, name, text)


@each("tool, name, text", CASES["what_a_tool_writes_or_says_is_not_read"])
def test_what_a_tool_writes_or_says_is_not_read(tool: str, name: str, text: str) -> None:
    assert "SQL DROP TABLE a" not in lines(tool, name, text)
