"""Whatever one client sends to `--listen -- COMMAND`, the next one of the same server is served.

Bodies are split at every byte, cut into hostile chunks (RFC 9112, section 7.1), left unfinished, or
contain text that a line reader would take for two messages.
"""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.wire import LATEST, VERSION_KEY, Talk
from tests.launch.processes import PATIENCE_SECONDS, until
from tests.listening import Listening
from tests.wrap.wrapped import PYTHON, SERVER, Object

HEAD = (
    f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    f"Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: {LATEST}\r\n"
    "Mcp-Method: tools/call\r\nMcp-Name: echo\r\n"
)


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    with Listening(tmp_path_factory.mktemp("splits"), "--", *PYTHON, str(SERVER)) as listening:
        yield listening


def call(text: str) -> Object:
    meta: Object = {VERSION_KEY: LATEST}
    params: Object = {"name": "echo", "arguments": {"text": text}, "_meta": meta}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


def measured(body: bytes) -> bytes:
    return f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode() + body


def chunked(*chunks: bytes, last: bytes = b"0\r\n\r\n") -> bytes:
    parts = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in chunks)
    return f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode() + parts + last


def whole(port: int, *parts: bytes) -> bytes:
    """Return the answer to parts sent in separate packets, until the end or a timeout."""
    with Talk(port) as talk:
        talk.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            talk.socket.sendall(part)
        return talk.answer().body


def is_served(at: Listening, text: str) -> None:
    """Check that the same server serves an honest client."""
    body = whole(at.port, measured(json.dumps(call(text)).encode()))
    assert json.loads(body)["result"]["content"][0]["text"] == text


PRETTY = json.dumps(call("two\nlines \u2028 \u0085"), indent=2, ensure_ascii=False).encode()


def test_a_body_may_be_split_at_any_byte(at: Listening) -> None:
    sent = measured(PRETTY)
    for place in range(len(HEAD), len(sent)):
        told = json.loads(whole(at.port, sent[:place], sent[place:]))
        assert told["result"]["content"][0]["text"] == "two\nlines \u2028 \u0085", place
    is_served(at, "after")


def test_a_chunk_may_be_a_byte_and_every_byte_may_travel_alone(at: Listening) -> None:
    bytes_ = [bytes([one]) for one in PRETTY]
    sent = chunked(*bytes_)
    assert b"result" in whole(at.port, sent)
    assert b"result" in whole(at.port, *(bytes([one]) for one in sent))
    is_served(at, "after")


HOSTILE_CHUNKS = [
    b"-1\r\n" + PRETTY + b"\r\n0\r\n\r\n",
    b"FFFFFFFFFFFFFFFFF\r\n" + PRETTY,
    b"zz\r\n" + PRETTY + b"\r\n0\r\n\r\n",
    b"5;" + b"x" * 100_000 + b"\r\n12345\r\n0\r\n\r\n",
    b"5\n12345\n0\n\n",
    b"5\r\n1234567\r\n0\r\n\r\n",
    b"0\r\nX-Trailer: " + b"t" * 200_000 + b"\r\n\r\n",
    b"1\r\n{\r\n",
]


@pytest.mark.parametrize("number", range(len(HOSTILE_CHUNKS)))
def test_hostile_chunks_hang_nobody_else(at: Listening, number: int) -> None:
    head = f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode()
    with Talk(at.port) as talk:
        talk.send(head + HOSTILE_CHUNKS[number])
        is_served(at, "beside it")
    is_served(at, "after it")


HOSTILE_BODIES = [
    b'{"jsonrpc":"2.0",\n"id":1}\n{"jsonrpc":"2.0","id":2,"method":"do/exit"}',
    json.dumps(call("a")).encode() + b"\n" + json.dumps(call("b")).encode(),
    PRETTY[:-1],
    PRETTY.replace(b'"echo"', b'"echo",\n "name": "echo"'),
    PRETTY.replace(b"1", b"NaN", 1),
    b"\xef\xbb\xbf" + PRETTY,
    b"\n" * 100_000,
    b"[" * 100_000 + b"\n",
    b'{"a":\n' * 1000,
    PRETTY.replace(b"two", b"\xff\n"),
    PRETTY.replace(b"two", b"\r"),
]


@pytest.mark.parametrize("number", range(len(HOSTILE_BODIES)))
def test_hostile_bodies_are_refused_and_hang_nobody(at: Listening, number: int) -> None:
    body = HOSTILE_BODIES[number]
    half = len(body) // 2
    told = json.loads(whole(at.port, measured(body)[: -half or None], body[len(body) - half :]))
    assert "error" in told, told
    is_served(at, "after it")


def test_who_leaves_in_the_middle_hangs_nobody(at: Listening) -> None:
    sent = measured(PRETTY)
    for place in range(1, len(sent)):
        with Talk(at.port) as talk:
            talk.socket.sendall(sent[:place])
    is_served(at, "after them")


def test_what_a_server_is_never_asked_twice_for(tmp_path: Path) -> None:
    """The server gets nothing from two messages in one body, and one line from a pretty one."""
    log = tmp_path / "lines"
    log.touch()
    code = f"import sys\nfor l in sys.stdin.buffer:\n open({str(log)!r}, 'ab').write(l)\n"
    with Listening(tmp_path / "own", "--", *PYTHON, "-c", code) as own:
        two = b"\n".join(json.dumps(call(text)).encode() for text in "ab")
        assert "error" in json.loads(whole(own.port, measured(two)))
        with Talk(own.port) as talk:
            talk.socket.sendall(measured(PRETTY))
            until(lambda: log.read_bytes().endswith(b"\n"), "the server was asked")
            (line,) = log.read_bytes().splitlines()  # before it is told that the client has left
        assert json.loads(line) == json.loads(PRETTY)


def test_a_message_that_takes_long_keeps_no_other_waiting(at: Listening) -> None:
    large = measured(json.dumps(call("Some words, and some more of them. " * 400_000)).encode())
    with Talk(at.port) as talk:
        talk.send(large)
        is_served(at, "beside it")
        with Talk(at.port) as other:
            other.send(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert other.answer().status == 200
        talk.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            talk.socket.recv(1)  # not answered yet
        talk.socket.settimeout(PATIENCE_SECONDS)
        assert b"result" in talk.answer().body
