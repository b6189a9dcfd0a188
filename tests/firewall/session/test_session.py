"""One conversation: events, batches, pending requests, and their fate when a side is gone."""

import json
from typing import Any

import pytest

from pipeguard import Action, Session, Verdict
from pipeguard.detect.scanning.engine import Engine
from pipeguard.firewall.policy import Layer, Limits, Policy
from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.json_values import JsonValue
from pipeguard.firewall.session import (
    client_headers,
    decisions,
    events,
    guard,
    lifecycle,
    own_frames,
)
from pipeguard.firewall.session.events import Frame, OwnQuestion
from pipeguard.firewall.session.memory import Note
from pipeguard.firewall.session.own_frames import QuestionClosed, ServerGone
from pipeguard.firewall.session.session import Event
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
    message,
    new_session,
    own,
    rules,
    to_client,
    to_server,
)


def _break(*_: object, **__: object) -> None:
    raise ZeroDivisionError


def test_events_are_counted_for_each_direction() -> None:
    session = new_session()
    told = [
        session.take(Frame(direction, frame(method="notifications/message"), 0.0)).event
        for direction in (TO_SERVER, TO_CLIENT, TO_SERVER)
    ]
    assert told == ["RUN.c1", "RUN.s1", "RUN.c2"]


@pytest.mark.parametrize("check", ["check", "together"])
def test_each_request_of_a_batch_whose_check_breaks_is_answered_once(
    check: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = new_session(revision="2025-03-26")
    assert to_server(session, call(3, "before")).forward is not None
    with monkeypatch.context() as patch:
        patch.setattr(f"pipeguard.firewall.protocol.batch.{check}", _break)
        verdict = to_server(session, b"[" + call(1, "a") + b"," + call(2, "a") + b"]")
    assert verdict.forward is None
    assert [one["id"] for one in json.loads(verdict.reply or b"[]")] == [1, 2]
    assert session.state.waiting_ids() == ["3"], "neither is answered again at the end"


def breaking_events(held: Verdict) -> list[tuple[str, Event, list[int]]]:
    """A part that breaks as an event happens, the event, and the requests that are answered."""
    stopped = held._replace(action=Action.BLOCK, frame=call(3, "hello"), event="RUN.c9")
    repeated = guard.RepeatedCall(message(id=3, method="tools/call"), held)
    state = "lifecycle.ConversationState"
    return [
        ("guard.Guard.spare", Frame(TO_SERVER, call(3, "a"), 1.0, is_aside=True), [3]),
        ("events.refuse", events.HiddenTool(call(3, "hello"), "3", 1.0), [3]),
        ("guard.Guard.repin", events.PinsChanged({}, 1.0), []),
        ("guard.Guard.adopt", events.PolicyChanged(Policy(), 1.0), []),
        ("events.framing.legible_id", OwnQuestion(frame(id="q", method="ping"), 1.0), []),
        ("events.framing.legible_id", events.Learned(Note("other", [], b""), 1.0), []),
        ("own_frames._make_error", ServerGone(1.0), [1, 2]),
        (f"{state}.expire", own_frames.Tick(1000.0), []),
        (f"{state}.announcements", own_frames.ListsChanged(frozenset(), 1.0), []),
        (f"{state}.withdraw_own", QuestionClosed("q", 1.0), []),
        ("client_headers.serialise", client_headers.HeadersSent([("A", "a")], 1.0, "RUN.h1"), []),
        ("guard.Guard.mark_call", decisions.Granted(held, 1.0, "RUN.c3"), [2]),
        ("decisions.pending.pending_request", decisions.Repeated(stopped, 1.0, repeated), [3]),
        ("decisions._judge_again", decisions.Waited(held, 1.0, is_last=True), [2]),
        ("decisions.waiting.end_wait", decisions.WaitEnded(held, 1.0, "its client left"), [2]),
        ("decisions.replies.make_result", decisions.AskedInResult(held, 1.0, {}), [2]),
    ]


@pytest.mark.parametrize("number", range(16))
def test_an_event_on_which_a_part_breaks_lets_nothing_pass(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = (Layer(tools_ask=("echo",)),)
    session = new_session(Policy(layers=layers, limits=Limits(timeout_seconds=50.0)))
    session.guard.contents_key, session.waiting_room = b"c" * 32, lifecycle.WaitingRoom()
    assert to_server(session, frame(id=1, method="tools/list")).forward
    held = to_server(session, call(2, "hello"))
    part, event, ids = breaking_events(held)[number]
    with monkeypatch.context() as patch:
        patch.setattr(f"pipeguard.firewall.session.{part}", _break)
        verdict = session.take(event)
    refused = [each for each in (verdict, *verdict.own) if each.action is Action.BLOCK]
    assert {rule for each in refused for rule in rules(each)} == {"protocol.internal"}
    assert (verdict.forward, verdict.kinds, verdict.headers) == (None, frozenset(), frozenset())
    answers = [verdict.reply or b"", *verdict.own_frames]
    assert [member(each, "id") for each in answers if each] == ids
    assert session.state.waiting_ids() == [f"{each}" for each in (1, 2) if each not in ids]


def test_when_the_server_is_gone_each_request_is_answered_and_what_it_asked_is_cancelled() -> None:
    session = asked()
    to_client(session, frame(id="s", method="ping"))
    to_server(session, frame(id=2, method="tools/list"))
    to_server(session, call(3, "a"))
    ended = ServerGone(1.0, ending="exit code 3", unsent={"3"})
    error, listing, unsent, cancelled = own(session, ended)
    assert member(error, "id") == 1
    assert member(error, "error", "code") == codes.PEER_GONE
    gone = "PipeGuard: the server demo ended before it answered (exit code 3)"
    acted = "; the call may have taken effect before that"
    assert member(error, "error", "message") == gone + acted
    assert member(listing, "error", "message") == member(unsent, "error", "message") == gone
    assert member(cancelled, "method") == "notifications/cancelled"
    assert member(cancelled, "params", "requestId") == "s"
    assert own(session, ServerGone(2.0)) == []


def test_another_thread_judges_with_engines_of_its_own() -> None:
    session = new_session()
    verdict = session.take(Frame(TO_SERVER, call(1, KEY), 0.0, is_aside=True))
    assert verdict.action is Action.BLOCK
    assert session.state.has_received(TO_SERVER)


@pytest.mark.parametrize(
    "check",
    ["detector.Detection.restore", "flows.ledger.Flows.record_request", "detector.find_leaks"],
)
def test_a_request_whose_check_breaks_is_answered_once_and_its_id_is_free(
    check: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, asked = new_session(), call(1, "a " * 2048)  # too long for one look
    with monkeypatch.context() as patch:
        patch.setattr(f"pipeguard.detect.{check}", _break)
        verdict = to_server(session, asked)
    assert (verdict.forward, member(verdict.reply, "id")) == (None, 1)
    assert own(session, ServerGone(2.0)) == [], "it is not answered again at the end"
    assert to_server(session, asked).forward is asked


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
    to_server(broken, call(1, "a"))
    verdict = to_client(broken, frame(id=1, result={"a": "fault"}))
    assert member(verdict.forward, "id") == 1
    assert member(verdict.forward, "error", "code") == codes.INTERNAL
    assert own(broken, ServerGone(2.0)) == [], "it is answered, so it waits no longer"


def test_a_notification_whose_check_breaks_is_dropped(broken: Session) -> None:
    verdict = to_server(broken, frame(method="notifications/x", a="fault"))
    assert (verdict.action, verdict.forward, verdict.reply) == (Action.BLOCK, None, None)


def test_a_batch_loses_only_the_member_whose_check_breaks(broken: Session) -> None:
    ping, faulty = frame(id=1, method="ping"), frame(id=2, method="ping", a="fault")
    verdict = to_server(broken, b"[" + ping + b"," + faulty + b"]")
    assert json.loads(verdict.forward or b"") == [json.loads(ping)]
    assert [reply["error"]["code"] for reply in json.loads(verdict.reply or b"")] == [-37108]
    assert broken.state.waiting_ids() == ["1"]


def test_the_verdict_on_an_answer_says_how_long_it_took_and_what_was_asked() -> None:
    session = new_session()
    request = call(1, "hello")
    asked = to_server(session, request, 10.0)
    assert (asked.request_bytes, asked.answer_seconds) == (None, None)
    given = to_client(session, answer(1, "hello"), 10.25)
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
    to_server(session, call(1, "hello"), 10.0)
    verdict = to_client(session, written, 10.25)
    assert verdict.action in (Action.REDACT, Action.BLOCK)
    assert (verdict.request_bytes, verdict.answer_seconds) == (len(call(1, "hello")), 0.25)


# --- requests of PipeGuard's own to the client --------------------------------------------

OURS = "pipeguard-1"
ELICITS = frame(id=OURS, method="elicitation/create", params={"mode": "url", "message": "?"})
ACCEPTED: dict[str, object] = {"action": "accept"}


def asking(declared: object) -> tuple[Session, Verdict]:
    """A session in which PipeGuard asks the client something."""
    session = new_session(revision="2025-11-25")
    begin(session, {"elicitation": declared})
    return session, session.take(OwnQuestion(ELICITS, 0.0))


def test_a_client_is_asked_only_what_it_declared() -> None:
    assert asking({"url": {}})[1].forward == ELICITS
    refused = asking({})[1]
    assert (refused.forward, refused.reply) == (None, None)


@pytest.mark.parametrize(
    ("sent", "is_taken"),
    [
        (frame(id=OURS, result=ACCEPTED), True),
        (frame(id=OURS, error={"code": -32601, "message": "?"}), True),
        (frame(id=OURS, result="no object"), True),
        (frame(id=OURS, result=ACCEPTED, Result={}), False),
        (frame(id=OURS, result=ACCEPTED, error={}), False),
        (b'{"jsonrpc":"2.0","id":"pipeguard-1","result":{"a":1,"a":2}}', False),
    ],
)
def test_no_answer_to_our_own_request_reaches_the_server(sent: bytes, *, is_taken: bool) -> None:
    session, _ = asking({"url": {}})
    verdict = to_server(session, sent, 1.0)
    assert (verdict.forward, verdict.reply, verdict.frame) == (None, None, sent)
    assert verdict.question == (f'"{OURS}"' if is_taken else "")
    again = to_server(session, frame(id=OURS, result=ACCEPTED), 1.0)
    assert (again.forward, again.question) == (None, "")


def test_a_server_can_neither_use_our_id_nor_learn_it() -> None:
    session, _ = asking({"url": {}, "form": {}})
    stolen = to_client(session, frame(id=OURS, method="ping"), 1.0)
    assert (stolen.forward, rules(stolen)) == (None, ["protocol.id-in-use"])
    session, _ = asking({"url": {}})
    (told,) = own(session, ServerGone(2.0))
    assert member(told, "method") == "notifications/cancelled"


def test_our_own_request_is_withdrawn_once() -> None:
    session, _ = asking({"url": {}})
    closed = QuestionClosed(f'"{OURS}"', 1.0)
    (told,) = own(session, closed)
    assert member(told, "params", "requestId") == OURS
    assert own(session, closed) == []
    late = to_server(session, frame(id=OURS, result=ACCEPTED), 2.0)
    assert (late.forward, late.findings, late.question) == (None, (), "")
