"""The address for clients: each path has its answer. listener.py."""

import asyncio
import logging
from urllib.parse import urlsplit

import aiohttp
import pytest

from pipeguard.errors import StateError
from pipeguard.firewall.finding import Finding
from pipeguard.transports.http.server.admission import PLACE
from pipeguard.transports.http.server.callers import Tokens
from pipeguard.transports.http.server.listener import listen
from tests.transports.http.server.listening import CHUNKED, JSON, LIMIT, UPGRADE, fronted
from tests.transports.wire import Answer, eventually, exchange, run


@pytest.mark.parametrize(
    ("method", "path", "head", "said"),
    [
        ("POST", "/mcp", JSON, b"post 2"),
        ("POST", "/mcp/", JSON, b"post 2"),
        ("POST", "/mcp?x=y", JSON, b"post 2"),
        ("GET", "/mcp", "", b"get"),
        ("DELETE", "/mcp", "", b"delete"),
        ("GET", "/sse", "", b"events"),
        ("POST", "/messages?session=a", JSON, b"message 2"),
        ("GET", "/mcp", UPGRADE, b"socket"),
        ("GET", "/ws", UPGRADE, b"socket"),
    ],
)
async def test_each_path_has_its_answer(method: str, path: str, head: str, said: bytes) -> None:
    async with fronted() as at:
        answer = await at.ask(method, path, head, b"{}" if method == "POST" else b"")
        assert (answer.status, answer.body) == (200, said)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        *(("PUT", "/mcp", 405), ("OPTIONS", "/mcp", 405)),
        *(("TRACE", "/mcp", 405), ("POST", "/sse", 405), ("GET", "/messages", 405)),
        *(("GET", "/", 404), ("GET", "/ws", 404), ("GET", "/mcpx", 404), ("GET", "/mcp/x", 404)),
        *(("GET", "//mcp", 404), ("GET", "/%2e%2e/mcp", 404), ("GET", "/MCP", 404)),
        *(("CONNECT", "localhost:80", 400), ("OPTIONS", "*", 400)),
        *(("GET", "http://localhost/mcp", 400), ("GET", "http://evil.example/mcp", 400)),
        *(("POST", "/healthz", 405),),
    ],
)
async def test_what_is_not_there_is_told(method: str, path: str, status: int) -> None:
    async with fronted() as at:
        answer = await at.ask(method, path)
        assert answer.status == status
        assert (status == 405) == ("allow" in answer.headers)


async def test_health_is_told_to_everybody_and_readiness_as_it_is() -> None:
    async with fronted(Tokens(lambda: {"ci": "t"})) as at:
        assert (await at.ask("GET", "/mcp")).status == 401
        assert (await at.ask("GET", "/healthz")).body == b"ok\n"
        assert (await at.ask("GET", "/readyz")).status == 200
        at.is_ready = False
        assert (await at.ask("GET", "/readyz")).status == 503
        assert (await at.ask("GET", "/healthz")).status == 200


async def test_nobody_comes_in_unasked_by_any_path() -> None:
    async with fronted(Tokens(lambda: {"ci": "t"})) as at:
        for method, path, head in (
            *(("POST", "/mcp", JSON), ("GET", "/mcp", ""), ("DELETE", "/mcp", "")),
            *(("GET", "/sse", ""), ("POST", "/messages", JSON), ("GET", "/nothing", "")),
            *(("GET", "/ws", UPGRADE), ("GET", "/mcp", UPGRADE)),
        ):
            assert (await at.ask(method, path, head)).status == 401
            bad = f"Authorization: Bearer t\r\nOrigin: https://evil.example\r\n{head}"
            assert (await at.ask(method, path, bad)).status == 403
            rebound = f"{method} {path} HTTP/1.1\r\nHost: evil.example\r\n{head}\r\n"
            assert (await exchange(at.port, rebound.encode())).status == 403


# --- what the audit hears -------------------------------------------------------------------------

SECRET = "s3cret-" * 4
ALLOWED = (
    "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer t\r\nContent-Length: 2\r\n"
)
UNMEASURED = CHUNKED.decode().replace(
    "\r\n\r\n", f"\r\nAuthorization: Bearer t\r\n\r\n{LIMIT + 1:x}\r\n"
)


