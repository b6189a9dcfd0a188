"""Which answers are taken from a browser, and when one is opened."""

from __future__ import annotations

import sys

import pytest

from pipeguard.auth.callback import Callback, answer_in, open_browser, query_of
from pipeguard.errors import InputError


@pytest.mark.parametrize(
    ("query", "code", "error"),
    [
        ("state=s&code=c&iss=https://auth.example.com", "c", None),
        ("code=c&state=s", "c", None),
        ("state=s&error=access_denied", None, "access_denied"),
    ],
)
def test_an_answer_to_this_login_is_taken(query: str, code: str | None, error: str | None) -> None:
    answer = answer_in(query, "s")
    assert answer is not None
    assert (answer.code, answer.error) == (code, error)
    assert repr(answer) == f"Answer(error={error!r})"


@pytest.mark.parametrize(
    "query",
    [
        "",
        "code=c",
        "state=s",
        "state=s&code=",
        "state=t&code=c",
        "state=S&code=c",
        "state=s&code=c&code=d",
        "state=s&state=s&code=c",
        "state=s&code=c&" + "&".join(f"a{number}=1" for number in range(60)),
    ],
)
def test_any_other_is_not(query: str) -> None:
    assert answer_in(query, "s") is None


@pytest.mark.parametrize("pasted", ["http://127.0.0.1:1/callback?a=b#c", "?a=b", "a=b"])
def test_a_pasted_address_may_be_cut(pasted: str) -> None:
    assert query_of(pasted) == "a=b"


@pytest.mark.parametrize(
    "uri",
    [
        "https://127.0.0.1:8765/callback",
        "http://example.com:8765/callback",
        "http://127.0.0.1/callback",
        "http://127.0.0.1:8765/callback?a=b",
        "http://0.0.0.0:8765/callback",
        "callback",
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
