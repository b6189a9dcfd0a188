"""Requests of a hostile client: rows 72 to 81, 83, 93, 95 and 96.

The numbers in a test's name are the rows of the table with the expected result. A refused
request has not reached the server, and the next client is served.
"""

import gzip
import json
import zlib
from collections.abc import Sequence
from socket import SHUT_WR

import pytest

from tests.hostile.conftest import Hop
from tests.hostile.wire import (
    HERE,
    JSON_TYPE,
    LATEST,
    SESSIONS,
    Talk,
    Upstream,
    ask,
    honest,
    modern,
    modern_headers,
    post,
    request,
    response,
)
from tests.wrap.wrapped import Object

MIB = 2**20
LIMIT_BYTES = 16 * MIB  # of a frame, by default
BODY = json.dumps(ask("prompts/list")).encode()
UNSCANNABLE, MISMATCH = -37103, -32020
HOST = f"Host: {HERE}"
TYPED = [HOST, f"Content-Type: {JSON_TYPE}", f"Accept: {JSON_TYPE}, text/event-stream"]
SIZED = [*TYPED, f"Content-Length: {len(BODY)}"]


def posted(headers: Sequence[str], body: bytes = BODY, line: str = "POST /mcp HTTP/1.1") -> bytes:
    return request(line, headers, body)


def chunk(body: bytes, extension: bytes = b"") -> bytes:
    return b"%x%b\r\n%b\r\n" % (len(body), extension, body)


CHUNKED = [*TYPED, "Transfer-Encoding: chunked"]
WHOLE = chunk(BODY) + b"0\r\n\r\n"


def refused(hop: Hop, upstream: Upstream, sent: bytes, *statuses: int) -> None:
    """Check that the request gets one of the statuses, and reaches no server."""
    with hop.talk() as talk:
        answer = talk.ask(sent)
    assert answer.status in statuses, answer
    assert upstream.seen == []


