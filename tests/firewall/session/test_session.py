"""One conversation: events, batches, pending requests, and their fate when a side is gone."""

import json
from typing import Any

import pytest

from pipeguard.detect.scanning.engine import Engine
from pipeguard.firewall.finding import Action, Verdict
from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.json_values import JsonValue
from pipeguard.firewall.session.session import Session
from tests.firewall.session.talk import (
    KEY,
    TO_CLIENT,
    TO_SERVER,
    answer,
    asked,
    begin,
    call,
    frame,
    member,
    new_session,
    rules,
)


def _break(*_: object, **__: object) -> None:
    raise ZeroDivisionError


def test_events_are_counted_for_each_direction() -> None:
    session = new_session()
    told = [
        session.receive(direction, frame(method="notifications/message"), 0.0).event
        for direction in (TO_SERVER, TO_CLIENT, TO_SERVER)
    ]
    assert told == ["RUN.c1", "RUN.s1", "RUN.c2"]


@pytest.mark.parametrize("check", ["check", "together"])
def test_each_request_of_a_batch_whose_check_breaks_is_answered_once(
    check: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = new_session(revision="2025-03-26")
    assert session.receive(TO_SERVER, call(3, "before"), 0.0).forward is not None
    with monkeypatch.context() as patch:
        patch.setattr(f"pipeguard.firewall.protocol.batch.{check}", _break)
        verdict = session.receive(TO_SERVER, b"[" + call(1, "a") + b"," + call(2, "a") + b"]", 0.0)
    assert verdict.forward is None
    assert [one["id"] for one in json.loads(verdict.reply or b"[]")] == [1, 2]
    assert session.waiting() == ["3"], "neither is answered again at the end"


def test_when_the_server_is_gone_each_request_is_answered_and_what_it_asked_is_cancelled() -> None:
    session = asked()
    session.receive(TO_CLIENT, frame(id="s", method="ping"), 0.0)
    session.receive(TO_SERVER, frame(id=2, method="tools/list"), 0.0)
    session.receive(TO_SERVER, call(3, "a"), 0.0)
    error, listing, unsent, cancelled = session.abandon(ending="exit code 3", unsent={"3"})
    assert member(error, "id") == 1
    assert member(error, "error", "code") == codes.PEER_GONE
    gone = "PipeGuard: the server demo ended before it answered (exit code 3)"
    acted = "; the call may have taken effect before that"
    assert member(error, "error", "message") == gone + acted
    assert member(listing, "error", "message") == member(unsent, "error", "message") == gone
    assert member(cancelled, "method") == "notifications/cancelled"
    assert member(cancelled, "params", "requestId") == "s"
    assert session.abandon() == []


def test_another_thread_judges_with_engines_of_its_own() -> None:
    session = new_session()
    verdict = session.receive_concurrently(TO_SERVER, call(1, KEY), 0.0)
    assert verdict.action is Action.BLOCK
    assert session.state.has_received(TO_SERVER)


@pytest.mark.parametrize("check", ["restore", "record_request", "find_leaks"])
def test_a_request_whose_check_breaks_is_answered_once_and_its_id_is_free(
    check: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = new_session()
    with monkeypatch.context() as patch:
        patch.setattr(f"pipeguard.detect.detector.Detection.{check}", _break)
        verdict = session.receive(TO_SERVER, call(1, "a"), 0.0)
    assert (verdict.forward, member(verdict.reply, "id")) == (None, 1)
    assert session.abandon() == [], "it is not answered again at the end"
    again = call(1, "a")
    assert session.receive(TO_SERVER, again, 0.0).forward is again


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Session:
    """A session whose rules fail at the word `fault`."""
    look = Engine.look

    def fail(engine: Engine, value: JsonValue, *more: Any) -> object:
        if "fault" in str(value):
            raise ZeroDivisionError
        return look(engine, value, *more)

    monkeypatch.setattr(Engine, "look", fail)
    return new_session(revision="2025-03-26")


def test_an_answer_whose_check_breaks_is_replaced(broken: Session) -> None:
    broken.receive(TO_SERVER, call(1, "a"), 0.0)
    verdict = broken.receive(TO_CLIENT, frame(id=1, result={"a": "fault"}), 0.0)
    assert member(verdict.forward, "id") == 1
    assert member(verdict.forward, "error", "code") == codes.INTERNAL
    assert broken.abandon() == [], "it is answered, so it waits no longer"


def test_a_notification_whose_check_breaks_is_dropped(broken: Session) -> None:
    verdict = broken.receive(TO_SERVER, frame(method="notifications/x", a="fault"), 0.0)
    assert (verdict.action, verdict.forward, verdict.reply) == (Action.BLOCK, None, None)


def test_a_batch_loses_only_the_member_whose_check_breaks(broken: Session) -> None:
    ping, faulty = frame(id=1, method="ping"), frame(id=2, method="ping", a="fault")
    verdict = broken.receive(TO_SERVER, b"[" + ping + b"," + faulty + b"]", 0.0)
    assert json.loads(verdict.forward or b"") == [json.loads(ping)]
    assert [reply["error"]["code"] for reply in json.loads(verdict.reply or b"")] == [-37108]
    assert broken.waiting() == ["1"]


def test_the_verdict_on_an_answer_says_how_long_it_took_and_what_was_asked() -> None:
    session = new_session()
    request = call(1, "hello")
    asked = session.receive(TO_SERVER, request, 10.0)
    assert (asked.request_bytes, asked.answer_seconds) == (None, None)
    given = session.receive(TO_CLIENT, answer(1, "hello"), 10.25)
    assert (given.request_bytes, given.answer_seconds) == (len(request), 0.25)


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(frame(id=1, result={"content": "no list"}, error={}), id="no answer"),
        pytest.param(frame(id=1, result=7), id="no object"),
        pytest.param(answer(1, KEY), id="redacted"),
        pytest.param(b'{"jsonrpc":"2.0","id":1,"result":{"a":1,"a":2}}', id="two meanings"),
    ],
)
def test_an_answer_that_is_not_passed_as_it_is_has_its_time_all_the_same(written: bytes) -> None:
    session = new_session()
    session.receive(TO_SERVER, call(1, "hello"), 10.0)
    verdict = session.receive(TO_CLIENT, written, 10.25)
    assert verdict.action in (Action.REDACT, Action.BLOCK)
    assert (verdict.request_bytes, verdict.answer_seconds) == (len(call(1, "hello")), 0.25)


