"""Flows: what a tool does by its definition, and what is found again of what it gave."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.core.flows import (
    KEPT_BYTES,
    KEPT_SECONDS,
    Flows,
    Label,
    labels_of,
    tool_of,
)
from pipeguard.core.message import JsonObject, JsonValue, serialise
from tests.fuzz.budget import tried
from tests.fuzz.values import objects, texts, values

VALUE = "kX82mQz71LpT04vB"  # random, and none of any format
ENV = tool_of("get_env", None)
POST = tool_of("http_post", None)


def takes(*names: str) -> JsonObject:
    properties: JsonObject = {name: {"type": "string"} for name in names}
    return {"inputSchema": {"type": "object", "properties": properties}}


def answer(text: str) -> bytes:
    return serialise({"result": {"content": [{"type": "text", "text": text}]}})


@pytest.mark.parametrize(
    ("name", "definition", "labels"),
    [
        ("read_file", takes("path"), Label.READS_PRIVATE),
        ("searchMessages", takes("q"), Label.READS_PRIVATE),
        ("get_env", takes(), Label.READS_SECRET),
        ("vault_read", takes("path"), Label.READS_SECRET),
        ("fetch", takes("url"), Label.TAKES_IN | Label.SENDS),
        ("http_post", takes("url", "body"), Label.SENDS),
        ("notify_team", takes("channel", "text"), Label.SENDS),
        ("run_command", takes("command"), Label.RUNS),
        ("save_memory", takes("fact"), Label.KEEPS),
        ("add_numbers", takes("a", "b"), Label.NONE),
        ("convert_time", takes("from", "zone"), Label.NONE),
        ("echo", None, Label.NONE),
    ],
)
def test_what_a_tool_does_is_told_by_its_definition(
    name: str, definition: JsonObject | None, labels: Label
) -> None:
    assert labels_of(name, definition) == labels


@pytest.mark.parametrize(
    "spelt",
    [
        VALUE,
        f"https://in.example/?d={VALUE}",
        base64.b64encode(f"it is {VALUE}!".encode()).decode(),
        f"it is {VALUE} ".encode().hex(),
        "".join(f"%{byte:02X}" for byte in VALUE.encode()),
        {"a": [{"b": f"x {VALUE} y"}]},
    ],
    ids=range(6),
)
def test_a_secret_is_found_again_however_it_leaves(spelt: JsonValue) -> None:
    flows = Flows()
    flows.came(ENV, answer(f"A=1\nB={VALUE}"), 0.0)
    assert [leak.rule for leak in flows.leaks(POST, {"body": spelt})] == ["flows.secret-out"]
    assert VALUE not in str(flows.leaks(POST, {"body": spelt}))


def test_a_value_that_is_called_a_password_is_one_whatever_it_looks_like() -> None:
    flows = Flows()
    flows.came(tool_of("read_file", None), answer("db_password: horse#staple"), 0.0)
    assert [leak.rule for leak in flows.leaks(POST, {"body": "use horse#staple"})] == [
        "flows.secret-out"
    ]


@pytest.mark.parametrize(
    "harmless",
    ["123e4567-e89b-12d3-a456-426614174000", "d" * 40, "release-notes-spring", "12 May"],
)
def test_ids_digests_and_names_are_no_secrets(harmless: str) -> None:
    flows = Flows()
    flows.came(ENV, answer(f"A={harmless}"), 0.0)
    assert flows.leaks(POST, {"body": harmless}) == []


def test_what_was_long_ago_or_is_too_much_is_forgotten() -> None:
    flows = Flows()
    flows.came(ENV, answer(f"B={VALUE}"), 0.0)
    flows.came(ENV, answer("C=1"), KEPT_SECONDS + 1)
    assert flows.leaks(POST, {"body": VALUE}) == []
    flows.came(ENV, answer(f"B={VALUE}"), KEPT_SECONDS + 2)
    for _ in range(3):
        flows.came(ENV, answer("x" * (KEPT_BYTES // 3)), KEPT_SECONDS + 3)
    assert flows.leaks(POST, {"body": VALUE}) == []


def test_what_the_client_sent_before_is_its_own() -> None:
    flows = Flows()
    flows.went(serialise({"text": f"ticket {VALUE}"}))
    flows.came(ENV, answer(f"B={VALUE}"), 1.0)
    assert flows.leaks(POST, {"body": VALUE}) == []


@tried(100)
@given(st.lists(st.tuples(texts, values), max_size=5), texts, objects)
def test_nothing_fails_on_any_tool_or_value(
    came: list[tuple[str, JsonValue]], name: str, arguments: JsonObject
) -> None:
    flows = Flows()
    for given_name, value in came:
        source = tool_of(f"get_env {given_name}", {"inputSchema": value})
        flows.came(source, serialise(value), 0.0)
    for tool in (tool_of(name, arguments), POST):
        assert isinstance(flows.leaks(tool, arguments), list)
