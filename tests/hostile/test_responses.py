"""Responses of a hostile server: rows 78, 82, 83 and 85 to 92.

The numbers in a test's name are the rows of the table with the expected result.
"""

import gzip
import json
import zlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.hostile.conftest import Hop
from tests.hostile.wire import (
    CLOSE,
    EVENT_TYPE,
    HERE,
    JSON_TYPE,
    OPENING,
    SESSION,
    Reply,
    Seen,
    Upstream,
    answered,
    ask,
    honest,
    modern,
    modern_headers,
    post,
    request,
    response,
    result,
    stream,
)
from tests.wrap.wrapped import Object, Wrapped

GONE, UNSCANNABLE, BROKEN = -37104, -37103, -37107
MIB = 2**20
LIMIT_BYTES = 16 * MIB  # of a frame, by default
METHOD = "prompts/list"
LATE = b": the stream goes on\n\n"


def only(method: str, reply: Callable[[Seen], Reply]) -> Callable[[Seen], Reply | None]:
    """Answer this method so, and everything else honestly."""

    def scripted(seen: Seen) -> Reply | None:
        return reply(seen) if seen.message.get("method") == method else None

    return scripted


def message(seen: Seen) -> bytes:
    """An answer of several characters that take more than a byte."""
    return answered(seen, {"prompts": [], "_meta": {"example.com/said": "é 日本 😀"}})


def event(data: bytes, end: bytes = b"\n") -> bytes:
    return b"event: message" + end + b"data: " + data + end + end


@pytest.mark.parametrize(
    "value", ["two words", "\udcc3\udca9", "a" * 10_000], ids=["space", "non-ascii", "10-kb"]
)
def test_78_a_badly_named_session_is_told(hop: Hop, upstream: Upstream, value: str) -> None:
    good = f"Mcp-Session-Id: {SESSION}".encode()
    bad = f"Mcp-Session-Id: {value}".encode("utf-8", "surrogateescape")
    upstream.script = only("initialize", lambda seen: [honest(seen)[0].replace(good, bad)])
    answer = hop.ask(post(OPENING))
    assert (answer.status, answer.code(1)) == (200, BROKEN)
    assert answer.header("mcp-session-id") == ""