@pytest.mark.parametrize(
    ("rule", "sent", "words"),
    [
        ("host", f"POST /mcp HTTP/1.1\r\nHost: {SECRET}\r\n\r\n", "POST /mcp"),
        ("origin", f"GET /sse HTTP/1.1\r\nHost: localhost\r\nOrigin: {SECRET}\r\n\r\n", "/sse"),
        ("no-token", f"GET /mcp?{SECRET} HTTP/1.1\r\nHost: localhost\r\n\r\n", "GET /mcp)"),
        (
            "wrong-token",
            f"GET /{SECRET} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {SECRET}\r\n\r\n",
            "GET another path",
        ),
        (
            "odd-header",
            f"GET /mcp HTTP/1.1\r\nHost: localhost\r\nMcp-{SECRET}: a\r\nMcp-{SECRET}: b\r\n\r\n",
            "GET /mcp",
        ),
        ("long-target", f"GET /{SECRET * 400} HTTP/1.1\r\nHost: localhost\r\n\r\n", "path"),
        (
            "large-head",
            f"GET /mcp HTTP/1.1\r\nHost: localhost\r\nX: {SECRET * 2500}\r\n\r\n",
            "GET /mcp",
        ),
        ("nowhere", f"GET http://{SECRET}/ HTTP/1.1\r\nHost: localhost\r\n\r\n", "path"),
        ("malformed", f"GET /mcp HTTP/1.1\r\nHost: localhost\r\nX : {SECRET}\r\n\r\n", "HTTP/1.1"),
        ("malformed", f"\x16\x03\x01 {SECRET}\r\n\r\n", "HTTP/1.1"),
        ("no-message", f"{ALLOWED}Content-Type: text/{SECRET}\r\n\r\n{{}}", "POST /mcp"),
        ("no-message", f"{ALLOWED}{JSON}Content-Encoding: {SECRET}\r\n\r\n{{}}", "POST /mcp"),
        ("large-body", f"{ALLOWED.replace('2', '9999999')}{JSON}\r\n", "POST /mcp"),
        ("large-body", f"{UNMEASURED}{'x' * (LIMIT + 1)}\r\n0\r\n\r\n", "POST /mcp"),
    ],
)
def test_the_audit_of_a_refusal_quotes_no_client(rule: str, sent: str, words: str) -> None:
    async def work() -> list[tuple[Finding, str]]:
        async with fronted(Tokens(lambda: {"ci": "t"})) as at:
            await exchange(at.port, sent.encode("latin-1"))
            return at.told

    ((finding, peer),) = run(work)
    assert (finding.rule, finding.place, peer) == (f"entrance.{rule}", PLACE, "127.0.0.1")
    assert words in finding.note
    assert SECRET not in repr(finding)


# --- faults ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /mcp HTTP/1.1\r\nHost: localhost\r\nX : y\r\n\r\n",
        CHUNKED + b"zz\r\n",
        CHUNKED + b"5\r\n{}\r\n0\r\n\r\n",
    ],
)
def test_what_is_no_request_is_told_shortly_and_prints_nothing(
    sent: bytes, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> Answer:
        async with fronted() as at:
            answer = await exchange(at.port, sent)
            assert (await at.ask("GET", "/healthz")).status == 200
            return answer

    answer = run(work)
    assert answer.status in (0, 400, 414, 431)
    assert caplog.records == []
    assert capfd.readouterr().err == ""


async def test_a_fault_of_ours_is_a_500_and_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with fronted() as at:
        at.answers.fault = StateError("the audit cannot be written")
        assert (await at.ask("GET", "/mcp")).status == 500
        assert caplog.records == []
        async with aiohttp.ClientSession() as http:
            with pytest.raises(aiohttp.ClientError):
                async with http.get(f"http://127.0.0.1:{at.port}/mcp?stream") as stream:
                    await stream.read()
        assert caplog.records == []
        at.answers.fault = ZeroDivisionError("of a secret")
        assert (await at.ask("GET", "/mcp")).status == 500
    told = [r for r in caplog.records if r.name == "pipeguard.listener"]
    assert [r.getMessage() for r in told] == ["pipeguard: a request failed: ZeroDivisionError"]
    assert told[0].exc_info is None


# --- the end --------------------------------------------------------------------------------------


async def test_at_the_end_nothing_more_comes_in_and_what_is_under_way_is_answered() -> None:
    async with fronted() as at, aiohttp.ClientSession() as http:
        url = f"http://127.0.0.1:{at.port}"
        async with http.get(f"{url}/mcp") as answer:
            assert answer.status == 200
        waiting = asyncio.create_task(at.ask("POST", "/mcp", JSON, b'"wait"'))
        await eventually(lambda: at.answers.under_way, "it is under way")
        at.front.refuse()
        async with http.get(f"{url}/mcp") as answer:  # on the connection that is open
            assert answer.status == 503
        async with http.get(f"{url}/readyz") as answer:
            assert answer.status == 503
        closing = asyncio.create_task(at.front.close())
        at.answers.release.set()
        assert (await waiting).body == b"post 6"
        await closing
        with pytest.raises(OSError, match="Connect"):
            await asyncio.open_connection("127.0.0.1", at.port)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_a_listener_takes_names_and_addresses_of_both_families(host: str) -> None:
    with listen(host, 0) as listening:
        assert urlsplit(f"//x:{listening.getsockname()[1]}").port


async def test_a_session_is_for_the_token_that_opened_it() -> None:
    async with fronted(Tokens(lambda: {"ann": "a" * 8, "bob": "b" * 8})) as at:
        ann, bob = (f"Authorization: Bearer {letter * 8}\r\n" for letter in "ab")
        session = "Mcp-Session-Id: one\r\n"
        assert (await at.ask("POST", "/mcp", JSON + bob + session, b"{}")).status == 404
        assert (await at.ask("GET", "/mcp", bob + session)).status == 404
        assert [finding.rule for finding, _ in at.told] == ["entrance.foreign-session"]
        assert (await at.ask("POST", "/mcp", JSON + ann + session, b"{}")).status == 200
