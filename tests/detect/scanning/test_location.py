"""A match is reported by its string, and rated by what the string is for and how it is hidden."""

import pytest

from pipeguard.firewall.finding import Confidence
from pipeguard.firewall.protocol.json_values import JsonValue
from pipeguard.firewall.protocol.places import Surface
from tests.fuzz.rulebook import engines

RULE = "commands.evaluator-escape"
CODE = "{{ lipsum.__globals__['os'].popen('id').read() }}"


def sureness(arguments: dict[str, JsonValue], tool: str = "save_note") -> list[Confidence]:
    call: JsonValue = {"method": "tools/call", "params": {"name": tool, "arguments": arguments}}
    result = engines().to_server.scan(call, lambda _: "call.arguments", Surface.TO_SERVER)
    return [match.confidence for match in result.matches if match.rule.id == RULE]


@pytest.mark.parametrize("key", ["name", "title", "body", "content", "query", "message", "code"])
def test_it_is_found_whatever_the_argument_is_for(key: str) -> None:
    assert sureness({key: f"Dear reader, {CODE}, thanks"}) == [Confidence.HIGH]


def test_it_is_found_in_a_record_and_in_a_long_document() -> None:
    assert sureness({"record": {"fields": [{"value": CODE}]}}) == [Confidence.HIGH]
    assert sureness({"content": "A line of prose.\n" * 2000 + CODE}) == [Confidence.HIGH]


@pytest.mark.parametrize(
    "shown", [f"`{CODE}`", f"```\n{CODE}\n```", f"<p>Never: <code>{CODE}</code></p>"]
)
def test_code_that_a_reader_is_shown_is_none(shown: str) -> None:
    assert sureness({"body": f"How it was done:\n{shown}\n"}) == []
    assert sureness({"name": shown}) == [Confidence.HIGH]  # a name has no reader


def test_a_text_about_attacks_is_less_sure() -> None:
    about = "The attacker sent this payload, which exploited a known vulnerability:\n"
    assert sureness({"content": about + CODE}) == [Confidence.MEDIUM]
    assert sureness({"label": about + CODE}) == [Confidence.MEDIUM]
    assert sureness({"content": "The weather was fine:\n" + CODE}) == [Confidence.HIGH]


@pytest.mark.parametrize(
    "call",
    [
        ("write", {"path": "a.py", "content": CODE}),
        ("apply_patch", {"patch": f"+{CODE}"}),
        ("edit_file", {"edits": [{"new_text": CODE}]}),
    ],
)
def test_a_file_may_hold_anything_but_not_its_path(call: tuple[str, dict[str, JsonValue]]) -> None:
    tool, arguments = call
    assert sureness(arguments, tool) == []
    assert sureness({**arguments, "path": CODE}, tool) == [Confidence.HIGH]


def test_a_mark_that_is_never_closed_shows_nothing() -> None:
    assert sureness({"body": f"an open ` mark\n{CODE}"}) == [Confidence.HIGH]
    assert sureness({"body": f"<code>x</code> and then {CODE}"}) == [Confidence.HIGH]