@pytest.mark.parametrize(("coding", "coded"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_82_a_coded_answer_is_read_and_goes_on_as_what_it_says(
    hop: Hop, upstream: Upstream, coding: str, coded: Callable[[bytes], bytes]
) -> None:
    encoding = f"Content-Encoding: {coding}"
    upstream.script = only(
        METHOD, lambda seen: [response("200 OK", coded(message(seen)), encoding)]
    )
    answer = hop.in_session()
    assert answer.header("content-encoding") == ""
    assert "😀" in json.dumps(answer.to(7), ensure_ascii=False)
    assert upstream.calls(METHOD)[0].header("accept-encoding") in {None, "identity"}


def coded(coding: str, body: bytes) -> Callable[[Seen], Reply]:
    return lambda _: [response("200 OK", body, f"Content-Encoding: {coding}")]


def short(seen: Seen) -> Reply:
    body = message(seen)
    head = [f"Content-Type: {JSON_TYPE}", f"Content-Length: {len(body) + 5}"]
    return [request("HTTP/1.1 200 OK", head, body), CLOSE]


def cut(seen: Seen) -> Reply:
    body = message(seen)
    head = [f"Content-Type: {JSON_TYPE}", "Transfer-Encoding: chunked"]
    return [request("HTTP/1.1 200 OK", head), b"%x\r\n%b" % (len(body), body[:20]), CLOSE]


def large(seen: Seen) -> Reply:
    head = b'event: message\ndata: {"jsonrpc":"2.0","id":%d,"result":{"a":"' % int(str(seen.id))
    return stream(head, *([b"a" * MIB] * (LIMIT_BYTES // MIB + 1)), b'"}}\n\n')


SWOLLEN: Object = {"prompts": [], "_meta": {"a": "a" * LIMIT_BYTES}}
UNREAD: dict[str, tuple[Callable[[Seen], Reply], int]] = {
    "82 a gzip bomb": (coded("gzip", gzip.compress(b" " * (64 * MIB))), UNSCANNABLE),
    "82 a deflate bomb": (coded("deflate", zlib.compress(b" " * (64 * MIB))), UNSCANNABLE),
    "82 cut short": (coded("gzip", gzip.compress(b"[1]" * 9_999)[:-20]), UNSCANNABLE),
    "82 not what it says": (coded("gzip", b"{}"), UNSCANNABLE),
    "82 twice": (coded("gzip, gzip", gzip.compress(gzip.compress(b"{}"))), UNSCANNABLE),
    "82 brotli": (coded("br", b"\x0b\x01\x80{}\x03"), UNSCANNABLE),
    "82 zstandard": (coded("zstd", b"(\xb5/\xfd{}"), UNSCANNABLE),
    "83 short": (short, GONE),
    "83 cut": (cut, GONE),
    "83 nothing": (lambda _: [CLOSE], GONE),
    "83 too large": (lambda seen: [result(seen, SWOLLEN)], UNSCANNABLE),
    "88 too large an event": (large, UNSCANNABLE),
    "90 html": (lambda _: [response("200 OK", b"<html>", kind="text/html")], BROKEN),
    "90 html as json": (lambda _: [response("200 OK", b"<html>")], BROKEN),
    "90 no body": (lambda _: [response("200 OK")], BROKEN),
    "90 204": (lambda _: [response("204 No Content")], BROKEN),
    "90 text": (lambda seen: [response("200 OK", message(seen), kind="text/plain")], BROKEN),
}


@pytest.mark.parametrize(("reply", "code"), UNREAD.values(), ids=UNREAD)
def test_82_83_88_90_a_message_that_is_not_whole_and_plain_does_not_pass(
    hop: Hop, upstream: Upstream, reply: Callable[[Seen], Reply], code: int
) -> None:
    upstream.script = only(METHOD, reply)
    answer = hop.in_session()
    assert (answer.status, answer.code(7)) == (200, code)
    assert b"html" not in answer.body


# --- streams of events ----------------------------------------------------------------------


def one_each(data: bytes) -> tuple[bytes, ...]:
    return tuple(bytes([byte]) for byte in data)


def in_lines(data: bytes) -> tuple[bytes, ...]:
    text = json.dumps(json.loads(data), indent=1, ensure_ascii=False)
    return (b"".join(b"data: %b\n" % line.encode() for line in text.splitlines()) + b"\n",)


CUT = b"event: message\r\ndata: "
READ: dict[str, Callable[[bytes], tuple[bytes, ...]]] = {
    "85 lf": lambda data: (event(data),),
    "85 crlf": lambda data: (event(data, b"\r\n"),),
    "85 cr": lambda data: (event(data, b"\r"), LATE),
    "85 mixed": lambda data: (b"event: message\rdata: " + data + b"\n\r\n",),
    "85 crlf cut": lambda data: (CUT + data + b"\r", b"\n\r", b"\n"),
    "85 blank line cut": lambda data: (b"data: " + data + b"\n", b"\n"),
    "86 many lines": in_lines,
    "86 no space": lambda data: (b"data:" + data + b"\n\n",),
    "86 no colon": lambda data: (b"data\ndata: " + data + b"\ndata\n\n",),
    "86 unknown fields": lambda data: (b"unknown: 1\nDATA: 2\ndata: " + data + b"\n\n",),
    "87 comment": lambda data: (b": a comment\n\n", event(data)),
    "87 empty data": lambda data: (b"id: 1\ndata: \n\n", event(data)),
    "87 nul in an id": lambda data: (b"id: a\x00b\ndata: \n\n", event(data)),
    "87 retry is no number": lambda data: (b"retry: abc\n\n", event(data)),
    "87 retry in thirty years": lambda data: (b"retry: 1000000000000\n\n", event(data)),
    "87 empty id": lambda data: (b"id\n\n", event(data)),
    "89 byte by byte": lambda data: one_each(event(data)),
    "89 byte order mark": lambda data: (b"\xef\xbb\xbf" + event(data),),
    "89 cut mark": lambda data: (b"\xef", b"\xbb", b"\xbf", event(data)),
}


@pytest.mark.parametrize("parts", READ.values(), ids=READ)
def test_85_86_87_89_an_event_is_read_as_the_standard_says(
    hop: Hop, upstream: Upstream, parts: Callable[[bytes], tuple[bytes, ...]]
) -> None:
    upstream.script = only(METHOD, lambda seen: stream(*parts(message(seen))))
    answer = hop.in_session()
    assert answer.status == 200
    assert "😀" in json.dumps(answer.to(7), ensure_ascii=False)


def test_87_comments_and_positions_go_on(hop: Hop, upstream: Upstream) -> None:
    upstream.script = only(
        METHOD,
        lambda seen: stream(
            b"id: one\nretry: 3000\ndata: \n\n",
            b": still here\n\n",
            b"id: two\n" + event(message(seen)),
        ),
    )
    answer = hop.in_session()
    assert EVENT_TYPE in answer.header("content-type")
    lines = answer.body.splitlines()
    assert [line for line in lines if line.startswith(b"id:")] == [b"id: one", b"id: two"]
    assert b"retry: 3000" in lines
    assert [line for line in lines if line.startswith(b":")] == [b":"], "nobody judges its words"


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param(lambda data: (b"event: other\ndata: " + data + b"\n\n",), id="another-event"),
        pytest.param(lambda data: (b"event: Message\ndata: " + data + b"\n\n",), id="its-case"),
        pytest.param(lambda data: (b"event: message\ndata: " + data + b"\n",), id="unfinished"),
        pytest.param(lambda data: (event(data + b"\ndata: " + data),), id="two-in-one"),
    ],
)
def test_88_what_is_no_whole_message_is_dropped(
    hop: Hop, upstream: Upstream, parts: Callable[[bytes], tuple[bytes, ...]]
) -> None:
    upstream.script = only(METHOD, lambda seen: stream(*parts(message(seen))))
    answer = hop.ask(post(modern(METHOD), *modern_headers(METHOD)))
    assert answer.code(7) in {GONE, BROKEN}


# --- statuses -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent"]
)
def test_90_nobody_is_led_to_another_origin(hop: Hop, upstream: Upstream, status: str) -> None:
    with Upstream() as other:
        elsewhere = f"Location: {other.url}"
        upstream.script = only(METHOD, lambda _: [response(status, b"", elsewhere)])
        answer = hop.in_session(None, "Authorization: Bearer of-this-server-alone")
        assert other.seen == []
    assert answer.status >= 300 or answer.code(7) in {GONE, BROKEN}


def error(seen: Seen) -> bytes:
    refused = {"code": -32603, "message": "It broke."}
    return json.dumps({"jsonrpc": "2.0", "id": seen.id, "error": refused}).encode()


def test_90_a_servers_error_keeps_its_status_and_words(hop: Hop, upstream: Upstream) -> None:
    upstream.script = only(
        METHOD, lambda seen: [response("500 Internal Server Error", error(seen))]
    )
    answer = hop.in_session()
    assert (answer.status, answer.code(7)) == (500, -32603)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(lambda _: b"<html>Bad gateway, secret inside</html>", id="html"),
        pytest.param(
            lambda seen: error(seen).replace(b'"id": 7', b'"id": 8'), id="of-another-request"
        ),
    ],
)
def test_90_words_of_a_server_that_answer_nothing_do_not_pass(
    hop: Hop, upstream: Upstream, body: Callable[[Seen], bytes]
) -> None:
    upstream.script = only(METHOD, lambda seen: [response("502 Bad Gateway", body(seen))])
    answer = hop.in_session()
    assert answer.status == 502
    assert b"secret inside" not in answer.body
    assert b"It broke." not in answer.body