UNCLEAR = {
    "72 length and chunks": posted([*SIZED, "Transfer-Encoding: chunked"], WHOLE),
    "72 two lengths": posted([*SIZED, f"Content-Length: {len(BODY) + 1}"]),
    "72 a list of lengths": posted([*TYPED, f"Content-Length: {len(BODY)}, {len(BODY)}"]),
    "72 a signed length": posted([*TYPED, f"Content-Length: +{len(BODY)}"]),
    "72 twice": posted([*TYPED, "Transfer-Encoding: chunked, chunked"], WHOLE),
    "72 unknown coding": posted([*TYPED, "Transfer-Encoding: xchunked"], WHOLE),
    "72 two transfer encodings": posted([*CHUNKED, "Transfer-Encoding: identity"], WHOLE),
    "72 no chunk size": posted(CHUNKED, b"zz\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "72 a negative chunk size": posted(CHUNKED, b"-1\r\n\r\n0\r\n\r\n"),
    "72 an endless chunk size": posted(CHUNKED, b"f" * 17 + b"\r\n" + BODY),
    "73 obs-fold": posted([*SIZED, "X-One: a", " folded"]),
    "73 space before colon": posted([*SIZED, "X-One : a"]),
    "73 nul": posted([*SIZED, "X-One: a\x00b"]),
    "73 bare cr": posted([*SIZED, "X-One: a\rb"]),
    "73 space in a name": posted([*SIZED, "X One: a"]),
    "73 no token": posted([*SIZED, "X(One): a"]),
    "73 no name": posted([*SIZED, ": a"]),
    "73 no colon": posted([*SIZED, "no colon"]),
    "73 bare lf": posted(SIZED).replace(b"\r\n", b"\n"),
}


@pytest.mark.parametrize("sent", UNCLEAR.values(), ids=UNCLEAR)
def test_72_73_a_request_that_parsers_read_differently_is_refused_and_hung_up_on(
    hop: Hop, upstream: Upstream, sent: bytes
) -> None:
    with hop.talk() as talk:
        answer = talk.ask(sent)
        assert answer.status == 400
        assert talk.is_ended()
    assert upstream.seen == []


@pytest.mark.parametrize("size", [1_000, 20_000, 2_000_000])
def test_72_what_stands_behind_a_chunk_size_goes_nowhere(
    hop: Hop, upstream: Upstream, size: int
) -> None:
    """The library skips it, and has no hook to refuse it: docs/http.md explains why."""
    mark = b"extension" * (size // 9)
    sent = posted(CHUNKED, chunk(BODY[:5], b";" + mark) + chunk(BODY[5:]) + b"0\r\n\r\n")
    with hop.talk() as talk:
        assert talk.ask(sent).status == 200
    (seen,) = upstream.seen
    assert seen.body == BODY
    assert b"extension" not in repr(seen).encode()


LIMITS = {
    "one long header": (posted([*SIZED, "X-Long: " + "a" * 70_000]), 431),
    "64 kib": (posted([*SIZED, *(f"X-{n}: {'a' * 700}" for n in range(95))]), 431),
    "many headers": (posted([*SIZED, *(f"X-{n}: a" for n in range(101))]), 431),
    "a long target": (posted(SIZED, line="POST /mcp?" + "a" * 9_000 + " HTTP/1.1"), 414),
}


@pytest.mark.parametrize(("sent", "status"), LIMITS.values(), ids=LIMITS)
def test_74_a_head_has_its_limits(hop: Hop, upstream: Upstream, sent: bytes, status: int) -> None:
    refused(hop, upstream, sent, status)


NOT_PLAIN = {
    "absolute form": posted(SIZED, line="POST http://127.0.0.1/mcp HTTP/1.1"),
    "of another host": posted(SIZED, line="POST http://example.com/mcp HTTP/1.1"),
    "connect": posted([HOST], b"", "CONNECT example.com:443 HTTP/1.1"),
    "trace": posted([HOST], b"", "TRACE /mcp HTTP/1.1"),
    "h2c": posted([*SIZED, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"]),
    "http/2": posted(SIZED, line="POST /mcp HTTP/2.0"),
    "four words": posted(SIZED, line="POST /mcp HTTP/1.1 more"),
}


@pytest.mark.parametrize("sent", NOT_PLAIN.values(), ids=NOT_PLAIN)
def test_75_what_is_no_plain_request_to_us_goes_nowhere(
    hop: Hop, upstream: Upstream, sent: bytes
) -> None:
    refused(hop, upstream, sent, 400, 403, 404, 405, 501, 505)


def test_75_http_0_9_is_not_spoken(hop: Hop, upstream: Upstream) -> None:
    with hop.talk() as talk:
        talk.send(b"GET /mcp\r\n")
        talk.socket.shutdown(SHUT_WR)
        answered = talk.rest()
    assert answered == b"" or answered.startswith(b"HTTP/1.")
    assert b" 200 " not in answered
    assert upstream.seen == []


def test_75_pipelined_requests_are_served_in_order(hop: Hop, upstream: Upstream) -> None:
    session = hop.session()
    upstream.seen.clear()
    with hop.talk() as talk:
        talk.send(b"".join(post(ask("prompts/list", number), session) for number in (1, 2, 3)))
        answers = [talk.answer() for _ in range(3)]
    assert [answer.messages[0]["id"] for answer in answers] == [1, 2, 3]
    assert [one.id for one in upstream.calls("prompts/list")] == [1, 2, 3]


@pytest.mark.parametrize(
    "headers",
    [
        ("Mcp-Session-Id: one", "Mcp-Session-Id: two"),
        ("Mcp-Session-Id: one", "mcp-session-id: one"),
        (f"MCP-Protocol-Version: {SESSIONS}", f"MCP-Protocol-Version: {LATEST}"),
        ("Mcp-Method: prompts/list", "Mcp-Method: tools/call"),
        (HOST,),
        ("Authorization: Bearer one", "Authorization: Bearer two"),
        ("Mcp-Session-Id: two words",),
        ("Mcp-Session-Id: \udcc3\udca9",),
        ("Mcp-Session-Id: tab\tin",),
        ("Mcp-Session-Id: " + "a" * 10_000,),
    ],
    ids=lambda headers: headers[-1].partition(":")[0],
)
def test_76_78_a_header_that_comes_twice_or_is_not_visible_ascii_is_refused(
    hop: Hop, upstream: Upstream, headers: tuple[str, ...]
) -> None:
    refused(hop, upstream, post(BODY, *headers), 400)


CALL = modern("tools/call", name="say", arguments={})
READ = modern("resources/read", uri="file:///one")
RIGHT = modern_headers("tools/call", "say")


WRONG = {
    "no base64": (CALL, modern_headers("tools/call", "=?base64?!!?=")),
    "no end": (CALL, modern_headers("tools/call", "=?base64?c2F5?")),
    "its case": (CALL, modern_headers("tools/call", "=?BASE64?c2F5?=")),
    "another name": (CALL, modern_headers("tools/call", "shout")),
    "the case of a name": (CALL, modern_headers("tools/call", "Say")),
    "no name": (CALL, modern_headers("tools/call")),
    "another method": (CALL, modern_headers("tools/list", "say")),
    "the case of a method": (CALL, modern_headers("Tools/Call", "say")),
    "no method": (CALL, modern_headers("tools/call", "say")[::2]),
    "another uri": (READ, modern_headers("resources/read", "file:///two")),
    "another revision": (CALL, [f"MCP-Protocol-Version: {SESSIONS}", *RIGHT[1:]]),
}


@pytest.mark.parametrize(("message", "headers"), WRONG.values(), ids=WRONG)
def test_77_a_header_that_differs_from_the_body_is_refused(
    hop: Hop, upstream: Upstream, message: Object, headers: Sequence[str]
) -> None:
    answer = hop.ask(post(message, *headers))
    assert (answer.status, answer.code()) == (400, MISMATCH)
    assert upstream.seen == []


@pytest.mark.parametrize(
    "headers",
    [
        RIGHT,
        modern_headers("tools/call", "=?base64?c2F5?="),
        [header.swapcase().split(":")[0] + ":" + header.partition(":")[2] for header in RIGHT],
        [header.replace(": ", ":  ") + "  " for header in RIGHT],
    ],
    ids=["plain", "base64", "names-in-any-case", "spaces-around"],
)
def test_77_a_header_that_agrees_with_the_body_passes(
    hop: Hop, upstream: Upstream, headers: Sequence[str]
) -> None:
    answer = hop.ask(post(CALL, *headers))
    assert answer.status == 200, answer
    assert "result" in answer.to(7)
    (seen,) = upstream.calls("tools/call")
    assert seen.header("mcp-method") == "tools/call"
    assert seen.message == CALL


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "text/plain",
        "application/json; charset=utf-16",
        "application/json; charset=latin-1",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "text/plain; application/json",
    ],
)
def test_79_a_body_of_another_type_is_refused(
    hop: Hop, upstream: Upstream, kind: str | None
) -> None:
    more = [] if kind is None else [f"Content-Type: {kind}"]
    refused(hop, upstream, post(BODY, *more, without=["Content-Type"]), 415)


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON"])
def test_79_json_may_be_spelt_otherwise(hop: Hop, kind: str) -> None:
    session = hop.session()
    sent = post(BODY, session, f"Content-Type: {kind}", without=["Content-Type"])
    assert hop.ask(sent).status == 200


def test_80_what_a_client_accepts_is_for_the_server_to_judge(hop: Hop, upstream: Upstream) -> None:
    session = hop.session()
    upstream.script = lambda seen: (
        [response("406 Not Acceptable")] if seen.header("accept") == JSON_TYPE else honest(seen)
    )
    sent = post(BODY, session, f"Accept: {JSON_TYPE}", without=["Accept"])
    assert hop.ask(sent).status == 406


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(BODY)),
        ("deflate", zlib.compress(BODY)),
        ("br", BODY),
        ("zstd", BODY),
        ("gzip, gzip", gzip.compress(gzip.compress(BODY))),
        ("x-unknown", BODY),
    ],
    ids=["gzip", "deflate", "br", "zstd", "twice", "unknown"],
)
def test_81_a_body_that_is_coded_is_refused(
    hop: Hop, upstream: Upstream, coding: str, body: bytes
) -> None:
    refused(hop, upstream, post(body, f"Content-Encoding: {coding}"), 415)


