"""Admission to the page: one browser for each link, no other page, no other name."""

import os
import re
import subprocess
from collections.abc import Mapping
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from pipeguard.ui.door import MOST_WRONG, NUMBER_SECONDS, Door
from tests.launch.processes import until
from tests.ui.conftest import PageHere, PageTerminal, Shown


def ask(
    url: str, headers: Mapping[str, str] | None = None, body: str | None = None
) -> tuple[int, str, Mapping[str, str]]:
    """The status, the text and the headers of an answer."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    form = {"Content-Type": "application/x-www-form-urlencoded"} if body is not None else {}
    connection.request(
        "GET" if body is None else "POST",
        f"{parts.path}?{parts.query}",
        body,
        {**form, **(headers or {})},
    )
    answer = connection.getresponse()
    with closing(connection):
        return answer.status, answer.read().decode(), dict(answer.headers)


def address(terminal: Shown) -> str:
    return terminal.link().partition("/enter")[0]


def refuse_another_user(url: str, cookie: str = "") -> None:
    """Check that another user gets nothing, who could read a browser's arguments or profile."""
    if os.geteuid() == 0:  # only root can be another user
        code = "from urllib.request import *; import sys; headers = {'Cookie': sys.argv[2]};"
        code += "urlopen(Request(sys.argv[1], headers=headers))"
        words = ["/usr/bin/python3", "-I", "-c", code, url, cookie]
        other = subprocess.run(
            words, check=False, user=65534, cwd="/", capture_output=True, timeout=60
        )
        assert b"403" in other.stderr


def test_a_link_works_once_and_for_this_user(browser: Browser, terminal: PageTerminal) -> None:
    link = terminal.link()
    refuse_another_user(link)
    first, second = (browser.new_context().new_page() for _ in range(2))
    first.goto(link)
    expect(first).to_have_title(re.compile("^Waiting"))
    (cookie,) = first.context.cookies()
    for path in ("", "changes", "static/page.css"):
        refuse_another_user(first.url + path, f"{cookie['name']}={cookie['value']}")
    second.goto(link)
    expect(second.get_by_role("heading", name="This link does not work")).to_be_visible()
    second.evaluate("localStorage.left = 'by whoever had this port before'")
    second.goto(terminal.new_link())
    expect(second).to_have_title(re.compile("^Waiting"))
    assert second.evaluate("localStorage.left") is None


def test_without_the_cookie_or_by_another_name_nothing_is_shown_or_decided(here: PageHere) -> None:
    origin = address(here)
    for path in ("/", "/changes", "/nowhere"):
        status, text, _ = ask(origin + path)
        assert status == 401, path
        assert "weather" not in text
    assert ask(f"{origin}/decide/x", {"Origin": origin}, "answer=approve")[0] == 401
    for host in ("evil.example", "127.0.0.1", f"evil.example:{origin[-5:]}"):
        assert ask(here.link(), {"Host": host})[0] == 403, host
    for path in ("/", "/static/page.css", "/enter?key=no"):
        policy = ask(origin + path)[2]["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy


def test_no_other_page_uses_the_cookie_or_sends_forms(page: Page, here: PageHere) -> None:
    (cookie,) = page.context.cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    assert page.url.endswith(cookie["path"])  # which no other server of this machine can guess
    assert len(cookie["path"]) > 20
    page.context.add_cookies(
        [{"name": "pipeguard", "value": "x", "domain": "127.0.0.1", "path": "/"}]
    )
    page.reload()  # after another port has set one that is sent here, too
    expect(page).to_have_title(re.compile("^Waiting"))
    cookies = f"{cookie['name']}={cookie['value']}"
    token = page.locator("input[name=token]").first.get_attribute("value")
    body = f"token={token}"
    origin, root = address(here), page.url.rstrip("/")
    for headers, status in (
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({}, 403),
        ({"Origin": origin, "Sec-Fetch-Site": "cross-site"}, 403),
    ):
        assert ask(f"{root}/lock", {"Cookie": cookies, **headers}, body)[0] == status, headers
    assert ask(f"{root}/lock", {"Cookie": cookies, "Origin": origin}, "token=x")[0] == 403
    assert ask(f"{root}/lock", {"Cookie": cookies, "Origin": origin}, body)[0] == 303
    url = f"{page.url}decide/x"  # the address of an answer leads back to the page
    status, _, found = ask(url, {"Cookie": cookies})
    assert (status, found["Location"]) == (303, urlsplit(page.url).path)
    drawn_anew = ask(url, {"Cookie": cookies, "X-Refresh": "1"})
    assert drawn_anew[:2] == (204, ""), "an open page stays as it is, and its console empty"


def test_whoever_guesses_numbers_is_shown_out(page: Page, here: PageHere) -> None:
    (cookie,) = page.context.cookies()
    headers = {"Cookie": f"{cookie['name']}={cookie['value']}", "Origin": address(here)}
    token = page.locator("input[name=token]").first.get_attribute("value")
    form, url = f"token={token}&number=", f"{page.url}unlock"
    assert ask(url, headers, form)[0] == 200
    answers = [ask(url, headers, f"{form}0") for _ in range(MOST_WRONG + MOST_WRONG // 2)]
    assert {status for status, *_ in answers[-MOST_WRONG // 2 :]} == {401}
    until(lambda: "wrong numbers were typed" in here.text, "the terminal says so")
    right = ask(url, headers, form + here.number())
    assert (right[0], "Lock now" in right[1]) == (401, False)


def test_a_number_that_has_ended_makes_room_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    now, shown = [0.0], list[str]()

    def show(text: str) -> bool:
        shown.append(text)
        return True

    monkeypatch.setattr("pipeguard.ui.door.monotonic", lambda: now[0])
    door = Door(show, {"key": (1.0, lambda: True)})
    visitor = door.find_visitor(door.enter("key") or "")
    assert visitor is not None
    assert door.ask(visitor, "open", "open it")
    number = shown[0].split()[-4]
    now[0] = NUMBER_SECONDS
    assert not door.accept(visitor, "open", number)
    assert visitor.question is None
