"""Streamable HTTP to Streamable HTTP: forwarded requests, and owners of sessions. relay.py."""

import json

import pytest
from aiohttp import web

from pipeguard.errors import StateError
from tests.transports.http.server.relaying import R5, between, echo, through
from tests.transports.talking import (
    BROKE,
    GONE,
    INITIALIZED,
    SECRET,
    SESSION,
    STATELESS,
    Asked,
    Login,
    Object,
    Odd,
    as_json,
    call,
    code,
    initialize,
    notification,
    opened,
    posted,
    request,
    result,
)
from tests.transports.wire import serving

# --- what passes --------------------------------------------------------------------------------


async def test_bytes_pass_as_they_are_both_ways() -> None:
    sent = b' {"jsonrpc":"2.0", "id":"\\u0031", "method":"x/y","params":{"n":1.50}}\r'
    back = b'{ "id":"1","jsonrpc":"2.0","result":{"n":1e2} } '

    async def answering(_: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        assert asked.body == sent
        return as_json(back)

    async with between(Odd(answering)) as client:
        _, body, _ = await posted(client.http, client.url, sent)
        assert body == back


def test_headers_go_up_and_down_that_should_and_no_others() -> None:
    async def answering(_: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        told = {"Mcp-Session-Id": "s1", "X-Internal": "x", "Set-Cookie": "a=b", "Server": "odd"}
        return as_json(opened(), headers=told)

    status, _, headers, odd, _ = through(
        answering,
        initialize(),
        Authorization="Bearer client",
        Cookie="c=d",
        Origin="http://localhost",
        traceparent="00-1",
        X_Own="y",
        Connection="keep-alive, x-hop",
        X_Hop="z",
        X_Forwarded_For="10.0.0.1",
        Proxy_Authorization="secret",
        Accept_Encoding="gzip, br",
        Referer="http://localhost/x",
        Sec_Fetch_Site="same-origin",
    )
    assert status == 200
    assert headers["mcp-session-id"] == "s1"
    assert headers["set-cookie"] == "a=b"
    assert "x-internal" not in headers
    (asked,) = odd.asked
    up = asked.headers
    assert up["accept-encoding"] == "identity"
    assert up["authorization"] == "Bearer client"
    assert (up["cookie"], up["traceparent"], up["x-own"]) == ("c=d", "00-1", "y")
    gone = {"origin", "x-hop", "x-forwarded-for", "proxy-authorization", "referer"}
    assert not gone & up.keys()
    assert "sec-fetch-site" not in up
    assert up["host"].startswith("127.0.0.1:")


async def test_our_own_credential_takes_the_place_of_a_clients() -> None:
    odd = Odd(echo)
    for ours in ({}, {"Authorization": "Bearer ours"}):
        async with between(odd, headers=ours, passes_credentials=bool(ours)) as client:
            await client.post(request(1), Authorization="Bearer client")
    assert [asked.headers.get("authorization") for asked in odd.asked] == [None, "Bearer ours"]


@pytest.mark.parametrize("status", [200, 204, 404, 500])
def test_the_status_of_a_notification_passes_without_a_body(status: int) -> None:
    async def answering(_: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        return web.Response(status=status, body=None if status == 204 else b'{"a":"b"}')

    got, body, _, odd, _ = through(answering, INITIALIZED)
    assert (got, body) == (status, None)
    assert len(odd.asked) == 1


@pytest.mark.parametrize("name", ["error", "e\\u0072ror"])
def test_an_error_without_an_id_is_an_answer(name: str) -> None:
    error: Object = {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "no"}}

    async def answering(_: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        text = json.dumps(error, separators=(",", ":")).replace("error", name)
        return web.Response(text=text, content_type="application/json")

    _, body, _, _, records = through(answering, request(1))
    assert body == {**error, "id": 1}
    assert records.rules == []


# --- what is stopped ----------------------------------------------------------------------------


async def test_a_stopped_message_leaves_no_exchange_behind() -> None:
    async def answering(_: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        if asked.says == "initialize":
            return as_json(opened(asked.message["id"]), headers={SESSION: "s"})
        return web.Response(status=202)

    async with between(Odd(answering)) as client:
        await client.post(initialize())
        session = client.known.of("s", None)
        for message in (INITIALIZED, call(1, SECRET), request(2), b"{"):
            await client.post(message, Mcp_Session_Id="s")
        pending = next(iter(session.state.pending.values()))
        assert not pending._exchanges


@pytest.mark.parametrize(("status", "is_over"), [(200, True), (404, True), (405, False)])
async def test_a_sessions_owner_is_known_until_it_ends(status: int, *, is_over: bool) -> None:
    async def answering(_: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        if asked.says == "initialize":
            return as_json(opened(asked.message["id"]), headers={SESSION: "s"})
        return web.Response(status=status if asked.method == "DELETE" else 202)

    async with between(Odd(answering)) as client:
        owners = client.known.owners
        await client.post(initialize(), Who="ann")
        assert not owners.allow("s", "bob")
        client.known.forget("s")
        await client.post(INITIALIZED, Mcp_Session_Id="s", Who="ann")
        assert not owners.allow("s", "bob"), "the server's session outlives ours"
        async with client.http.delete(client.url, headers={SESSION: "s"}) as answer:
            assert answer.status == status
        assert (not owners._names, not client.known._entries) == (is_over, is_over)


# --- logins -------------------------------------------------------------------------------------

CHALLENGE = 'Bearer resource_metadata="https://as.example/x"'


async def locked(_: web.BaseRequest, asked: Asked) -> web.StreamResponse:
    if asked.headers.get("authorization") == "Bearer new":
        return as_json(result(1)) if b'"id"' in asked.body else web.Response(status=202)
    return web.Response(status=401, headers={"WWW-Authenticate": CHALLENGE}, text="no")


def test_a_clients_own_login_is_between_it_and_the_server() -> None:
    for message in (request(1), INITIALIZED):
        status, told, headers, _, _ = through(locked, message)
        assert (status, told) == (401, None)
        assert headers["www-authenticate"] == CHALLENGE


@pytest.mark.parametrize("status", [405, 503])
async def test_the_servers_refusal_of_a_stream_is_passed_on(status: int) -> None:
    async def answering(_: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        return web.Response(status=status, headers={"Retry-After": "7"})

    async with between(Odd(answering)) as client:
        async with client.http.get(client.url) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (status, "7")
        assert client.refused == []


def test_a_login_of_ours_that_is_refused_asks_no_client_for_one() -> None:
    status, told, headers, _, _ = through(locked, request(1), passes_credentials=False)
    assert (status, code(told)) == (200, GONE)
    assert "www-authenticate" not in headers
    status, _, headers, _, _ = through(locked, INITIALIZED, passes_credentials=False)
    assert status == 502
    assert "www-authenticate" not in headers


async def test_a_login_of_ours_is_renewed_and_the_request_sent_again() -> None:
    login = Login("Bearer new")
    odd = Odd(locked)
    async with between(odd, authorization=login, passes_credentials=False) as client:
        assert (await client.post(request(1)))[1] == result(1)
        assert (await client.post(request(1)))[1] == result(1)
    assert login.challenges == [(401, CHALLENGE)]
    assert len(odd.asked) == 3


@pytest.mark.parametrize(
    ("new", "why"), [(None, "asks for a login"), ("Bearer bad", "refuses the login")]
)
async def test_a_login_that_cannot_be_renewed_is_told(new: str | None, why: str) -> None:
    odd = Odd(locked)
    login = Login(new)
    async with between(odd, authorization=login, passes_credentials=False) as client:
        status, told, _ = await client.post(request(1))
        assert (status, code(told)) == (200, GONE)
        assert why in json.dumps(told)
        assert "pipeguard auth" not in json.dumps(told)
    assert len(odd.asked) <= 3


# --- redirections -------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [307, 308])
async def test_a_redirection_within_the_origin_is_followed_and_remembered(status: int) -> None:
    async def answering(_: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        if asked.path == "/mcp":
            return web.Response(status=status, headers={"Location": "/mcp/"})
        return await echo(_, asked)

    odd = Odd(answering)
    async with between(odd, headers={"X-Api-Key": "k"}) as client:
        for _ in range(2):
            assert (await client.post(request(1)))[0] == 200
    assert [asked.path for asked in odd.asked] == ["/mcp", "/mcp/", "/mcp/"]
    assert all(asked.headers["x-api-key"] == "k" for asked in odd.asked)
    assert all(asked.message == request(1) for asked in odd.asked)


async def test_no_redirection_to_another_origin_is_followed() -> None:
    thief = Odd(echo)
    async with serving(thief) as foreign:
        addresses = [
            *(f"{foreign}/mcp", foreign.replace("http:", ""), f"{foreign}@127.0.0.1/", "ftp://a/"),
            *("http://[", "javascript:alert(1)", "http://localhost/mcp", "mailto:a@b", ""),
        ]

        async def answering(_: web.BaseRequest, asked: Asked) -> web.StreamResponse:
            address = addresses[int(asked.headers["x-n"])]
            return web.Response(status=307, headers={"Location": address})

        async with between(Odd(answering)) as client:
            for number in range(len(addresses)):
                _, told, _ = await client.post(request(1), X_N=str(number))
                assert code(told) == BROKE
    assert thief.asked == []


def test_a_server_that_sends_its_clients_in_circles_is_told() -> None:
    async def answering(_: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": asked.path + "x"})

    _, told, _, odd, _ = through(answering, request(1))
    assert code(told) == GONE
    assert len(odd.asked) == 3


# --- headers that repeat the body (2026-07-28) ----------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Mcp-Foo", call(1, _meta=STATELESS)),
        ("Mcp-Param-Unknown", call(1, _meta=STATELESS)),
        ("Mcp-Name", request(1, "tools/list", _meta=STATELESS)),
        ("Mcp-Name", notification("notifications/x", _meta=STATELESS)),
    ],
)
def test_a_header_that_repeats_nothing_of_the_body_is_judged(name: str, message: Object) -> None:
    told = {"Mcp-Method": str(message["method"]), name: SECRET}
    if message["method"] == "tools/call":
        told["Mcp-Name"] = "echo"
    _, _, _, odd, _ = through(echo, message, MCP_Protocol_Version=R5, headers=told)
    assert name.lower() not in odd.asked[0].headers


async def test_a_stateless_message_belongs_to_no_session() -> None:
    async def answering(_: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        if asked.says == "initialize":
            return as_json(opened(), headers={SESSION: "s"})
        return await echo(_, asked)

    async with between(Odd(answering)) as client:
        await client.post(initialize())
        before = client.known.of("s", None)
        await client.post(call(1, _meta=STATELESS), Mcp_Session_Id="s", MCP_Protocol_Version=R5)
        assert client.known.of("s", None) is before
        assert len(client.records) == 4


# --- sessions -----------------------------------------------------------------------------------


async def test_what_cannot_be_recorded_does_not_pass() -> None:
    def full(_: object) -> None:
        raise StateError("the audit cannot be written")

    odd = Odd(echo)
    async with between(odd, record=full) as client:
        status, _, _ = await posted(client.http, client.url, request(1))
        assert status == 500
    assert odd.asked == []
