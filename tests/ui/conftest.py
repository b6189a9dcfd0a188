"""A page that a person has opened: `pipeguard ui` on a terminal of its own, and a browser."""

import asyncio
import os
import pty
import re
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

import pytest
from aiohttp import web
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from pipeguard.cli._page_host import LINK, PageHost
from pipeguard.config.user_policy import usual_policy_path
from pipeguard.state.paths import store_path
from pipeguard.state.store import open_store
from tests.files import write_file
from tests.forking import PIPEGUARD
from tests.launch.processes import until
from tests.people import be_nobody
from tests.tools import CHROMIUM

TIMEOUT_MS = 30_000  # a busy machine draws a page in seconds
expect.set_options(timeout=TIMEOUT_MS)
PATIENT = "limits: {ask: 1 h}\n"  # usually 50 seconds, after which the card of a call is gone


class Shown:
    """What a page has written for its person: links, and numbers."""

    text = ""
    _numbers = 0  # that were typed

    def link(self) -> str:
        """The newest link."""
        return self.find(r"http://\S+key=\S+")

    def number(self) -> str:
        """Return the next number that the page needs: its form may appear before we read it."""
        asked = re.compile(r"type (\d{4}) on the page")
        until(lambda: len(asked.findall(self.text)) > self._numbers, "a number is asked for")
        numbers = asked.findall(self.text)
        self._numbers = len(numbers)
        return str(numbers[-1])

    def find(self, pattern: str) -> str:
        """The last match, once there is one."""
        until(lambda: re.search(pattern, self.text) is not None, pattern)
        found = re.findall(pattern, self.text)[-1]
        assert isinstance(found, str)
        return found


class PageHere(Shown, PageHost):
    """The page of `pipeguard ui`, in a thread of this process."""

    def __init__(self) -> None:
        super().__init__(None)
        self._ended, self._loop = asyncio.Event(), asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_until_complete, args=(self._run(),), daemon=True
        )
        self._thread.start()
        self.link()

    async def _run(self) -> None:
        with closing(socket.create_server(("127.0.0.1", 0))) as listening:
            self.origin = f"http://127.0.0.1:{listening.getsockname()[1]}"
            await web.SockSite(await self.load(), listening).start()
            self.show(f"{LINK}{self.make_link()}")
            await self._ended.wait()
            await super().close()
            # Its threads may still draw a page, and its sockets write one.
            await self._loop.shutdown_default_executor()

    def show(self, text: str) -> bool:
        """Write a line."""
        self.text += f"{text}\n"
        return True

    def end(self) -> None:
        """End the page."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
        self._loop.close()


class PageTerminal(Shown):
    """The terminal of `pipeguard ui`, or of another command, and its output.

    Args:
        words: the words of the command.
        inside: a program that starts it.
    """

    def __init__(self, *words: str, inside: Sequence[str] = ()) -> None:
        words = (*inside, *PIPEGUARD, *(words or ("ui", "--no-browser")))
        self.process, self._terminal = pty.fork()
        if not self.process:
            os.execvp(words[0], words)  # noqa: S606  a terminal needs a fork
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        with suppress(OSError):  # the process has ended
            while data := os.read(self._terminal, 4096):
                self.text += data.decode("utf-8", "replace")

    def new_link(self) -> str:
        """Press Enter; return the link that follows."""
        before = self.link()
        os.write(self._terminal, b"\n")
        until(lambda: self.link() != before, "a new link")
        return self.link()

    def attach(self) -> str:
        """Type the number of a page that runs elsewhere; return the link that follows."""
        os.write(self._terminal, self.find(r"type (\d{4}): $").encode() + b"\n")
        return self.link()

    def end(self) -> int:
        """Press Ctrl-C, and wait for the process; return its exit code."""
        with suppress(ProcessLookupError):
            os.kill(self.process, signal.SIGINT)
        return self.wait()

    def wait(self) -> int:
        """Wait for the process; return its exit code."""
        _, status = os.waitpid(self.process, 0)
        until(lambda: not self._reading.is_alive(), "all is read")
        os.close(self._terminal)
        return os.waitstatus_to_exitcode(status)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store, and a configuration of the test's own with which calls wait for an hour."""
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    be_nobody(monkeypatch)
    write_file(Path(usual_policy_path()), PATIENT)
    open_store().close()
    return store_path()


@pytest.fixture
def here(store: Path) -> Iterator[PageHere]:
    """A page over that store."""
    opened = PageHere()
    yield opened
    opened.end()


@pytest.fixture
def terminal(store: Path) -> Iterator[PageTerminal]:
    """The terminal of a process that has the page."""
    opened = PageTerminal()
    yield opened
    opened.end()


@pytest.fixture(scope="session")
def chromium() -> Iterator[tuple[Browser, asyncio.AbstractEventLoop]]:
    """One Chromium for all files, with its event loop."""
    assert CHROMIUM, "the page is looked at: apt-get install chromium"
    with sync_playwright() as started:
        loop = asyncio.get_running_loop()
        browser = started.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"], timeout=4 * TIMEOUT_MS
        )
        yield browser, loop
        asyncio._set_running_loop(loop)
        browser.close()


@pytest.fixture(scope="module")
def browser(chromium: tuple[Browser, asyncio.AbstractEventLoop]) -> Iterator[Browser]:
    """Chromium for the tests of a file; its event loop would be in the way of other files'."""
    browser, loop = chromium
    asyncio._set_running_loop(loop)
    yield browser
    asyncio._set_running_loop(None)


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """One profile for the pages of a file: each page has an address and a cookie of its own."""
    context = browser.new_context(reduced_motion="reduce")
    context.set_default_timeout(TIMEOUT_MS)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, here: PageHere) -> Iterator[Page]:
    """The page, opened by its link."""
    context.clear_cookies()
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.goto(here.link())
    yield opened
    opened.close()
    assert not complaints
