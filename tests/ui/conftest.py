"""A page that a person has opened: `pipeguard ui` on a terminal of its own, and a browser."""

from __future__ import annotations

import os
import pty
import re
import shutil
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from pipeguard.config.user_policy import usual_policy_path
from pipeguard.state.paths import store_path
from pipeguard.state.store import Store
from tests.launch.processes import until
from tests.people import be_nobody
from tests.wrap.wrapped import PIPEGUARD

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
TIMEOUT_MS = 30_000  # a busy machine draws a page in seconds
expect.set_options(timeout=TIMEOUT_MS)
PATIENT = "limits: {ask: 1 h}\n"  # usually 50 seconds, after which the card of a call is gone


class PageTerminal:
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
        self.text = ""
        self._numbers = 0  # that were typed
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        with suppress(OSError):  # the process has ended
            while data := os.read(self._terminal, 4096):
                self.text += data.decode("utf-8", "replace")

    def link(self) -> str:
        """The newest link."""
        return self._find(r"http://\S+key=\S+")

    def new_link(self) -> str:
        """Press Enter; return the link that follows."""
        before = self.link()
        os.write(self._terminal, b"\n")
        until(lambda: self.link() != before, "a new link")
        return self.link()

    def attach(self) -> str:
        """Type the number of a page that runs elsewhere; return the link that follows."""
        os.write(self._terminal, self._find(r"type (\d{4}): $").encode() + b"\n")
        return self.link()

    def number(self) -> str:
        """Return the next number that the page needs: its form may appear before we read it."""
        asked = re.compile(r"type (\d{4}) on the page")
        until(lambda: len(asked.findall(self.text)) > self._numbers, "a number is asked for")
        numbers = asked.findall(self.text)
        self._numbers = len(numbers)
        return str(numbers[-1])

    def _find(self, pattern: str) -> str:
        until(lambda: re.search(pattern, self.text) is not None, pattern)
        found = re.findall(pattern, self.text)[-1]
        assert isinstance(found, str)
        return found

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
    policy = Path(usual_policy_path())
    policy.parent.mkdir(parents=True)
    policy.write_text(PATIENT)
    Store.open(store_path()).close()
    return store_path()


@pytest.fixture
def terminal(store: Path) -> Iterator[PageTerminal]:
    """The terminal of a page over that store."""
    opened = PageTerminal()
    yield opened
    opened.end()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for the tests of a file; its event loop would be in the way of others."""
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