def test_91_an_answer_to_another_request_is_dropped(hop: Hop, upstream: Upstream) -> None:
    other = b'{"jsonrpc":"2.0","id":99,"result":{"of":"somebody else"}}'
    upstream.script = only(METHOD, lambda seen: stream(event(other), event(message(seen))))
    answer = hop.in_session()
    assert "result" in answer.to(7)
    assert b"somebody else" not in answer.body


def test_91_a_stream_without_the_answer_is_a_gone_server(hop: Hop, upstream: Upstream) -> None:
    upstream.script = only(METHOD, lambda _: stream(LATE))
    answer = hop.ask(post(modern(METHOD), *modern_headers(METHOD)))
    assert answer.code(7) == GONE


def test_91_with_sessions_a_client_may_fetch_the_answer_later(hop: Hop, upstream: Upstream) -> None:
    asked: list[Seen] = []

    def scripted(seen: Seen) -> Reply | None:
        if seen.line.startswith("GET"):
            return stream(b"id: two\n" + event(message(asked[0])))
        if seen.message.get("method") == METHOD:
            asked.append(seen)
            return stream(b"id: one\nretry: 10\ndata: \n\n")
        return None

    upstream.script = scripted
    session = hop.session()
    broken_off = hop.ask(post(ask(METHOD), session))
    assert not [one for one in broken_off.messages if one.get("id") == 7]
    headers = [f"Host: {HERE}", f"Accept: {EVENT_TYPE}", session, "Last-Event-ID: one"]
    with hop.talk() as talk:
        resumed = talk.ask(request("GET /mcp HTTP/1.1", headers))
    assert "result" in resumed.to(7)


