"""Admission over HTTP, tested with real bytes: hosts, origins, tokens, sizes, times."""

import asyncio
import tracemalloc
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.transports.bounded import Backlog
from pipeguard.transports.http.server import admission
from pipeguard.transports.http.server.admission import Admission, RequestRefused, parse_host
from pipeguard.transports.http.server.callers import Tokens
from tests.fuzz.budget import tried
from tests.transports.wire import Answer, exchange, run, serving

LIMIT = 1000
ROOM_BYTES, MOST_BYTES = 2**20, 64 * 2**20
NONE: frozenset[str] = frozenset()
LOCAL = Admission("127.0.0.1", NONE, NONE, None, LIMIT, Backlog())


def guarded(held: Mapping[str, str]) -> Admission:
    return LOCAL._replace(tokens=Tokens(lambda: held))


async def asked(
    at: Admission,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"{}",
    *,
    target: str = "/mcp",
    host: str | None = "localhost",
    sent: bytes | None = None,
) -> Answer:
    """POST once to an entrance; the answer names the client, and its number of bytes."""

    async def let_in(request: web.BaseRequest) -> web.StreamResponse:
        try:
            who = (await at.check(request)).name
            size = len(await at.read_body(request))
        except RequestRefused as refused:
            return refused.response
        return web.Response(text=f"{who}:{size}")

    lines = [f"POST {target} HTTP/1.1"]
    if host is not None:
        lines.append(f"Host: {host}")
    given = dict(headers)
    if "Content-Type" not in given:
        lines.append("Content-Type: application/json")
    if "Transfer-Encoding" not in given and "Content-Length" not in given:
        lines.append(f"Content-Length: {len(body)}")
    lines += [f"{name}: {value}" for name, value in headers]
    raw = "\r\n".join([*lines, "", ""]).encode("latin-1") + body
    async with serving(let_in) as address:
        return await exchange(urlsplit(address).port or 0, raw if sent is None else sent)


def ask(
    at: Admission,
    *headers: tuple[str, str],
    body: bytes = b"{}",
    target: str = "/mcp",
    host: str | None = "localhost",
) -> Answer:
    return run(lambda: asked(at, headers, body, target=target, host=host))


# --- hosts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        *("attacker.example", "127.0.0.1.evil", "127.0.0.1.evil:80", "localhost.evil", ""),
        *("localhost@evil", "evil@localhost", "localhost/", "localhost/evil", "evil#localhost"),
        *("localhost?", "localhost#", "[::1].evil", "[::2]", "::1", "127.1", "2130706433"),
        *("localhost:99999", "localhost:x", "localhost:-1", "local host", "a,localhost"),
        *("localhost.", "localhost:80:80", "%6cocalhost", "\xe9", "http://localhost", "[", "]"),
    ],
)
def test_a_foreign_or_odd_name_is_turned_away(host: str) -> None:
    assert ask(LOCAL, host=host).status in (400, 403)


def test_a_head_that_passed_is_remembered_and_any_other_is_checked() -> None:
    passed = set[admission.Head]()
    at = LOCAL._replace(passed=passed)
    assert ask(at).status == ask(at, body=b"{}   ").status == 200
    assert len(passed) == 1, "the length of the body is not part of it"
    assert ask(at, host="evil.example").status == 403
    assert ask(at, ("Origin", "https://evil.example")).status == 403
    assert ask(at, ("Content-Length", "2"), ("Content-Length", "2")).status == 400
    assert ask(at, ("X-Long", "x" * admission.SHORT_HEAD_BYTES)).status == 200
    assert len(passed) == 1, "long ones are not worth their memory"


def test_further_names_are_taken_as_they_are_given() -> None:
    at = LOCAL._replace(hosts=frozenset({"guard.example"}))
    assert ask(at, host="Guard.Example:443").status == 200
    assert ask(at, host="x.guard.example").status == 403
    assert ask(at, host="localhost").status == 200


def test_a_listener_on_all_addresses_takes_addresses_and_no_names() -> None:
    at = LOCAL._replace(host="0.0.0.0")  # noqa: S104  as a user would
    for host, status in (("10.0.0.7:80", 200), ("[fe80::1]", 200), ("rebound.example", 403)):
        assert ask(at, host=host).status == status
    assert ask(at._replace(host="box.lan"), host="box.lan").status == 200


