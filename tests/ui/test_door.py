"""Who may come in: one browser by each link, no other page, no other name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, expect

from pipeguard.ui.door import NUMBER_SECONDS, Door
from tests.ui.conftest import PageTerminal


def ask(
    url: str, headers: Mapping[str, str] | None = None, body: str | None = None
) -> tuple[int, str, Mapping[str, str]]:
    """The status, the text and the headers of an answer."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=10)
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


def address(terminal: PageTerminal) -> str:
    return terminal.link().partition("/enter")[0]


def test_a_link_works_once(browser: Browser, terminal: PageTerminal) -> None:
    link = terminal.link()
    first, second = (browser.new_context().new_page() for _ in range(2))
    first.goto(link)
    expect(first).to_have_title(re.compile("^Waiting"))
    second.goto(link)
    expect(second.get_by_role("heading", name="This link does not work")).to_be_visible()
    second.goto(terminal.new_link())
    expect(second).to_have_title(re.compile("^Waiting"))


def test_without_the_cookie_nothing_is_shown_or_decided(terminal: PageTerminal) -> None:
    here = address(terminal)
    for path in ("/", "/changes", "/nowhere"):
        status, text, _ = ask(here + path)
        assert status == 401, path
        assert "weather" not in text
    status, *_ = ask(f"{here}/decide/x", {"Origin": here}, "answer=approve")
    assert status == 401


def test_another_name_is_refused(terminal: PageTerminal) -> None:
    for host in ("evil.example", "127.0.0.1", f"evil.example:{address(terminal)[-5:]}"):
        assert ask(terminal.link(), {"Host": host})[0] == 403, host


def test_another_page_cannot_send_a_form(page: Page, terminal: PageTerminal) -> None:
    cookies = "; ".join(f"{each['name']}={each['value']}" for each in page.context.cookies())
    token = page.locator("input[name=token]").first.get_attribute("value")
    body = f"token={token}"
    here, root = address(terminal), page.url.rstrip("/")
    for headers, status in (
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({}, 403),
        ({"Origin": here, "Sec-Fetch-Site": "cross-site"}, 403),
    ):
        assert ask(f"{root}/lock", {"Cookie": cookies, **headers}, body)[0] == status, headers
    assert ask(f"{root}/lock", {"Cookie": cookies, "Origin": here}, "token=x")[0] == 403
    assert ask(f"{root}/lock", {"Cookie": cookies, "Origin": here}, body)[0] == 303


def test_the_cookie_is_for_this_address_alone(page: Page) -> None:
    (cookie,) = page.context.cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    assert page.url.endswith(cookie["path"])  # which no other server of this machine can guess
    assert len(cookie["path"]) > 20


def test_every_answer_forbids_scripts_and_frames_of_others(terminal: PageTerminal) -> None:
    for path in ("/", "/static/page.css", "/enter?key=no"):
        _, _, headers = ask(address(terminal) + path)
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy


def test_a_number_that_has_ended_makes_room_for_another() -> None:
    now, shown = [0.0], list[str]()

    def show(text: str) -> bool:
        shown.append(text)
        return True

    door = Door(show, {"key": (1.0, lambda: True)}, lambda: now[0])
    visitor = door.find_visitor(door.enter("key") or "")
    assert visitor is not None
    assert door.ask(visitor, "open", "open it")
    number = shown[0].split()[-4]
    now[0] = NUMBER_SECONDS
    assert not door.accept(visitor, "open", number)
    assert visitor.question is None
