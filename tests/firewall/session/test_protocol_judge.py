"""What a Session checks where others judge the texts: the protocol, and nothing that is said."""

import pytest

from pipeguard.detect.detector import make_guard
from pipeguard.firewall.finding import Action
from pipeguard.firewall.policy import Policy
from pipeguard.firewall.session.session import Session
from tests.firewall.session.talk import (
    KEY,
    ORDER,
    TO_CLIENT,
    TO_SERVER,
    answer,
    call,
    frame,
    member,
)
from tests.fuzz.rulebook import engines


@pytest.fixture
def session() -> Session:
    guard = make_guard("gateway", engines(), Policy(), {}, b"k" * 32)
    guard.inspects = False
    session = Session(guard.part(b"c" * 32), "RUN")
    session.resume("2025-06-18")
    return session


def test_what_messages_say_is_not_judged_and_passes_as_it_came(session: Session) -> None:
    asked, told = call(1, f"key {KEY}"), answer(1, ORDER)
    assert session.receive(TO_SERVER, asked, 0.0).forward is asked
    verdict = session.receive(TO_CLIENT, told, 0.0)
    assert (verdict.forward, verdict.action, verdict.pins) == (told, Action.ALLOW, ())
    assert session.waiting() == []


def test_definitions_are_neither_pinned_nor_held(session: Session) -> None:
    tools = {"tools": [{"name": "t", "description": ORDER, "inputSchema": {"type": "object"}}]}
    session.receive(TO_SERVER, frame(id=1, method="tools/list"), 0.0)
    told = frame(id=1, result=tools)
    assert session.receive(TO_CLIENT, told, 0.0).forward is told
    assert session.guard.pins == {}


def test_an_answer_to_nothing_a_wrong_frame_and_an_open_id_are_refused(session: Session) -> None:
    assert session.receive(TO_CLIENT, answer(7, "x"), 0.0).forward is None
    broken = session.receive(TO_SERVER, b'{"jsonrpc": "2.0", "id": 1}', 0.0)
    assert (broken.forward, broken.action) == (None, Action.BLOCK)
    session.receive(TO_SERVER, call(1, "a"), 0.0)
    again = session.receive(TO_SERVER, call(1, "b"), 0.0)
    assert again.forward is None
    assert session.waiting() == ["1"]


def test_what_waits_is_answered_when_the_other_side_is_gone(session: Session) -> None:
    session.receive(TO_SERVER, call(1, "a"), 0.0)
    (told,) = session.abandon()
    assert member(told, "id") == 1
