"""The connections of a listener: too many give way, silent ones are closed. connections.py."""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeguard.transports.http.server import connections as connections_module
from pipeguard.transports.http.server import listener as listener_module
from pipeguard.transports.http.server.callers import Tokens
from tests.auth.certificates import CertificateAuthority
from tests.transports.http.server.listening import JSON, fronted
from tests.transports.wire import eventually, exchange, read_answer

# --- connections ----------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", b"GET /mcp HTTP/1.1\r\nHost: local"])
async def test_a_connection_that_does_not_speak_is_closed(
    sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections_module, "HEADER_SECONDS", 0.05)
    async with fronted() as at:
        reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
        writer.write(sent)
        assert await reader.read() == b""
        writer.close()
        assert not at.front._connections._open
        assert [finding.rule for finding, _ in at.told] == ["entrance.silent"]


async def opened(port: int, sent: bytes = b"") -> asyncio.StreamReader:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    OPEN.append(writer)
    writer.write(sent)
    return reader


OPEN: list[asyncio.StreamWriter] = []  # so that they stay open


@pytest.fixture(autouse=True)
def _none_open() -> Iterator[None]:
    yield
    OPEN.clear()


BEARER = "Authorization: Bearer t\r\n"
WITH_TOKEN = f"POST /mcp HTTP/1.1\r\nHost: localhost\r\n{BEARER}{JSON}Content-Length: 2\r\n\r\n{{}}"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


def closing() -> None:
    for writer in OPEN:
        writer.close()


@pytest.mark.parametrize("sent", [b"", b"POST /mcp HTTP/1.1\r\nHost: loc", HEALTH])
async def test_whoever_has_no_token_cannot_keep_out_who_has(
    sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections_module, "MAX_STRANGERS", 4)
    async with fronted(Tokens(lambda: {"ci": "t"})) as at:
        readers = [await opened(at.port, sent) for _ in range(20)]
        answer = await exchange(at.port, WITH_TOKEN.encode())
        assert (answer.status, answer.body) == (200, b"post 2")
        await readers[0].read()  # the oldest gave way
        assert readers[0].at_eof()
        assert len(at.front._connections._open) <= 5
        assert "entrance.many-connections" in {finding.rule for finding, _ in at.told}
        closing()


@pytest.mark.parametrize("shakes_hands", [False, True])
async def test_nor_can_a_peer_that_never_finishes_with_tls(
    shakes_hands: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections_module, "MAX_STRANGERS", 4)
    authority = CertificateAuthority(tmp_path)
    trusted = ssl.create_default_context(cafile=authority.file)

    def silent(port: int) -> socket.socket:
        """A peer that says nothing more, and does not answer when it is told the end."""
        plain = socket.create_connection(("127.0.0.1", port))
        if not shakes_hands:
            return plain
        return trusted.wrap_socket(plain, server_hostname="127.0.0.1")

    async with fronted(Tokens(lambda: {"ci": "t"}), authority.context()) as at:
        peers = [await asyncio.to_thread(silent, at.port) for _ in range(20)]
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", at.port, ssl=trusted, server_hostname="127.0.0.1"
        )
        for _ in range(2):  # the twin: who has a token comes in, and stays
            writer.write(WITH_TOKEN.encode())
            answer = await read_answer(reader)
            assert (answer.status, answer.body) == (200, b"post 2")
        held = at.front._connections
        assert len(held._strangers) <= 4
        assert at.front._runner is not None
        assert at.front._runner.server is not None
        library = at.front._runner.server
        await eventually(lambda: len(library.connections) <= 5, "the library let go of them")
        assert "entrance.many-connections" in {finding.rule for finding, _ in at.told}
        writer.close()
        for peer in peers:
            peer.close()


async def test_of_too_many_connections_an_idle_one_gives_way_and_none_that_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections_module, "MAX_CONNECTIONS", 3)
    async with fronted() as at:
        waiting = asyncio.create_task(at.ask("POST", "/mcp", JSON, b'"wait"'))
        await eventually(lambda: at.answers.under_way, "it is under way")
        idle = await opened(at.port, f"POST /mcp HTTP/1.1\r\nHost: localhost\r\n{JSON}".encode())
        OPEN[-1].write(b"Content-Length: 2\r\n\r\n{}")
        assert (await read_answer(idle)).status == 200
        busy = asyncio.create_task(at.ask("POST", "/mcp", JSON, b'"wait"'))
        await eventually(lambda: at.answers.under_way == 2, "so is the next")
        assert (await at.ask("POST", "/mcp", JSON, b"{}")).status == 200
        assert await idle.read() == b"", "the idle one gave way"
        third = asyncio.create_task(at.ask("POST", "/mcp", JSON, b'"wait"'))
        await eventually(lambda: at.answers.under_way == 3, "and the third")
        assert (await at.ask("GET", "/healthz")).status == 0, "all three wait"
        at.answers.release.set()
        assert [(await one).status for one in (waiting, busy, third)] == [200, 200, 200]
        closing()


async def test_a_token_taken_away_ends_what_it_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "RECHECK_SECONDS", 0.01)
    held = {"ci": "t", "dev": "u"}
    async with fronted(Tokens(lambda: dict(held))) as at:
        body = f'{JSON}Content-Length: 6\r\n\r\n"wait"'
        head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "
        taken = await opened(at.port, f"{head}t\r\n{body}".encode())
        other = await opened(at.port, f"{head}u\r\n{body}".encode())
        await eventually(lambda: at.answers.under_way == 2, "both are under way")
        held["new"] = "v"
        held["ci"] = "renewed"
        assert await taken.read() == b""
        assert (await exchange(at.port, WITH_TOKEN.encode())).status == 401
        at.answers.release.set()
        assert (await read_answer(other)).status == 200, "the other one's goes on"
        closing()


async def test_health_is_told_to_no_page_and_the_server_names_no_version() -> None:
    async with fronted() as at:
        for path in ("/healthz", "/readyz"):
            rebound = f"GET {path} HTTP/1.1\r\nHost: evil.example\r\n\r\n"
            assert (await exchange(at.port, rebound.encode())).status == 403
            page = await at.ask("GET", path, "Origin: https://evil.example\r\n")
            assert page.status == 403
            assert (await at.ask("GET", path)).status == 200
        at.answers.fault = ValueError("broken")
        for sent in (HEALTH, b"GET /mcp HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x16\x03\r\n\r\n"):
            answer = await exchange(at.port, sent)
            assert answer.status in (200, 400, 500)
            told = repr(answer).lower()
            assert "server" not in answer.headers
            assert "aiohttp" not in told
            assert "python" not in told
