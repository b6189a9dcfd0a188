"""Pending requests, by id and by progress token; and how long cancelled ones are remembered."""

import json

import pytest

from pipeguard.errors import Refusal
from pipeguard.firewall.protocol.message import Message, parse
from pipeguard.firewall.protocol.pending import (
    MAX_CALL_BYTES,
    MAX_CANCELLED_BYTES,
    MAX_OPEN_BYTES,
    MAX_REMEMBERED,
    Pending,
    PendingRequest,
    pending_request,
)

ONE = PendingRequest("one more", "ping", None, 0.0)


def asked(
    pending: Pending, id_token: str, method: str = "ping", **more: str | float
) -> PendingRequest:
    """Make a request that was forwarded."""
    request = PendingRequest(id_token, method, None, float(more.get("since", 0.0)))
    if "token" in more:
        request.progress_token = str(more["token"])
    assert pending.open(request)
    request.forwarded = True
    return request


def test_nothing_answers_a_request_that_did_not_go_on_yet() -> None:
    pending = Pending(10)
    request = PendingRequest("1", "ping", None, 0.0, progress_token="7")
    assert pending.open(request)
    assert pending.close("1") is None
    assert not pending.cancel("1", 0.0)
    assert not pending.progresses("7", 1.0)
    assert pending.overdue(99.0, 1.0) == []
    request.forwarded = True
    assert pending.close("1") is request


def test_only_so_many_cancelled_requests_are_remembered() -> None:
    pending = Pending(10)
    for number in range(MAX_REMEMBERED + 1):
        asked(pending, str(number))
        assert pending.cancel(str(number), 0.0)
    assert not pending.was_cancelled("0", 0.0)
    assert pending.was_cancelled("1", 0.0)
    assert pending.was_cancelled(str(MAX_REMEMBERED), 0.0)


def test_only_so_many_tasks_tell_of_progress() -> None:
    pending = Pending(10)
    for number in range(MAX_REMEMBERED + 1):
        task = asked(pending, "1", token=str(number))
        pending.close("1")
        pending.outlive(task)
    assert not pending.progresses("0", 1.0)
    assert pending.progresses(str(MAX_REMEMBERED), 1.0)
    silent = asked(pending, "1")
    pending.outlive(silent)
    assert pending.progresses("1", 1.0), "one that tells of no progress takes no place"


def test_the_whole_answers_and_cancels_for_its_exchanges() -> None:
    pending = Pending(2)
    exchange = pending.fork()
    asked(exchange, "1", token="7")
    assert pending.progresses("7", 1.0)
    assert pending.cancel("1", 5.0)
    assert pending.was_cancelled("1", 6.0)
    assert exchange.was_cancelled("1", 6.0)
    asked(exchange, "2")
    assert pending.fork().progresses("7", 2.0) is False
    assert pending.close("2") is not None


def test_a_limit_is_one_of_the_whole() -> None:
    pending = Pending(2)
    first, second = pending.fork(), pending.fork()
    asked(first, "1")
    assert second.has_room(ONE)
    asked(second, "1")
    assert not first.has_room(ONE)
    assert not pending.has_room(ONE)


def test_what_an_exchange_leaves_open_waits_on_in_the_whole() -> None:
    pending = Pending(10)
    left, done = pending.fork(), pending.fork()
    waiting = asked(left, "1")
    left.leave()
    done.leave()
    assert pending.all() == [waiting]
    assert pending.close("1") is waiting
    assert pending.all() == []


def test_an_exchange_is_forgotten_with_the_last_answer_that_it_waited_for() -> None:
    pending = Pending(10)
    for _ in range(3):
        exchange = pending.fork()
        waiting = asked(exchange, "1", token="7")
        exchange.leave()
        assert exchange.close("1") is waiting  # as from a server that shares one channel
        exchange = pending.fork()
        asked(exchange, "1")
        exchange.leave()
        assert pending.cancel("1", 5.0)
    assert not pending._exchanges
    assert pending.was_cancelled("1", 6.0)


def test_a_late_answer_is_expected_although_its_exchange_is_over() -> None:
    pending = Pending(10)
    exchange = pending.fork()
    asked(exchange, "1")
    assert pending.cancel("1", 5.0)
    exchange.leave()
    assert pending.was_cancelled("1", 6.0)
    for number in range(2 * MAX_REMEMBERED):
        exchange = pending.fork()
        asked(exchange, str(number))
        pending.cancel(str(number), 6.0)
        exchange.leave()
    assert len(pending._cancelled) == MAX_REMEMBERED


def test_what_waits_is_bounded_by_the_memory_that_it_takes() -> None:
    pending = Pending(10_000)
    many = 0
    while pending.has_room(request := PendingRequest(f"{many}", "tools/call", "t" * 100_000, 0.0)):
        assert pending.open(request)
        many += 1
    assert 80 * 100_000 < many * 100_000 <= MAX_OPEN_BYTES
    for request, size in zip(pending.all(), (10**6, MAX_CALL_BYTES), strict=False):
        request.call_values = frozenset({"x" * size})
        pending.keep_call(request)
    described = [bool(request.call_values) for request in pending.all()[:2]]
    assert described == [True, False], "there is no room for that"
    for request in pending.all():
        pending.drop(request)
    assert (pending._count, pending._bytes, pending._call_bytes) == (0, 0, 0)


def test_what_calls_name_takes_no_room_of_other_requests() -> None:
    pending = Pending(10_000)
    for number in range(10_000):
        request = PendingRequest(f'"{number:036}"', "tools/call", f"mcp__server__{number:060}", 0.0)
        assert pending.has_room(request), number
        assert pending.open(request)
        request.call_values = frozenset({f"{number:06000}"})
        pending.keep_call(request)
    assert not pending.has_room(PendingRequest("0", "ping", None, 0.0))


def test_ids_that_were_cancelled_are_bounded_likewise() -> None:
    pending = Pending(10)
    for number in range(MAX_REMEMBERED):
        asked(pending, f"{number}" + "x" * 1000)
        assert pending.cancel(f"{number}" + "x" * 1000, 0.0)
    assert sum(map(len, pending._cancelled)) <= MAX_CANCELLED_BYTES
    assert pending._cancelled_bytes <= MAX_CANCELLED_BYTES
    assert pending.was_cancelled(f"{MAX_REMEMBERED - 1}" + "x" * 1000, 1.0)


def request_in(**members: object) -> PendingRequest:
    message = parse(json.dumps({"jsonrpc": "2.0", "id": 1, **members}).encode())
    assert isinstance(message, Message)
    return pending_request(message, 5.0)


def test_a_progress_token_is_a_string_or_an_integer() -> None:
    def token(meta: object) -> str | None:
        return request_in(method="ping", params={"_meta": meta}).progress_token

    assert token({"progressToken": 7}) == "7"
    assert token({"progressToken": "7"}) == '"7"'
    assert token({"progressToken": None}) is None
    assert token({}) is None
    assert request_in(method="ping").progress_token is None
    with pytest.raises(Refusal) as refused:
        token({"progressToken": 1.5})
    assert refused.value.rule == "protocol.invalid-progress-token"
    assert refused.value.id_token == "1"
