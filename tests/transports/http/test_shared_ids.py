"""Ids on a channel that several clients share. transports/http/shared_ids.py."""

from __future__ import annotations

import json

import pytest

from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue
from pipeguard.firewall.protocol.methods import SUBSCRIPTION_META
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.transports.http.correlator import (
    answered_id,
    cancelled_id,
    find_progress_token,
    find_progress_tokens,
    find_subscription_id,
    is_cancellation,
    with_answered_id,
    with_cancelled_id,
    with_progress_token,
    with_request_ids,
    with_subscription_id,
)
from tests.transports.talking import Json, call, notification, request, result


def read(message: Json) -> JsonObject:
    value = parse_json(json.dumps(message).encode())
    assert isinstance(value, dict)
    return value


def test_requests_of_a_batch_get_their_ids_and_tokens_in_order() -> None:
    batch: list[Json] = [
        call(1, _meta={"progressToken": 1, "other": "x"}),
        notification("notifications/x"),
        request("b"),
        call(3, _meta={"progressToken": "t"}),
    ]
    frame = json.dumps(batch).encode()
    value = parse_json(frame)
    assert find_progress_tokens(value) == ["1", '"t"']
    sent = json.loads(with_request_ids(frame, value, ["7", '"y"', "9"], ["7", '"z"']))
    assert [member.get("id") for member in sent] == [7, None, "y", 9]
    assert sent[0]["params"]["_meta"] == {"progressToken": 7, "other": "x"}
    assert sent[3]["params"]["_meta"] == {"progressToken": "z"}
    assert sent[1] == batch[1]


def test_a_message_that_keeps_its_ids_is_sent_as_it_came() -> None:
    frame = json.dumps(call(1, _meta={"progressToken": 1})).encode()
    assert with_request_ids(frame, parse_json(frame), ["1"], ["1"]) is frame


def test_a_cancellation_names_another_request() -> None:
    value = read(notification("notifications/cancelled", requestId=5, reason="x"))
    assert is_cancellation(value)
    assert cancelled_id(value) == "5"
    assert with_cancelled_id(value, '"a"')["params"] == {"requestId": "a", "reason": "x"}


@pytest.mark.parametrize(
    "message",
    [
        notification("notifications/cancelled"),
        notification("notifications/cancelled", requestId=None),
        notification("notifications/x", requestId=5),
    ],
)
def test_any_other_message_cancels_nothing(message: Json) -> None:
    assert cancelled_id(read(message)) is None


def test_an_answer_comes_under_the_clients_id_also_as_its_subscription() -> None:
    value = read(result(7, _meta={SUBSCRIPTION_META: 7}, tools=[]))
    assert answered_id(value) == "7"
    changed = with_answered_id(value, "7", '"mine"')
    assert changed == read(result("mine", _meta={SUBSCRIPTION_META: "mine"}, tools=[]))
    assert with_answered_id(value, "7", "7") is value
    other = with_answered_id(read(result(7, _meta={SUBSCRIPTION_META: 8})), "7", "1")
    assert other == read(result(1, _meta={SUBSCRIPTION_META: 8}))


@pytest.mark.parametrize("value", [None, [], "x", read(request(1)), {"id": True}])
def test_what_is_no_answer_answers_nothing(value: JsonValue) -> None:
    assert answered_id(value) is None


def test_progress_and_subscriptions_are_told_under_the_clients_names() -> None:
    progress = read(notification("notifications/progress", progressToken=3, progress=1))
    assert find_progress_token(progress) == "3"
    assert with_progress_token(progress, '"p"')["params"] == {
        "progressToken": "p",
        "progress": read({"n": 1})["n"],
    }
    told = read(notification("notifications/x", _meta={SUBSCRIPTION_META: "s", "other": "x"}))
    assert find_subscription_id(told) == '"s"'
    meta = {SUBSCRIPTION_META: "c", "other": "x"}
    assert with_subscription_id(told, '"c"')["params"] == {"_meta": meta}
    for message in (notification("notifications/x"), notification("x", _meta="x")):
        assert find_progress_token(read(message)) is None
        assert find_subscription_id(read(message)) is None
