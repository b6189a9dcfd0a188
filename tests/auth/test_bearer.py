"""The header for a server: renewed in time, once for many requests, never without a person."""

import asyncio
import hashlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from pipeguard.auth.bearer import Bearer
from pipeguard.auth.place import Place
from pipeguard.auth.store import LoginStore, Registration, Secrets, StoredLogin
from pipeguard.auth.tokens import log_out, revoke
from pipeguard.errors import AuthError, LoginNeededError
from tests.auth.conftest import Site, Sites
from tests.auth.parties import Party, party
from tests.auth.test_login import call, read

pytestmark = pytest.mark.real
LIFETIME = 600
EXPIRED = 'Bearer error="invalid_token"'
MANY = 20


class Late:
    """A clock that can be put forward."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return time.time() + self.seconds


def store(place: Site) -> LoginStore:
    return LoginStore(place.state / "auth")


def token_of(header: str | None) -> str:
    assert header is not None
    assert header.startswith("Bearer ")
    return header.removeprefix("Bearer ")


@pytest.fixture
def logged_in(site: Sites) -> Callable[..., tuple[Site, str]]:
    """An authorization server, and a server of it that somebody logged in to."""

    def make(**settings: object) -> tuple[Site, str]:
        place = site(lifetime=LIFETIME, **settings)
        url = place.server()
        place.login(url)
        return place, url

    return make


LoggedIn = Callable[..., tuple[Site, str]]


class Lone(NamedTuple):
    """An earlier run's login, at an authorization server that a test plays."""

    issuer: Party
    url: str
    kept: LoginStore

    def secrets(self) -> Secrets:
        found = self.kept.read(self.url)
        assert found is not None
        return found[1]


@pytest.fixture
def lone(site: Sites, tmp_path: Path) -> Iterator[Lone]:
    kept = LoginStore(tmp_path / "state" / "auth")
    with party() as issuer:
        url = f"{issuer.origin}/mcp"
        kept.save(sample(url, f"{issuer.origin}/token", issuer.origin), Secrets("old", "once"))
        yield Lone(issuer, url, kept)


async def test_a_token_about_to_end_is_renewed_once_for_all(logged_in: LoggedIn) -> None:
    place, url = logged_in()
    before = read(place, url)[1]
    late = Late()
    bearer = Bearer(url, store(place), clock=late)
    assert token_of(await bearer.header()) == before.access_token, "it is good"
    assert before.access_token not in repr(bearer) + repr(read(place, url))
    late.seconds = LIFETIME - 30
    headers: list[str | None] = []
    for _ in range(2):  # a refresh token that was used twice would end the whole grant
        headers = await asyncio.gather(*(bearer.header() for _ in range(MANY)))
        assert len(set(headers)) == 1
        assert call(url, "look", token_of(headers[0])).status_code == 200
        late.seconds += LIFETIME
    after = read(place, url)[1]
    assert token_of(headers[0]) == after.access_token != before.access_token
    assert after.refresh_token != before.refresh_token


def test_several_processes_renew_once(logged_in: LoggedIn) -> None:
    place, url = logged_in()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, url], env=place.environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    late: set[str] = set()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(f"{LIFETIME - 30}\n")
        process.stdin.flush()
    for process in processes:
        out, error = process.communicate(timeout=60)
        assert error == ""
        late.add(out.strip())
    (header,) = late
    assert token_of(header) == read(place, url)[1].access_token
    assert call(url, "look", token_of(header)).status_code == 200
    # A refresh token that was used twice would have ended the whole grant.
    assert asyncio.run(Bearer(url, store(place), clock=Late(LIFETIME)).header()) != header


PROCESS = """
import asyncio, sys, time
from pipeguard.auth.bearer import Bearer
from pipeguard.auth.store import LoginStore
late = 0.0
async def main():
    global late
    bearer = Bearer(sys.argv[1], LoginStore(), clock=lambda: time.time() + late)
    assert await bearer.header()
    print("ready", flush=True)
    late = float(input())
    print(await bearer.header())
asyncio.run(main())
"""


