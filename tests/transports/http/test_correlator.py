"""Ids on a shared channel: their owners, the stored ones, and those still in progress."""

import json

import pytest

from pipeguard.firewall.protocol.ids import read_id, write_id
from pipeguard.firewall.protocol.json_values import JsonObject
from pipeguard.firewall.protocol.methods import SUBSCRIPTION_META
from pipeguard.firewall.protocol.pending import MAX_REMEMBERED, REMEMBERED_SECONDS
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.transports.http import correlator
from pipeguard.transports.http.correlator import (
    MOST_AHEAD,
    Correlator,
    Sent,
    answered_id,
    find_progress_token,
    find_subscription_id,
    with_answered_id,
    with_owners_token,
)
from tests.transports.talking import Json, notification, result


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def request(id_token: str, progress: str | None = None) -> JsonObject:
    meta: JsonObject = {} if progress is None else {"progressToken": read_id(progress)}
    return {"id": read_id(id_token), "method": "x/y", "params": {"_meta": meta}}


def add(ids: Correlator[str], owner: str, token: str, progress: str | None = None) -> str:
    """Add a request; return the id under which it is sent."""
    sent = ids.add(owner, request(token, progress))
    assert isinstance(sent, dict)
    return write_id(sent["id"]) or ""


def progressing(ids: Correlator[str], token: str) -> Sent[str] | None:
    """The owner of a progress report."""
    return ids.origin({"method": "x", "params": {"progressToken": read_id(token)}})


@pytest.mark.parametrize(
    ("tokens", "kept"),
    [
        (("1", "2", "7"), [True, True, True]),
        (("1", "1", "2", "4"), [True, False, False, True]),
        (('"a"', "0", "-1"), [False, False, False]),
        ((str(MOST_AHEAD), str(2 * MOST_AHEAD + 1)), [True, False]),
    ],
)
def test_a_unique_id_is_a_number_that_exceeds_all_before(
    tokens: tuple[str, ...], kept: list[bool]
) -> None:
    ids = Correlator[str](is_unique=True)
    sent = [add(ids, token, token, token) for token in tokens]
    assert [own == token for own, token in zip(sent, tokens, strict=True)] == kept
    assert len(set(sent)) == len(sent)
    for own, token in zip(sent, tokens, strict=True):
        origin, progress = ids.pop(own), progressing(ids, own)
        assert (origin and origin.token, progress and progress.token) == (token, token)
        assert add(ids, "later", own) != own


def test_where_ids_need_not_be_unique_one_that_is_free_is_kept() -> None:
    ids = Correlator[str](is_unique=False)
    message, other = request("1", '"p"'), request("1", '"p"')
    assert ids.add("one", message) is message
    changed = ids.add("two", other)
    assert isinstance(changed, dict)
    assert changed["id"] != other["id"]
    assert changed["params"] != other["params"]
    ids.give_up("1")
    assert add(ids, "one", "1") != "1"  # its late answer would be another's
    assert ids.is_late("1")
    assert add(ids, "one", "1") == "1"
    chosen = '"pipeguard-4"'
    assert add(ids, "one", chosen) == chosen
    assert add(ids, "two", "1") not in ("1", chosen)


def test_a_server_may_work_on_what_was_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(correlator, "monotonic", clock)
    ids = Correlator[str](is_unique=True)
    for own in "123":
        ids.add("one", request(own))
    assert ids.cancel("one", "1") == "1"
    clock.seconds += REMEMBERED_SECONDS / 2
    assert ids.cancel("one", "2") == "2"
    assert len(ids.working()) == 3
    clock.seconds += REMEMBERED_SECONDS / 2
    assert [each.token for each in ids.working()] == ["2", "3"]
    clock.seconds += REMEMBERED_SECONDS
    assert [each.token for each in ids.working()] == ["3"]


def test_only_so_many_that_were_cancelled_are_kept() -> None:
    ids = Correlator[str](is_unique=True)
    for number in range(2 * MAX_REMEMBERED):
        assert add(ids, "one", "1") == str(number + 1)
        assert ids.cancel("one", "1") == str(number + 1)
    assert len(ids.working()) == MAX_REMEMBERED


def test_nobody_cancels_what_is_another_ones_or_twice() -> None:
    ids = Correlator[str](is_unique=True)
    ids.add("one", request("1"))
    assert ids.cancel("two", "1") is None
    assert ids.cancel("one", "1") == "1"
    assert ids.cancel("one", "1") is None
    assert ids.pop("1") is None
    assert ids.working() == []


def test_a_token_that_is_spelled_otherwise_is_the_same_request() -> None:
    ids = Correlator[str](is_unique=False)
    ids.add("one", request("7", "7"))
    assert (progress := progressing(ids, "7")) is not None
    assert progressing(ids, '"7"') == progress
    assert ids.cancel("one", '"7"') == "7"
    assert ids.cancel("one", '"7"') is None
    ids.add("one", request('"8"', '"8"'))
    assert progressing(ids, "8") == progressing(ids, '"8"')
    assert ids.cancel("one", "8") == '"8"'


def read(message: Json) -> JsonObject:
    value = parse_json(json.dumps(message).encode())
    assert isinstance(value, dict)
    return value


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
