"""Ids on a channel that several clients share. transports/http/shared_ids.py."""

from __future__ import annotations

import json

from pipeguard.firewall.protocol.json_values import JsonObject
from pipeguard.firewall.protocol.methods import SUBSCRIPTION_META
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.transports.http.correlator import (
    answered_id,
    find_progress_token,
    find_subscription_id,
    with_answered_id,
    with_owners_token,
    with_request_ids,
)
from tests.transports.talking import Json, call, notification, result


def read(message: Json) -> JsonObject:
    value = parse_json(json.dumps(message).encode())
    assert isinstance(value, dict)
    return value


def test_a_message_that_keeps_its_ids_is_sent_as_it_came() -> None:
    frame = json.dumps(call(1, _meta={"progressToken": 1})).encode()
    assert with_request_ids(frame, parse_json(frame), ("1", "1")) is frame
    sent = json.loads(with_request_ids(frame, parse_json(frame), ('"a"', "7")))
    assert sent == {**call(1, _meta={"progressToken": 7}), "id": "a"}


def test_an_answer_comes_under_the_clients_id_also_as_its_subscription() -> None:
    value = read(result(7, _meta={SUBSCRIPTION_META: 7}, tools=[]))
    assert answered_id(value) == "7"
    changed = with_answered_id(value, "7", '"mine"')
    assert changed == read(result("mine", _meta={SUBSCRIPTION_META: "mine"}, tools=[]))
    assert with_answered_id(value, "7", "7") is value
    other = with_answered_id(read(result(7, _meta={SUBSCRIPTION_META: 8})), "7", "1")
    assert other == read(result(1, _meta={SUBSCRIPTION_META: 8}))


def test_progress_and_subscriptions_are_told_under_the_clients_names() -> None:
    progress = read(notification("notifications/progress", progressToken=3, progress=1))
    assert find_progress_token(progress) == "3"
    assert with_owners_token(progress, '"p"')["params"] == {
        "progressToken": "p",
        "progress": read({"n": 1})["n"],
    }
    told = read(notification("notifications/x", _meta={SUBSCRIPTION_META: "s", "other": "x"}))
    assert find_subscription_id(told) == '"s"'
    meta = {SUBSCRIPTION_META: "c", "other": "x"}
    assert with_owners_token(told, '"c"')["params"] == {"_meta": meta}
    for message in (notification("notifications/x"), notification("x", _meta="x")):
        assert find_progress_token(read(message)) is None
        assert find_subscription_id(read(message)) is None
