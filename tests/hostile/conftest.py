"""PipeGuard between raw sockets."""

from collections.abc import Iterator

import pytest

from tests.hostile.wire import INITIALIZED, OPENING, SESSIONS, Answer, Talk, Upstream, ask, post
from tests.listening import Listening


class Hop:
    """PipeGuard in front of the server, as a client finds it."""

    def __init__(self, listening: Listening) -> None:
        self.listening = listening
        self.port = listening.port

    def talk(self) -> Talk:
        return Talk(self.port)

    def ask(self, *parts: bytes) -> Answer:
        """Send one request on a connection of its own."""
        with self.talk() as talk:
            return talk.ask(*parts)

    def session(self) -> str:
        """Shake hands; return the header that names the session."""
        answer = self.ask(post(OPENING))
        assert answer.status == 200, answer
        header = f"Mcp-Session-Id: {answer.header('mcp-session-id')}"
        assert self.ask(post(INITIALIZED, header)).status == 202
        return header

    def in_session(self, message: object = None, *more: str) -> Answer:
        """Send a request in a session of its own; `prompts/list` if none is given."""
        wanted = message if isinstance(message, (dict, bytes)) else ask("prompts/list")
        version = f"MCP-Protocol-Version: {SESSIONS}"
        return self.ask(post(wanted, self.session(), version, *more))


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
    """PipeGuard, which must work after a test as before."""
    assert upstream.seen == []
    yield running[1]
    upstream.script = lambda _: None
    assert running[1].in_session().status == 200
