"""Responses of a hostile server: rows 78, 82, 83 and 85 to 92.

The number in a test's name is the row of the table with the expected result.
"""

from __future__ import annotations

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
def test_78_a_server_that_names_a_session_badly_is_told_of(
    hop: Hop, upstream: Upstream, value: str
) -> None:
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


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        pytest.param("gzip", gzip.compress(b" " * (64 * MIB)), id="a-gzip-bomb"),
        pytest.param("deflate", zlib.compress(b" " * (64 * MIB)), id="a-deflate-bomb"),
        pytest.param("gzip", gzip.compress(b"[1]" * 9_999)[:-20], id="cut-short"),
        pytest.param("gzip", b"{}", id="not-what-it-says"),
        pytest.param("gzip, gzip", gzip.compress(gzip.compress(b"{}")), id="twice"),
        pytest.param("br", b"\x0b\x01\x80{}\x03", id="brotli"),
        pytest.param("zstd", b"(\xb5/\xfd{}", id="zstandard"),
    ],
)
def test_82_what_cannot_be_read_does_not_pass(
    hop: Hop, upstream: Upstream, coding: str, body: bytes
) -> None:
    encoding = f"Content-Encoding: {coding}"
    upstream.script = only(METHOD, lambda _: [response("200 OK", body, encoding)])
    answer = hop.in_session()
    assert (answer.status, answer.code(7)) == (200, UNSCANNABLE)


def short(seen: Seen) -> Reply:
    body = message(seen)
    head = [f"Content-Type: {JSON_TYPE}", f"Content-Length: {len(body) + 5}"]
    return [request("HTTP/1.1 200 OK", head, body), CLOSE]


def cut(seen: Seen) -> Reply:
    body = message(seen)
    head = [f"Content-Type: {JSON_TYPE}", "Transfer-Encoding: chunked"]
    return [request("HTTP/1.1 200 OK", head), b"%x\r\n%b" % (len(body), body[:20]), CLOSE]


@pytest.mark.parametrize("reply", [short, cut, lambda _: [CLOSE]], ids=["short", "cut", "nothing"])
def test_83_an_answer_that_breaks_off_is_a_server_that_is_gone(
    hop: Hop, upstream: Upstream, reply: Callable[[Seen], Reply]
) -> None:
    upstream.script = only(METHOD, reply)
    answer = hop.in_session()
    assert (answer.status, answer.code(7)) == (200, GONE)


def test_83_an_answer_over_the_limit_does_not_pass(hop: Hop, upstream: Upstream) -> None:
    upstream.script = only(
        METHOD, lambda seen: [result(seen, {"prompts": [], "_meta": {"a": "a" * LIMIT_BYTES}})]
    )
    answer = hop.in_session()
    assert (answer.status, answer.code(7)) == (200, UNSCANNABLE)


# --- streams of events ----------------------------------------------------------------------


def one_each(data: bytes) -> tuple[bytes, ...]:
    return tuple(bytes([byte]) for byte in data)


CUT = b"event: message\r\ndata: "


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param(lambda data: (event(data),), id="lf"),
        pytest.param(lambda data: (event(data, b"\r\n"),), id="crlf"),
        pytest.param(lambda data: (event(data, b"\r"), LATE), id="cr"),
        pytest.param(lambda data: (b"event: message\rdata: " + data + b"\n\r\n",), id="mixed"),
        pytest.param(lambda data: (CUT + data + b"\r", b"\n\r", b"\n"), id="crlf-cut"),
        pytest.param(lambda data: (b"data: " + data + b"\n", b"\n"), id="blank-line-cut"),
    ],
)
def test_85_every_end_of_a_line_ends_a_line(
    hop: Hop, upstream: Upstream, parts: Callable[[bytes], tuple[bytes, ...]]
) -> None:
    upstream.script = only(METHOD, lambda seen: stream(*parts(message(seen))))
    answer = hop.in_session()
    assert answer.status == 200
    assert "result" in answer.to(7)


def in_lines(seen: Seen) -> bytes:
    text = json.dumps(json.loads(message(seen)), indent=1, ensure_ascii=False)
    return b"".join(b"data: %b\n" % line.encode() for line in text.splitlines()) + b"\n"


