"""Attacks of slow clients, and of very many: row 84."""

import resource
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from time import monotonic

import pytest

from pipeguard.transports.http.server import admission, connections
from tests.forking import PIPEGUARD
from tests.hostile import hurried
from tests.hostile.conftest import Hop
from tests.hostile.wire import HERE, Talk, Upstream, ask, post, request, stream
from tests.listening import Listening

HEAD_SECONDS, BODY_SECONDS = 10.0, 30.0  # which the table gives a client
LATE_SECONDS = 60.0  # on a machine with much else to do
MANY = 1_000
HURRIED = (sys.executable, "-E", "-P", hurried.__file__)


class Slow:
    """Clients that begin a head, or a body, and stall; and one that listens.

    Attributes:
        hop: the PipeGuard that they connect to.
        seconds: the time limit of head and body.
        ended: the seconds until each was hung up on, and the last answer.
        listener: a connection without messages.
    """

    def __init__(self, hop: Hop, upstream: Upstream, shorter: int) -> None:
        self.hop = hop
        self.seconds = {"head": HEAD_SECONDS / shorter, "body": BODY_SECONDS / shorter}
        stream_ = stream(b": open\n\n", end=False)[:-1]
        upstream.script = lambda seen: stream_ if seen.line.startswith("GET") else None
        session = hop.session()
        self.listener = hop.talk()
        self.listener.send(
            request("GET /mcp HTTP/1.1", [f"Host: {HERE}", "Accept: text/event-stream", session])
        )
        whole = post(ask("prompts/list"), session)
        end = whole.index(b"\r\n\r\n")
        self.started = monotonic()
        self.head, self.body = hop.talk(), hop.talk()
        self.head.send(whole[: end - 5])
        self.body.send(whole[: end + 10])
        self.ended: dict[str, Future[tuple[float, bytes]]] = {}
        for name, talk in (("head", self.head), ("body", self.body)):
            self.ended[name] = Future()
            threading.Thread(target=self._watch, args=(name, talk), daemon=True).start()

    def _watch(self, name: str, talk: Talk) -> None:
        talk.socket.settimeout(None)
        with suppress(OSError):  # closed at the end of the tests
            answer = talk.rest()
            self.ended[name].set_result((monotonic() - self.started, answer))

    def close(self) -> None:
        for talk in (self.listener, self.head, self.body):
            talk.socket.close()


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((HURRIED, hurried.SHORTER), id="a tenth of the time"),
        pytest.param((PIPEGUARD, 1), id="as shipped", marks=pytest.mark.exhaustive),
    ],
)
def slow(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Slow]:
    program, shorter = request.param
    folder = tmp_path_factory.mktemp("slow")
    with (
        Upstream() as upstream,
        Listening(folder, "--upstream", upstream.url, program=program) as listening,
    ):
        started = Slow(Hop(listening), upstream, shorter)
        yield started
        started.close()


def test_84_many_idle_connections_keep_nobody_out(hop: Hop) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * MANY)), hard))
    with ExitStack() as stack:
        for _ in range(MANY):
            stack.enter_context(hop.talk())
        assert hop.in_session().status == 200
    assert hop.in_session().status == 200


def test_84_a_client_has_the_time_that_the_table_gives_it() -> None:
    assert vars(connections)["HEADER_SECONDS"] == HEAD_SECONDS
    assert admission.BODY_SECONDS == BODY_SECONDS


@pytest.mark.parametrize("name", ["head", "body"])
def test_84_a_client_that_does_not_go_on_is_hung_up_on(slow: Slow, name: str) -> None:
    seconds = slow.seconds[name]
    after, answer = slow.ended[name].result(timeout=seconds + LATE_SECONDS)
    assert answer == b"" or answer.startswith((b"HTTP/1.1 408", b"HTTP/1.1 400"))
    assert seconds <= after <= seconds + LATE_SECONDS


def test_84_a_stream_on_which_nothing_comes_stays_open(slow: Slow) -> None:
    slow.ended["body"].result(timeout=slow.seconds["body"] + LATE_SECONDS)
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
