"""Answers that are accepted from a browser, and when a browser is opened."""

import asyncio
import os
import socket
import sys

import httpx2
import pytest

from pipeguard.auth import callback
from pipeguard.auth.callback import Callback, open_browser, parse_answer, parse_query
from pipeguard.errors import InputError
from tests.commands import run_command


@pytest.mark.parametrize(
    ("query", "code", "error"),
    [
        ("state=s&code=c&iss=https://auth.example.com", "c", None),
        ("code=c&state=s", "c", None),
        ("state=s&error=access_denied", None, "access_denied"),
    ],
)
def test_an_answer_to_this_login_is_taken(query: str, code: str | None, error: str | None) -> None:
    answer = parse_answer(query, "s")
    assert answer is not None
    assert (answer.code, answer.error) == (code, error)
    assert repr(answer) == f"Answer(error={error!r})"


@pytest.mark.parametrize(
    "query",
    [
        "",
        "state=t&code=c",
        "state=s&code=c&code=d",
        "state=s&state=s&code=c",
        "state=s&code=c&" + "&".join(f"a{number}=1" for number in range(60)),
    ],
)
def test_any_other_is_not(query: str) -> None:
    assert parse_answer(query, "s") is None


@pytest.mark.parametrize("pasted", ["http://127.0.0.1:1/callback?a=b#c", "?a=b", "a=b"])
def test_a_pasted_address_may_be_cut(pasted: str) -> None:
    assert parse_query(pasted) == "a=b"


@pytest.mark.parametrize(
    "uri",
    [
        "http://example.com:8765/callback",
        "http://127.0.0.1/callback",
        "http://127.0.0.1:8765/callback?a=b",
    ],
)
def test_a_redirect_uri_is_on_loopback_and_has_a_port(uri: str) -> None:
    with pytest.raises(InputError):
        Callback(uri)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="they always have a screen")
def test_no_browser_is_opened_where_there_is_no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION"):
        monkeypatch.delenv(name, raising=False)
    assert not open_browser("https://auth.example.com/")


PAGE = "https://auth.example.com/auth?state=" + "s" * 43


def fetched(url: str) -> tuple[int, str]:
    """Return the status and the redirect's target; redirects are not followed."""
    answer = httpx2.get(url)
    return answer.status_code, answer.headers.get("location", "")


def waiting(callback: Callback) -> None:
    callback.expect("s" * 43, PAGE)


async def test_a_browser_is_led_to_the_login_page_by_an_address_that_does_not_tell_it() -> None:
    with Callback() as callback:
        assert (await asyncio.to_thread(fetched, callback.start))[0] == 404
        waiting(callback)
        assert "s" * 43 not in callback.start
        assert await asyncio.to_thread(fetched, callback.start) == (302, PAGE)
        assert (await asyncio.to_thread(fetched, callback.start[:-1]))[0] == 404


async def test_the_page_in_the_browser_reflects_nothing() -> None:
    with Callback() as callback:
        waiting(callback)
        asked = f"{callback.uri}?code=<b>x&state=<script>"
        answer = await asyncio.to_thread(httpx2.get, asked)
    assert answer.status_code == 400
    assert "<b>" not in answer.text
    assert "script" not in answer.text
    assert answer.headers["content-security-policy"] == "default-src 'none'"


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root can be another user"
)
async def test_another_user_can_neither_read_the_state_nor_answer() -> None:
    """A real connection of another user, in a shell of theirs."""
    asks = 'exec 3<>/dev/tcp/127.0.0.1/$0; printf "GET %s HTTP/1.0\\r\\n\\r\\n" "$1" >&3; cat <&3'

    def asked(port: int, target: str, user: int) -> str:
        command = ["/bin/bash", "-c", asks, str(port), target]
        return run_command(command, check=True, user=user, cwd="/").stdout

    with Callback() as callback:
        waiting(callback)
        port = int(callback.start.split(":")[2].split("/")[0])
        path = "/" + callback.start.split("/", 3)[3]
        answer = f"/callback?code=theirs&state={'s' * 43}"
        for target in (path, answer):
            told = await asyncio.to_thread(asked, port, target, 65534)
            assert " 403 " in told.splitlines()[0]
            assert "Location" not in told
        told = await asyncio.to_thread(asked, port, answer.replace("theirs", "ours"), 0)
        assert " 200 " in told.splitlines()[0]
        assert (await callback.answer(10)).code == "ours"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_whose_a_connection_was_is_not_known_once_its_program_has_closed_it() -> None:
    """Older kernels attribute it to root: another user could answer and be gone."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        with socket.create_connection(listening.getsockname()) as asking:
            ours, their = listening.accept()
            assert callback.is_own_peer(their, ours.getsockname()) is True
            asking.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert ours.recv(100)
        assert callback.is_own_peer(their, ours.getsockname()) is False
        ours.close()


async def test_the_page_opens_once_for_an_unknown_asker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeguard.auth.callback._TABLES", ())
    with Callback() as callback:
        waiting(callback)
        assert (await asyncio.to_thread(fetched, callback.start))[0] == 302
        assert (await asyncio.to_thread(fetched, callback.start))[0] == 410
