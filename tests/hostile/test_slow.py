"""What slow clients, and very many, can do: row 84. These tests come last: they wait for time."""

from __future__ import annotations

import resource
from contextlib import ExitStack
from time import monotonic

import pytest

from tests.hostile.conftest import Slow
from tests.hostile.wire import ask, post

HEAD_SECONDS, BODY_SECONDS = 10.0, 30.0  # which the table gives a client
TOLERANCE_SECONDS = 8.0
MANY = 1_000


def when_ended(slow: Slow, name: str, seconds: float) -> float:
    """After how long a connection was hung up on."""
    left = slow.started + seconds + TOLERANCE_SECONDS - monotonic()
    after, told = slow.ended[name].get(timeout=max(left, 0.1))
    assert told == b"" or told.startswith((b"HTTP/1.1 408", b"HTTP/1.1 400")), told
    return after


def test_84_many_idle_connections_keep_nobody_out(slow: Slow) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * MANY)), hard))
    with ExitStack() as stack:
        for _ in range(MANY):
            stack.enter_context(slow.hop.talk())
        assert slow.hop.in_session().status == 200
    assert slow.hop.in_session().status == 200


@pytest.mark.parametrize(
    ("name", "seconds"), [("head", HEAD_SECONDS), ("body", BODY_SECONDS)], ids=["head", "body"]
)
def test_84_a_client_that_does_not_go_on_is_hung_up_on(
    slow: Slow, name: str, seconds: float
) -> None:
    after = when_ended(slow, name, seconds)
    gives_way = name == "head"  # to the many of the test above: no request was let in on it yet
    assert gives_way or seconds - TOLERANCE_SECONDS <= after
    assert after <= seconds + TOLERANCE_SECONDS


def test_84_a_stream_on_which_nothing_comes_stays_open(slow: Slow) -> None:
    assert monotonic() - slow.started > BODY_SECONDS - TOLERANCE_SECONDS
    status, _ = slow.listener.head()
    assert status == 200
    slow.listener.socket.settimeout(0.2)
    try:
        while data := slow.listener.socket.recv(4096):
            assert b"\r\n0\r\n" not in data
    except TimeoutError:
        return
    raise AssertionError("the stream was ended")


def test_84_after_all_that_a_client_is_served(slow: Slow) -> None:
    session = slow.hop.session()
    assert slow.hop.ask(post(ask("prompts/list"), session)).status == 200
