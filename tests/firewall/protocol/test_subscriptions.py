"""A list is announced on a subscription once it was asked for and granted."""

import pytest

from pipeguard.firewall.protocol import methods
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, Number
from pipeguard.firewall.protocol.pending import PendingRequest

ALL: JsonObject = {
    "toolsListChanged": True,
    "promptsListChanged": True,
    "resourcesListChanged": True,
}


def make_params(flags: JsonValue, meta: JsonValue = None) -> JsonObject:
    return {"notifications": flags, "_meta": meta}


@pytest.mark.parametrize(
    ("value", "lists"),
    [
        (make_params(ALL), {"tools", "prompts", "resources"}),
        (make_params({"toolsListChanged": True, "promptsListChanged": False}), {"tools"}),
        (make_params({"toolsListChanged": "true", "other": True}), set()),
        (make_params(None), set()),
        ({}, set()),
    ],
)
def test_a_list_is_named_by_a_flag_that_is_true(value: JsonObject, lists: set[str]) -> None:
    assert methods.read_lists(value) == lists


def test_flags_that_nobody_reads_are_left_out() -> None:
    flags: JsonObject = {"toolsListChanged": True, "other": {"a": True}}
    assert methods.granted_flags(make_params(flags)) == {"toolsListChanged": True}


def request(
    id_token: str, method: str = methods.LISTEN, *, forwarded: bool = True
) -> PendingRequest:
    made = PendingRequest(id_token, method, None, 0.0)
    made.requested_lists = frozenset({"tools", "prompts"})
    made.forwarded = forwarded
    return made


def test_what_was_asked_for_and_granted_is_announced_from_then_on() -> None:
    meant = request("1")
    others = [
        request("2"),
        request('"1"'),
        request("1", "tools/list"),
        request("1", forwarded=False),
    ]
    flags: JsonObject = {"toolsListChanged": True, "resourcesListChanged": True}
    meta: JsonObject = {methods.SUBSCRIPTION_META: Number("1")}
    methods.acknowledge([meant, *others], make_params(flags, meta))
    assert meant.announced_lists == {"tools"}
    assert {other.announced_lists for other in others} == {frozenset()}
