"""A page that a person has opened: `pipeguard ui` on a terminal of its own, and a browser."""

from __future__ import annotations

import os
import pty
import re
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from pipeguard.state.paths import store_path
from pipeguard.state.store import Store
from tests.launch.processes import until
from tests.people import be_nobody

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
TIMEOUT_MS = 10_000


class PageTerminal:
    """The terminal of `pipeguard ui`, and what it shows."""

    def __init__(self, *options: str) -> None:
        words = (sys.executable, "-E", "-P", "-m", "pipeguard", "ui", "--no-browser", *options)
        self.process, self._terminal = pty.fork()
        if not self.process:
            os.execv(words[0], words)  # noqa: S606  a terminal needs a fork
        self.text = ""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with suppress(OSError):  # the process has ended
            while data := os.read(self._terminal, 4096):
                self.text += data.decode("utf-8", "replace")

    def link(self) -> str:
        """The newest link."""
        return self._find(r"http://\S+key=\S+")

    def new_link(self) -> str:
        """Press Enter; the link that follows."""
        before = self.link()
        os.write(self._terminal, b"\n")
        until(lambda: self.link() != before, "a new link")
        return self.link()

    def number(self) -> str:
        """The number that was asked for last."""
        return self._find(r"type (\d{4}) on the page")

    def _find(self, pattern: str) -> str:
        until(lambda: re.search(pattern, self.text) is not None, pattern)
        found = re.findall(pattern, self.text)[-1]
        assert isinstance(found, str)
        return found

    def end(self) -> None:
        """Press Ctrl-C, and wait for the process."""
        with suppress(ProcessLookupError):
            os.kill(self.process, signal.SIGINT)
        os.waitpid(self.process, 0)
        os.close(self._terminal)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store, and a configuration of the test's own."""
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    be_nobody(monkeypatch)
    Store.open(store_path()).close()
    return store_path()


@pytest.fixture
def terminal(store: Path) -> Iterator[PageTerminal]:
    """The terminal of a page over that store."""
    opened = PageTerminal()
    yield opened
    opened.end()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests of the page."""
    assert CHROMIUM, "the page is looked at: apt-get install chromium"
    with sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"], timeout=4 * TIMEOUT_MS
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, terminal: PageTerminal) -> Iterator[Page]:
    """The page, opened by its link."""
    context = browser.new_context()
    context.set_default_timeout(TIMEOUT_MS)
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.goto(terminal.link())
    yield opened
    context.close()
    assert not complaints
