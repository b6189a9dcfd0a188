"""Sessions over two real replicas: any of them continues one that another began."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeguard.state.postgres.database import PostgresStore
from pipeguard.state.tokens import TokenScope, create_token
from tests.gateway.served import ServedAt, text_of, write_servers
from tests.launch.processes import until
from tests.wrap.listening import Browser, next_event
from tests.wrap.wrapped import PYTHON, Object

pytestmark = [pytest.mark.real, pytest.mark.needs("initdb")]
STATEFUL = Path(__file__).parents[1] / "gateway" / "stateful.py"
TOKENS = {"ANN": "token-of-ann", "BOB": "token-of-bob"}
URI = "file:///a.txt"
PATHS = pytest.mark.parametrize("path", ["/mcp", "/servers/one/mcp"])


class Replicas:
    """Replicas on one database, each with a state folder of its own."""

    def __init__(self, folder: Path, database: str, secret: Path) -> None:
        self.folder, self._database, self._secret = folder, database, secret
        self.write()
        self.one, self.two = self.start("one"), self.start("two")

    def write(self, *names: str) -> None:
        """Write the file of servers: `one`, and these."""
        entry: Object = {"command": PYTHON[0], "args": [*PYTHON[1:], str(STATEFUL)]}
        entry["trust"] = "first-use"
        servers = dict.fromkeys(("one", *names), entry)
        self._config = write_servers(self.folder, servers, mode="direct")

    def start(self, name: str, *options: str) -> ServedAt:
        """Start a replica, in a folder of this name."""
        tokens = [word for each in TOKENS for word in ("--token-env", each)]
        store = ("--store", self._database, "--secret-file", str(self._secret))
        words = ("--config", str(self._config), *store, *tokens, *options)
        return ServedAt(self.folder / name, *words, **TOKENS)


@pytest.fixture
def replicas(tmp_path: Path, database: str, secret: Path) -> Iterator[Replicas]:
    both = Replicas(tmp_path, database, secret)
    with both.one, both.two:
        yield both


def open_session(replica: ServedAt, path: str = "/mcp", token: str = "ANN") -> Browser:
    bearer = f"Bearer {TOKENS[token]}"
    return Browser(replica.at(path), Authorization=bearer).open(elicitation={})


def move(client: Browser, replica: ServedAt, path: str = "/mcp", token: str = "ANN") -> Browser:
    """The same client, which comes to another replica."""
    moved = Browser(replica.at(path))
    moved.headers = {**client.headers, "Authorization": f"Bearer {TOKENS[token]}"}
    return moved


def knows(client: Browser, bearer: str) -> Browser:
    """The client, with a token."""
    client.headers["Authorization"] = f"Bearer {bearer}"
    return client


def echo(client: Browser, path: str = "/mcp") -> str:
    name = "echo" if "one" in path else "one__echo"
    return text_of(client.ask("tools/call", name=name, arguments={"text": "hello"}))


def status(client: Browser) -> int:
    return client.post({"jsonrpc": "2.0", "id": 9, "method": "ping"})[0]


@PATHS
def test_any_replica_continues_a_session(replicas: Replicas, path: str) -> None:
    client = open_session(replicas.one, path)
    with ThreadPoolExecutor() as threads:
        clients = [move(client, replicas.two, path) for _ in range(4)]
        assert [*threads.map(lambda each: echo(each, path), clients)] == ["hello"] * 4
    replicas.two.kill()
    with replicas.start("two") as again:
        moved = move(client, again, path)
        with moved.send("GET") as stream:
            assert stream.status == 200
            assert echo(moved, path) == echo(client, path) == "hello"


def test_a_continued_session_is_asked_by_servers(replicas: Replicas) -> None:
    moved = move(open_session(replicas.one), replicas.two)
    asked: Object = {"name": "one__ask", "arguments": {}}
    call: Object = {"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": asked}
    with moved.send("POST", call) as answer:
        question = next_event(answer)
        assert question["method"] == "elicitation/create"
        accepted: Object = {"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept"}}
        assert moved.post(accepted)[0] == 202
        assert "accept" in answer.read().decode()


def test_a_limited_client_hears_of_changed_tools_at_any_replica(
    replicas: Replicas, database: str
) -> None:
    with PostgresStore(database) as store:
        bearer = create_token(store, "limited", TokenScope(tools=("*__echo",)))

    def is_known() -> bool:
        ping: Object = {"jsonrpc": "2.0", "id": 9, "method": "ping"}
        clients = (Browser(each.at("/mcp")) for each in (replicas.one, replicas.two))
        return all(knows(each, bearer).post(ping)[0] != 401 for each in clients)

    until(is_known, "both replicas have the token")
    client = knows(Browser(replicas.one.at("/mcp")), bearer).open()
    until(lambda: "one__echo" in str(client.ask("tools/list")), "it finds its tool")
    moved = Browser(replicas.two.at("/mcp"))
    moved.headers = client.headers
    with moved.send("GET") as stream:
        replicas.write("new")
        while next_event(stream).get("method") != "notifications/tools/list_changed":
            pass


def test_an_ended_changed_or_foreign_id_is_unknown(replicas: Replicas) -> None:
    client = open_session(replicas.one)
    session_id = client.headers["Mcp-Session-Id"]
    assert "ann" not in session_id.lower()
    moved = move(client, replicas.two)
    assert status(move(client, replicas.two, token="BOB")) == 404
    assert status(move(client, replicas.two, "/servers/one/mcp")) == 404
    moved.headers["Mcp-Session-Id"] = session_id[:-8] + "A" + session_id[-7:]
    assert status(moved) == 404
    moved.headers["Mcp-Session-Id"] = session_id
    assert (status(moved), status(move(client, replicas.two, token="BOB"))) == (200, 404)
    with client.send("GET") as stream:
        with moved.send("DELETE") as ended:
            assert ended.status == 204
        assert status(moved) == 404
        stream.read()  # raises if it is cut
    assert status(client) == 404
    replicas.one.kill()
    with replicas.start("one") as again:
        assert status(move(client, again)) == 404


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("resources/subscribe", {"uri": URI}),
        ("logging/setLevel", {"level": "error"}),
        ("tools/call", {"name": "work", "arguments": {}, "task": {"ttl": 60_000}}),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_lives_in_one_replica_keeps_its_session_there(
    replicas: Replicas, method: str, params: Object
) -> None:
    path = "/servers/one/mcp"
    client = open_session(replicas.one, path)
    moved = move(client, replicas.two, path)
    assert echo(moved, path) == "hello"
    assert "result" in client.ask(method, **params)
    until(lambda: status(moved) == 404, "the other has heard")
    assert moved.post({"jsonrpc": "2.0", "id": 9, "method": method, "params": params})[0] == 404
    assert echo(client, path) == "hello"
    replicas.one.kill()
    with replicas.start("one") as again:
        assert status(move(client, again, path)) == status(moved) == 404
        assert echo(open_session(again, path), path) == "hello"


def test_the_most_sessions_are_counted_with_continued_ones(replicas: Replicas) -> None:
    clients = [open_session(replicas.one) for _ in range(2)]
    replicas.two.kill()
    with replicas.start("two", "--max-sessions", "1", "--idle-timeout", "0.01") as small:
        moved = [move(client, small) for client in clients]
        with moved[0].send("GET") as stream:
            assert (stream.status, status(moved[1])) == (200, 404)
        until(lambda: status(moved[1]) == 200, "the first one is idle")
        until(lambda: status(moved[0]) == 200, "so is the second one")