@pytest.mark.parametrize(
    "event_of",
    [
        pytest.param(in_lines, id="many-lines"),
        pytest.param(lambda seen: b"data:" + message(seen) + b"\n\n", id="no-space"),
        pytest.param(lambda seen: b"data\ndata: " + message(seen) + b"\ndata\n\n", id="no-colon"),
        pytest.param(
            lambda seen: b"unknown: 1\nDATA: 2\ndata: " + message(seen) + b"\n\n",
            id="unknown-fields",
        ),
    ],
)
def test_86_the_data_of_an_event_is_joined(
    hop: Hop, upstream: Upstream, event_of: Callable[[Seen], bytes]
) -> None:
    upstream.script = only(METHOD, lambda seen: stream(event_of(seen)))
    assert "😀" in json.dumps(hop.in_session().to(7), ensure_ascii=False)


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(b": a comment\n\n", id="comment"),
        pytest.param(b"id: 1\ndata: \n\n", id="empty-data"),
        pytest.param(b"id: a\x00b\ndata: \n\n", id="nul-in-an-id"),
        pytest.param(b"retry: abc\n\n", id="retry-is-no-number"),
        pytest.param(b"retry: 1000000000000\n\n", id="retry-in-thirty-years"),
        pytest.param(b"id\n\n", id="empty-id"),
    ],
)
def test_87_what_carries_no_message_hinders_none(
    hop: Hop, upstream: Upstream, before: bytes
) -> None:
    upstream.script = only(METHOD, lambda seen: stream(before, event(message(seen))))
    answer = hop.in_session()
    assert "result" in answer.to(7)


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


def test_88_an_event_over_the_limit_does_not_pass(hop: Hop, upstream: Upstream) -> None:
    def large(seen: Seen) -> Reply:
        head = b'event: message\ndata: {"jsonrpc":"2.0","id":%d,"result":{"a":"' % int(str(seen.id))
        return stream(head, *([b"a" * MIB] * (LIMIT_BYTES // MIB + 1)), b'"}}\n\n')

    upstream.script = only(METHOD, large)
    answer = hop.in_session()
    assert (answer.status, answer.code(7)) == (200, UNSCANNABLE)


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param(lambda data: one_each(event(data)), id="byte-by-byte"),
        pytest.param(lambda data: (b"\xef\xbb\xbf" + event(data),), id="byte-order-mark"),
        pytest.param(lambda data: (b"\xef", b"\xbb", b"\xbf", event(data)), id="cut-mark"),
    ],
)
def test_89_a_character_may_be_cut(
    hop: Hop, upstream: Upstream, parts: Callable[[bytes], tuple[bytes, ...]]
) -> None:
    upstream.script = only(METHOD, lambda seen: stream(*parts(message(seen))))
    assert "😀" in json.dumps(hop.in_session().to(7), ensure_ascii=False)


# --- statuses -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(
            lambda _: [response("200 OK", b"<html>Log in</html>", kind="text/html")], id="html"
        ),
        pytest.param(lambda _: [response("200 OK", b"<html>")], id="html-as-json"),
        pytest.param(lambda _: [response("200 OK")], id="no-body"),
        pytest.param(lambda _: [response("204 No Content")], id="204"),
        pytest.param(
            lambda seen: [response("200 OK", message(seen), kind="text/plain")], id="text"
        ),
    ],
)
def test_90_what_is_no_message_does_not_pass(
    hop: Hop, upstream: Upstream, reply: Callable[[Seen], Reply]
) -> None:
    upstream.script = only(METHOD, reply)
    answer = hop.in_session()
    assert (answer.status, answer.code(7)) == (200, BROKEN)
    assert b"html" not in answer.body


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


def test_90_an_error_of_the_server_keeps_its_status_and_its_words(
    hop: Hop, upstream: Upstream
) -> None:
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


def test_91_a_stream_without_the_answer_is_a_server_that_is_gone(
    hop: Hop, upstream: Upstream
) -> None:
    upstream.script = only(METHOD, lambda _: stream(LATE))
    answer = hop.ask(post(modern(METHOD), *modern_headers(METHOD)))
    assert answer.code(7) == GONE


def test_91_with_sessions_a_client_may_come_back_for_the_answer(
    hop: Hop, upstream: Upstream
) -> None:
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