async def test_who_gives_up_waiting_does_not_lose_the_new_token(lone: Lone) -> None:
    new = {"access_token": "new", "token_type": "Bearer"}
    lone.issuer.answers["POST /token"] = (200, {}, new)
    bearer = Bearer(lone.url, lone.kept, clock=Late(LIFETIME))
    asked = asyncio.create_task(bearer.header())
    while not lone.issuer.asked:  # noqa: ASYNC110  it is another thread that tells
        await asyncio.sleep(0)
    asked.cancel()  # the refresh token is used up by now
    with suppress(asyncio.CancelledError):
        await asked
    assert await bearer.header() == "Bearer new"
    assert (len(lone.issuer.asked), lone.secrets().access_token) == (1, "new")


async def test_a_refused_token_is_renewed_and_the_request_sent_again(logged_in: LoggedIn) -> None:
    place, url = logged_in(format="opaque")
    late = Late(60)
    bearer = Bearer(url, store(place), clock=late)
    header = await bearer.header()
    place.denied.write_text(hashlib.sha256(token_of(header).encode()).hexdigest())
    refused = call(url, "look", token_of(header))
    assert refused.status_code == 401
    challenge = refused.headers["www-authenticate"]
    again = await asyncio.gather(
        *(bearer.answer_challenge(401, challenge, header) for _ in range(5))
    )
    assert again == [True] * 5
    assert call(url, "look", token_of(await bearer.header())).status_code == 200
    late.seconds = 0
    assert await bearer.answer_challenge(401, challenge)  # which one was refused is not known
    with pytest.raises(LoginNeededError):  # the new one at once: another will not do better
        await bearer.answer_challenge(401, challenge, await bearer.header())


async def test_a_revoked_login_needs_a_person(logged_in: LoggedIn) -> None:
    place, url = logged_in()
    login, secrets = read(place, url)
    assert (await revoke(login, secrets)).why_not == ""
    bearer = Bearer(url, store(place), clock=Late(LIFETIME - 30))
    assert token_of(await bearer.header()) == secrets.access_token  # good for 30 seconds yet
    assert not read(place, url)[0].has_refresh
    with pytest.raises(LoginNeededError) as needed:
        await bearer.answer_challenge(401, EXPIRED)
    assert f"pipeguard auth login {url}" in str(needed.value)
    assert needed.value.exit_code == 5
    place.login(url)
    assert token_of(await Bearer(url, store(place)).header()) != secrets.access_token


async def test_more_scope_is_asked_for_by_the_next_login(logged_in: LoggedIn) -> None:
    place, url = logged_in()
    bearer = Bearer(url, store(place))
    header = await bearer.header()
    refused = call(url, "wipe", token_of(header))
    assert refused.status_code == 403
    challenge = refused.headers["www-authenticate"]
    with pytest.raises(LoginNeededError, match=r"mcp:write\.\n.*pipeguard auth login"):
        await bearer.answer_challenge(403, challenge, header)
    assert "asks for more: mcp:write" in place.auth("status").stdout
    assert call(url, "look", token_of(await bearer.header())).status_code == 200

    await asyncio.to_thread(place.login, url)  # a person, in another terminal
    assert await bearer.answer_challenge(403, challenge, header)
    done = call(url, "wipe", token_of(await bearer.header()))
    assert done.json()["result"]["content"][0]["text"] == "wiped"
    login = read(place, url)[0]
    assert set(login.scope.split()) == {"mcp:read", "mcp:write"}
    assert login.wanted == ""


async def test_a_server_of_authorization_that_is_away_ends_no_login(lone: Lone) -> None:
    lone.issuer.answers["POST /token"] = (503, {}, {})
    late = Late(LIFETIME - 30)
    bearer = Bearer(lone.url, lone.kept, clock=late)
    assert [await bearer.header() for _ in range(2)] == ["Bearer old"] * 2
    assert len(lone.issuer.asked) == 1  # not asked again for a while
    late.seconds = LIFETIME + 1
    with pytest.raises(AuthError, match="503") as failed:
        await bearer.header()
    assert not isinstance(failed.value, LoginNeededError)
    new = {"access_token": "new", "token_type": "bearer"}
    lone.issuer.answers["POST /token"] = (200, {}, new)
    assert await bearer.header() == "Bearer new"
    assert "resource=" in lone.issuer.asked[0][1]
    assert lone.secrets() == Secrets("new", "once", "")


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (200, {"access_token": "new\r\nX: y", "token_type": "Bearer"}),
        (200, {"access_token": "new", "token_type": "DPoP"}),
        (200, {"token_type": "Bearer"}),
        (200, b"\xff"),
        (307, {}),
        (400, {"error": "temporarily_unavailable", "error_description": "once \x1b[2J"}),
    ],
)
def test_an_odd_answer_ends_no_login(lone: Lone, status: int, answer: object) -> None:
    with party() as other:
        elsewhere = {"Location": f"{other.origin}/token"}
        lone.issuer.answers["POST /token"] = (status, elsewhere, answer)
        with pytest.raises(AuthError) as failed:
            asyncio.run(Bearer(lone.url, lone.kept, clock=Late(LIFETIME + 1)).header())
        assert not isinstance(failed.value, LoginNeededError)
        assert "once" not in str(failed.value)
        assert "\x1b" not in str(failed.value)
        assert other.asked == []
    assert lone.secrets() == Secrets("old", "once", "")


