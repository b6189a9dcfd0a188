"""Messages that cannot be judged are not forwarded, and each request is answered once."""

import json

import pytest

from pipeguard.firewall.finding import Action
from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.framing import Lost, Oversized
from pipeguard.firewall.session.refuse import as_refusal
from tests.firewall.session.talk import (
    asked,
    call,
    frame,
    member,
    new_session,
    rules,
    to_client,
    to_server,
)


@pytest.mark.parametrize(
    ("head", "tail", "answered"),
    [
        (b'{"jsonrpc":"2.0","method":"tools/call","params":{"a":"', b'"},"pad":"yyyy"}', True),
        (b'{"jsonrpc":"2.0","result":{"a":"', b'"},"pad":"yyyy"}', False),
        (b'{"jsonrpc":"2.0","method":"tools/call","params":{"a":"', b"", False),
        (b"", b'"},"pad":"yyyy"}', False),
    ],
    ids=["a request", "an answer", "its first part", "its last part"],
)
def test_a_request_over_the_limit_is_answered_though_its_id_is_not_read(
    head: bytes, tail: bytes, answered: bool
) -> None:
    session = new_session(revision="2025-11-25")
    verdict = to_server(session, Oversized.of(head, tail, 2**25))
    assert (verdict.reply is not None) == answered
    assert not answered or "id" not in json.loads(verdict.reply or b"")


@pytest.mark.parametrize(
    ("line", "waiting"),
    [(b'{"jsonrpc":"2.0","id":5,', ["5"]), (b'{"jsonrpc":"2.0","id":5,"result":{"a"', [])],
)
def test_half_a_line_ends_a_request_only_as_its_answer(line: bytes, waiting: list[str]) -> None:
    session = asked(5)
    verdict = to_client(session, line)
    assert (verdict.forward is None) == bool(waiting)
    assert session.state.waiting_ids() == waiting


@pytest.mark.parametrize(
    ("head", "tail", "waiting"),
    [
        (b'{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"', b'"}}', ["5"]),
        (b'{"method":"notifications/message","params":{"id":5,"result":"', b'"}}', ["5"]),
        (b'{"id":5,"level":"info","text":"', b'"}', ["5"]),
        (b"xxxx", b'xxxx"id":5}', ["5"]),
        (b'{"jsonrpc":"2.0","result":{"text":"', b'"}}', ["5"]),
        (b'{"jsonrpc":"2.0","id":5,"result":{"text":"', b'"}}', []),
        (b'{"result":{"text":"', b'"},"jsonrpc":"2.0","id":5}', []),
    ],
)
def test_what_is_too_large_ends_a_request_only_if_it_reads_as_its_answer(
    head: bytes, tail: bytes, waiting: list[str]
) -> None:
    session = asked(5)
    verdict = to_client(session, Oversized.of(head, tail, 2**25))
    assert verdict.action is Action.BLOCK
    assert (verdict.forward is None) == bool(waiting)
    assert session.state.waiting_ids() == waiting
    answered = to_client(session, frame(id=5, result={}))
    assert (answered.forward is None) != bool(waiting), "the answer behind it"


def test_an_answer_that_was_lost_says_whether_the_server_may_have_acted() -> None:
    session = new_session()
    to_server(session, frame(id=1, method="tools/list"))
    verdict = to_client(session, Lost.of("1", "the server cannot be reached"))
    reached = "PipeGuard: the server demo cannot be reached"
    assert member(verdict.forward, "error", "message") == reached
    assert member(verdict.forward, "error", "code") == codes.PEER_GONE
    assert verdict.action is Action.WARN, "nobody stopped it"
    assert member(verdict.forward, "error", "data", "verdict") == "warn"
    told = member(verdict.forward, "error", "data", "how_to_allow")
    assert told == f"Nothing was blocked; event {verdict.event} tells more."


@pytest.mark.parametrize("sent", [True, False])
def test_a_call_whose_answer_was_lost_may_have_taken_effect_if_it_was_sent(*, sent: bool) -> None:
    session = asked()
    lost = Lost.of("1", "the connection to the server was lost", sent=sent)
    told = member(to_client(session, lost).forward, "error", "message")
    assert ("the call may have taken effect before that" in str(told)) is sent


def test_a_check_that_fails_refuses_and_names_the_error_alone() -> None:
    refusal = as_refusal(call(1, "hello"), RuntimeError("secret detail"))
    assert refusal.rule == "protocol.internal"
    assert refusal.code == codes.INTERNAL
    assert refusal.id_token == "1"
    assert "secret detail" not in refusal.why
    assert as_refusal(b"{", RuntimeError()).id_token is None
    assert rules(to_server(new_session(), b"{")) == ["protocol.invalid-json"]