@tried(200)
@given(st.text(max_size=30) | st.from_regex(r"[a-z0-9.\[\]:@/?#%-]{0,20}", fullmatch=True))
def test_no_host_header_breaks_the_reader(given: str) -> None:
    name, _ = parse_host(given)
    assert name is None or name == name.lower()


# --- origins ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "origin", ["http://localhost:3000", "https://127.0.0.1:3000", "http://[::1]:3000"]
)
def test_a_page_of_ours_may_speak_to_us_and_none_of_another_program(origin: str) -> None:
    at = LOCAL._replace(port=3000)
    assert ask(at, ("Origin", origin), host="localhost:3000").status == 200
    for other in (origin.replace("3000", "5173"), origin.removesuffix(":3000")):
        assert ask(at, ("Origin", other), host="localhost:3000").status == 403
        allowed = at._replace(origins=frozenset({other}))
        assert ask(allowed, ("Origin", other), host="localhost:3000").status == 200


def test_origins_are_let_in_by_name_and_on_a_reachable_address_only_so() -> None:
    at = LOCAL._replace(origins=frozenset({"https://app.example"}))
    assert ask(at, ("Origin", "https://app.example")).status == 200
    assert ask(at, ("Origin", "https://app.example:444")).status == 403
    assert ask(at, ("Origin", "http://app.example")).status == 403
    reachable = at._replace(host="10.0.0.7")
    assert ask(reachable, ("Origin", "http://localhost"), host="10.0.0.7").status == 403


# --- tokens -----------------------------------------------------------------------------------

TOKEN = "made-up-" + "for-this-test"


@pytest.mark.parametrize("given", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER   {TOKEN}  "])
def test_a_token_lets_in_by_its_name(given: str) -> None:
    held = {"ci": TOKEN, "other": "x"}
    assert ask(guarded(held), ("Authorization", given)).body == b"ci:2"
    assert Tokens(lambda: held).has_whole("ci")
    assert not Tokens(lambda: held).has_whole("another")


@pytest.mark.parametrize(
    "given",
    [
        *(TOKEN, "Bearer", "Bearer ", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}"),
        *(f"Bearer x {TOKEN}", f"Bearer {TOKEN.upper()}", "Bearer \xc3\xa9", f"Bearer,{TOKEN}", ""),
    ],
)
def test_without_a_right_token_nobody_comes_in_and_nothing_is_told(given: str) -> None:
    answer = ask(guarded({"ci": TOKEN}), ("Authorization", given))
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="pipeguard"'
    assert TOKEN.encode() not in answer.body
    assert b"ci" not in answer.body


def test_an_empty_token_that_is_held_lets_nobody_in() -> None:
    at = guarded({"ci": ""})
    assert ask(at, ("Authorization", "Bearer ")).status == 401
    assert ask(at).status == 401
    assert ask(guarded({})).status == 401


def test_the_last_token_taken_away_before_the_first_look_is_seen() -> None:
    held = {"ci": "t"}
    tokens = Tokens(lambda: dict(held))
    caller = tokens.find_caller("Bearer t")
    assert caller is not None
    assert tokens.check_later()(caller)
    held.clear()
    assert not tokens.check_later()(caller)


# --- headers ----------------------------------------------------------------------------------


def test_a_header_that_cannot_be_sent_on_is_refused() -> None:
    assert ask(LOCAL, ("X-Name", "\xc3\xa9")).status == 200
    assert ask(LOCAL, ("X-Name", "\xe9")).status == 400
    assert ask(guarded({"ci": TOKEN}), ("Authorization", "Bearer \xff")).status == 400


# --- bodies -----------------------------------------------------------------------------------


def test_extensions_of_a_chunk_take_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library skips a chunk extension (RFC 9112, section 7.1.1) however long it is."""
    monkeypatch.setattr(admission, "BODY_SECONDS", 0.5)
    piece, answers = b"x" * 2**16, list[bytes]()
    head = (
        b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n2;"
    )

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        try:
            await LOCAL.read_body(request)
        except RequestRefused as refused:
            return refused.response
        return web.Response()

    async def work() -> int:
        async with serving(handler) as address:
            reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(address).port)
            answer = asyncio.create_task(reader.readline())
            writer.write(head)
            sent = 0
            while not answer.done() and sent < MOST_BYTES:
                writer.write(piece)
                await writer.drain()
                sent += len(piece)
            answers.append(await answer)
            writer.close()
            return sent

    tracemalloc.start()
    try:
        sent = run(work)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert b" 408 " in answers[0]
    assert sent > 4 * ROOM_BYTES
    assert peak < ROOM_BYTES