def sample(url: str, token_endpoint: str, issuer: str) -> StoredLogin:
    """Make a login as an earlier run left it."""
    return StoredLogin(
        server=url,
        name="sample",
        issuer=issuer,
        place=Place.KEYRING,
        client={"client_id": "c", "token_endpoint_auth_method": "none"},
        registration=Registration.GIVEN,
        metadata={
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/auth",
            "token_endpoint": token_endpoint,
        },
        resource_metadata={"resource": url, "authorization_servers": [issuer]},
        scope="mcp:read",
        wanted="",
        obtained_at=time.time(),
        expires_at=time.time() + LIFETIME,
    )


async def test_without_a_login_nothing_is_sent_until_there_is_one(
    site: Sites, tmp_path: Path
) -> None:
    kept = LoginStore(tmp_path / "state" / "auth")
    url = "https://mcp.example.com/mcp"
    late = Late()
    bearer = Bearer("https://MCP.example.com:443/mcp#x", kept, clock=late)
    assert bearer.server == url
    assert await bearer.header() is None
    with pytest.raises(LoginNeededError, match="asks for a login"):
        await bearer.answer_challenge(401, "Bearer")
    with pytest.raises(LoginNeededError, match="--bearer-env VARIABLE"):
        await bearer.answer_challenge(401, 'Bearer realm="pipeguard"')
    kept.save(sample(url, "https://auth.example.com/token", ""), Secrets("first", "", ""))
    assert await bearer.header() is None
    late.seconds = 2
    assert await bearer.header() == "Bearer first"
    assert not await bearer.answer_challenge(403, 'Bearer error="access_denied"')
    assert not await bearer.answer_challenge(404, "")
    kept.forget(url)
    late.seconds = 4
    assert await bearer.header() is None
    other = Bearer("https://mcp.example.com/other", kept)
    assert await other.header() is None


def test_the_next_login_fixes_what_cannot_be_used(logged_in: LoggedIn) -> None:
    place, url = logged_in()
    login, secrets = read(place, url)
    clients = [login.client["client_id"]]
    for damage in ("refused", "expired", "lost"):
        if damage == "lost":
            (ring_file,) = Path(place.environment["XDG_DATA_HOME"]).rglob("keyring_pass.cfg")
            ring_file.unlink()
            with pytest.raises(LoginNeededError, match="has lost the last one"):
                asyncio.run(Bearer(url, store(place)).header())
        else:
            expired: dict[str, object] = {**login.client, "client_secret_expires_at": 1}
            client = {} if damage == "refused" else expired
            store(place).save(replace(login, client=client), secrets)
        place.login(url)
        login, secrets = read(place, url)
        clients.append(login.client["client_id"])
        assert call(url, "look", secrets.access_token).status_code == 200
    assert len(set(clients)) == 4


def test_a_client_that_is_known_no_more_is_registered_anew(lone: Lone) -> None:
    login, secrets = lone.kept.read(lone.url) or (None, None)
    assert login is not None
    assert secrets is not None
    lone.kept.save(replace(login, registration=Registration.DYNAMIC), secrets)
    lone.issuer.answers["POST /token"] = (401, {}, {"error": "invalid_client"})
    with pytest.raises(LoginNeededError):
        asyncio.run(Bearer(lone.url, lone.kept, clock=Late(LIFETIME + 1)).header())
    (after,) = lone.kept.logins()
    assert after.client == {}
    assert "no longer knows this client" in asyncio.run(log_out(lone.kept, lone.url)).why_not
    assert lone.kept.read(lone.url) is None