# --- requests of PipeGuard's own to the client --------------------------------------------

OURS = "pipeguard-1"
ELICITS = frame(id=OURS, method="elicitation/create", params={"mode": "url", "message": "?"})
ACCEPTED: dict[str, object] = {"action": "accept"}


def asking(declared: object) -> tuple[Session, list[JsonValue], Verdict]:
    """A session in which PipeGuard asks the client something, and the results that it takes."""
    session, taken = new_session(revision="2025-11-25"), list[JsonValue]()
    begin(session, {"elicitation": declared})
    return session, taken, session.ask_client(ELICITS, taken.append, 0.0)


def test_a_client_is_asked_only_what_it_declared() -> None:
    assert asking({"url": {}})[2].forward == ELICITS
    refused = asking({})[2]
    assert (refused.forward, refused.reply) == (None, None)


@pytest.mark.parametrize(
    ("sent", "taken"),
    [
        (frame(id=OURS, result=ACCEPTED), [ACCEPTED]),
        (frame(id=OURS, error={"code": -32601, "message": "?"}), [None]),
        (frame(id=OURS, result="no object"), ["no object"]),
        (frame(id=OURS, result=ACCEPTED, Result={}), []),
        (frame(id=OURS, result=ACCEPTED, error={}), []),
        (b'{"jsonrpc":"2.0","id":"pipeguard-1","result":{"a":1,"a":2}}', []),
    ],
)
def test_no_answer_to_our_own_request_reaches_the_server(
    sent: bytes, taken: list[JsonValue]
) -> None:
    session, results, _ = asking({"url": {}})
    verdict = session.receive(TO_SERVER, sent, 1.0)
    assert (verdict.forward, verdict.reply, results) == (None, None, taken)
    again = session.receive(TO_SERVER, frame(id=OURS, result=ACCEPTED), 1.0)
    assert (again.forward, results) == (None, taken)


def test_a_server_can_neither_use_our_id_nor_learn_it() -> None:
    session, results, _ = asking({"url": {}, "form": {}})
    stolen = session.receive(TO_CLIENT, frame(id=OURS, method="ping"), 1.0)
    assert (stolen.forward, rules(stolen)) == (None, ["protocol.id-in-use"])
    assert session.abandon(TO_SERVER) == []
    session, results, _ = asking({"url": {}})
    assert [member(each, "method") for each in session.abandon()] == ["notifications/cancelled"]
    assert results == []


def test_our_own_request_is_withdrawn_once() -> None:
    session, results, _ = asking({"url": {}})
    (told,) = session.withdraw_question(f'"{OURS}"', 1.0)
    assert member(told, "params", "requestId") == OURS
    assert session.withdraw_question(f'"{OURS}"', 1.0) == []
    late = session.receive(TO_SERVER, frame(id=OURS, result=ACCEPTED), 2.0)
    assert (late.forward, late.findings, results) == (None, (), [])