def test_83_half_a_body_reaches_nobody(hop: Hop, upstream: Upstream) -> None:
    with hop.talk() as talk:
        talk.send(posted([*TYPED, f"Content-Length: {len(BODY) + 10}"]))
        talk.socket.shutdown(SHUT_WR)
        told = talk.rest()
    assert told == b"" or told.startswith(b"HTTP/1.1 400")
    assert upstream.seen == []


def test_83_what_follows_a_body_is_another_request(hop: Hop, upstream: Upstream) -> None:
    session = hop.session()
    upstream.seen.clear()
    with hop.talk() as talk:
        first = talk.ask(post(BODY, session) + b"and more of it\r\n\r\n")
        rest = talk.rest()
    assert first.status in {200, 400}  # as what follows came in one read with it, or not
    assert rest == b"" or rest.startswith(b"HTTP/1.1 400")
    assert len(upstream.seen) == (first.status == 200)


def test_83_chunks_are_counted_as_they_come(hop: Hop, upstream: Upstream) -> None:
    session = hop.session()
    upstream.seen.clear()
    head = request("POST /mcp HTTP/1.1", [*CHUNKED, session])
    part = chunk(b" " * MIB)
    with hop.talk() as talk:
        talk.send(head, *([part] * (LIMIT_BYTES // MIB + 4)), b"0\r\n\r\n")
        answer = talk.answer()
    assert answer.status in {400, 413} or answer.code() == UNSCANNABLE
    assert upstream.seen == []


def test_83_a_length_over_the_limit_is_refused_without_body(hop: Hop, upstream: Upstream) -> None:
    with hop.talk() as talk:
        head = request("POST /mcp HTTP/1.1", [*TYPED, f"Content-Length: {2**40}"])
        answer = talk.ask(head)
        assert answer.status in {400, 413} or answer.code() == UNSCANNABLE
    assert upstream.seen == []


METHODS = ("POST", "GET", "DELETE", "OPTIONS")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "host",
    [
        "attacker.example",
        "127.0.0.1.attacker.example",
        "localhost.attacker.example:PORT",
        "127.0.0.1:1",
        "127.0.0.1@attacker.example",
        "",
    ],
)
def test_93_only_requests_to_our_own_name_are_served(
    hop: Hop, upstream: Upstream, method: str, host: str
) -> None:
    named = f"Host: {host}"
    refused(hop, upstream, posted([named, *SIZED[1:]], line=f"{method} /mcp HTTP/1.1"), 400, 403)


def test_93_a_request_without_a_host_is_refused(hop: Hop, upstream: Upstream) -> None:
    refused(hop, upstream, posted(SIZED[1:]), 400, 403)


@pytest.mark.parametrize("method", METHODS[:3])
@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "https://attacker.example",
        "http://127.0.0.1.attacker.example",
        "http://localhost.attacker.example",
        "http://attacker.example:PORT",
        "file://",
        "http://127.0.0.1@attacker.example",
    ],
)
def test_93_another_origin_is_refused(
    hop: Hop, upstream: Upstream, method: str, origin: str
) -> None:
    named = f"Origin: {origin}"
    refused(hop, upstream, posted([*SIZED, named], line=f"{method} /mcp HTTP/1.1"), 403)


