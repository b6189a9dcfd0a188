"""PipeGuard between raw sockets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from queue import Queue
from time import monotonic

import pytest

from tests.hostile.wire import (
    HERE,
    INITIALIZED,
    OPENING,
    SESSIONS,
    Answer,
    Talk,
    Upstream,
    ask,
    post,
    request,
    stream,
)
from tests.listening import Listening


class Slow:
    """Clients that begin a head, or a body, and do not go on; and one that listens."""

    def __init__(self, hop: Hop, upstream: Upstream) -> None:
        self.hop = hop
        self.upstream = upstream
        self.started = monotonic()
        stream_ = stream(b": open\n\n", end=False)[:-1]
        upstream.script = lambda seen: stream_ if seen.line.startswith("GET") else None
        session = hop.session()
        self.listener = hop.talk()
        self.listener.send(
            request("GET /mcp HTTP/1.1", [f"Host: {HERE}", "Accept: text/event-stream", session])
        )
        whole = post(ask("prompts/list"), session)
        end = whole.index(b"\r\n\r\n")
        self.head, self.body = hop.talk(), hop.talk()
        self.head.send(whole[: end - 5])
        self.body.send(whole[: end + 10])
        self.ended: dict[str, Queue[tuple[float, bytes]]] = {}
        for name, talk in (("head", self.head), ("body", self.body)):
            self.ended[name] = Queue()
            threading.Thread(target=self._watch, args=(name, talk), daemon=True).start()

    def _watch(self, name: str, talk: Talk) -> None:
        talk.socket.settimeout(None)
        with suppress(OSError):  # closed at the end of the tests
            told = talk.rest()
            self.ended[name].put((monotonic() - self.started, told))

    def close(self) -> None:
        for talk in (self.listener, self.head, self.body):
            talk.socket.close()


class Hop:
    """PipeGuard in front of the server, as a client finds it."""

    def __init__(self, listening: Listening) -> None:
        self.listening = listening
        self.port = listening.port

    def talk(self) -> Talk:
        return Talk(self.port)

    def ask(self, *parts: bytes) -> Answer:
        """One request on a connection of its own."""
        with self.talk() as talk:
            return talk.ask(*parts)

    def session(self) -> str:
        """Shake hands; returns the header that names the session."""
        answer = self.ask(post(OPENING))
        assert answer.status == 200, answer
        header = f"Mcp-Session-Id: {answer.header('mcp-session-id')}"
        assert self.ask(post(INITIALIZED, header)).status == 202
        return header

    def in_session(self, message: object = None, *more: str) -> Answer:
        """A request in a session of its own; `prompts/list` if none is given."""
        wanted = message if isinstance(message, (dict, bytes)) else ask("prompts/list")
        version = f"MCP-Protocol-Version: {SESSIONS}"
        return self.ask(post(wanted, self.session(), version, *more))


@pytest.fixture(scope="session", autouse=True)
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slow]:
    """Clients that are slow from before the first test on; the last tests look at them."""
    with (
        Upstream() as upstream,
        Listening(tmp_path_factory.mktemp("slow"), "--upstream", upstream.url) as listening,
    ):
        started = Slow(Hop(listening), upstream)
        yield started
        started.close()


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Upstream, Hop]]:
    with Upstream() as upstream:
        folder = tmp_path_factory.mktemp("hostile")
        with Listening(folder, "--upstream", upstream.url) as listening:
            yield upstream, Hop(listening)


@pytest.fixture
def upstream(running: tuple[Upstream, Hop]) -> Iterator[Upstream]:
    """The server, which has seen nothing yet; honest until a test gives it a script."""
    server = running[0]
    server.seen.clear()
    yield server
    server.script = lambda _: None


@pytest.fixture
def hop(running: tuple[Upstream, Hop], upstream: Upstream) -> Iterator[Hop]:
    """PipeGuard, which is as well after a test as before."""
    assert upstream.seen == []
    yield running[1]
    upstream.script = lambda _: None
    assert running[1].in_session().status == 200