# --- HTTP+SSE -------------------------------------------------------------------------------


def endpoint(uri: str) -> bytes:
    return b"event: endpoint\ndata: " + uri.encode() + b"\n\n"


# Where a server wants the messages: at its own PORT, that of an OTHER, or further away.
FOREIGN = (
    ("http://attacker.example/messages",),
    ("//attacker.example/messages",),
    ("javascript:alert(1)",),
    ("file:///etc/passwd",),
    ("http://user:word@127.0.0.1:PORT/messages",),
    ("https://127.0.0.1:PORT/messages",),
    ("http://127.0.0.1:OTHER/messages",),
    ("/messages?session=1", "/messages?session=2"),
)


@dataclass(frozen=True)
class Lured:
    """The outcome for a client whose server named these endpoints."""

    answer: Object
    posted: list[str]  # where messages went
    elsewhere: list[Seen]  # what came to the other server


def lured(folder: Path, uris: tuple[str, ...]) -> Lured:
    """Ask something through PipeGuard in front of such a server."""
    with Upstream() as upstream, Upstream() as other:
        events = [
            endpoint(uri.replace("PORT", port_of(upstream)).replace("OTHER", port_of(other)))
            for uri in uris
        ]
        opened = stream(*events, end=False)[:-1]
        upstream.script = lambda seen: (
            opened if seen.line.startswith("GET") else [response("202 Accepted")]
        )
        folder.mkdir()
        with remote(folder, upstream) as wrapped:
            answer = wrapped.ask("ping")
        posted = [one.line.split()[1] for one in upstream.seen if one.line.startswith("POST")]
        return Lured(answer, posted, other.seen)


@pytest.fixture(scope="module")
def all_lured(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], Future[Lured]]:
    """All at once, as each takes a while until it gives up."""
    folder = tmp_path_factory.mktemp("lured")
    with ThreadPoolExecutor(len(FOREIGN)) as pool:
        return {
            uris: pool.submit(lured, folder / str(number), uris)
            for number, uris in enumerate(FOREIGN)
        }


@pytest.mark.parametrize("uris", FOREIGN, ids=" ".join)
def test_92_messages_are_sent_to_no_other_endpoint(
    all_lured: dict[tuple[str, ...], Future[Lured]], uris: tuple[str, ...]
) -> None:
    found = all_lured[uris].result()
    error = found.answer["error"]
    assert isinstance(error, dict)
    assert error["code"] in {GONE, BROKEN}
    assert found.elsewhere == []
    assert all(path == uris[0] for path in found.posted if len(uris) > 1)
    assert len(uris) > 1 or found.posted == []


def port_of(upstream: Upstream) -> str:
    return str(upstream.listening.getsockname()[1])


def remote(folder: Path, upstream: Upstream) -> Wrapped:
    """A stdio client of a server that speaks HTTP+SSE."""
    words = ("--transport", "sse", "--upstream", upstream.url)
    return Wrapped(folder, options=words, command=())