@pytest.mark.parametrize("path", ["/sse", "/ws", "/messages?session=none"])
def test_93_every_address_is_guarded(hop: Hop, upstream: Upstream, path: str) -> None:
    method = "POST" if path.startswith("/messages") else "GET"
    sent = posted([*SIZED, "Origin: https://attacker.example"], line=f"{method} {path} HTTP/1.1")
    refused(hop, upstream, sent, 403)


@pytest.mark.parametrize("name", ["127.0.0.1:PORT", "localhost:PORT", "LOCALHOST:PORT"])
def test_93_our_own_names_are_served(hop: Hop, name: str) -> None:
    session = hop.session()
    sent = post(BODY, session, f"Origin: http://{name}", host=name)
    assert hop.ask(sent).status == 200


def resumed(hop: Hop, session: str, position: str) -> Talk:
    """A client that comes back to a stream."""
    talk = hop.talk()
    headers = [HOST, "Accept: text/event-stream", session, f"Last-Event-ID: {position}"]
    talk.send(request("GET /mcp HTTP/1.1", headers))
    return talk


@pytest.mark.parametrize("status", ["400 Bad Request", "404 Not Found"])
def test_95_the_server_says_where_streams_resume(hop: Hop, upstream: Upstream, status: str) -> None:
    session = hop.session()
    upstream.seen.clear()
    upstream.script = lambda seen: [response(status)] if seen.line.startswith("GET") else None
    with resumed(hop, session, "of-somebody-else") as talk:
        assert talk.answer().status == int(status[:3])
    (seen,) = [one for one in upstream.seen if one.line.startswith("GET")]
    assert seen.header("last-event-id") == "of-somebody-else"
    assert seen.header("mcp-session-id") == "the-session-of-the-server"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("status", ["404 Not Found", "405 Method Not Allowed"])
def test_96_what_a_server_has_no_use_for_is_for_the_server_to_say(
    hop: Hop, upstream: Upstream, method: str, status: str
) -> None:
    upstream.script = lambda seen: [response(status)] if seen.line.startswith(method) else None
    headers = [HOST, "Accept: text/event-stream", f"MCP-Protocol-Version: {LATEST}"]
    with hop.talk() as talk:
        answer = talk.ask(request(f"{method} /mcp HTTP/1.1", headers))
    assert answer.status == int(status[:3])


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
def test_96_a_session_that_nobody_knows_is_not_found(
    hop: Hop, upstream: Upstream, method: str
) -> None:
    known = "the-session-of-the-server"
    upstream.script = lambda seen: (
        None if seen.header("mcp-session-id") in {None, known} else [response("404 Not Found")]
    )
    headers = [*SIZED, "Mcp-Session-Id: never-given", f"MCP-Protocol-Version: {SESSIONS}"]
    body = BODY if method == "POST" else b""
    if method != "POST":
        headers.remove(f"Content-Length: {len(BODY)}")
    with hop.talk() as talk:
        answer = talk.ask(request(f"{method} /mcp HTTP/1.1", headers, body))
    assert answer.status == 404
