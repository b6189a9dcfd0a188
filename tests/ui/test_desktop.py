"""Notifications and the tray icon, with a real bus, daemon and tray on a screen of their own."""

import asyncio
import os
import re
import select
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep

import pytest

from pipeguard import installation
from pipeguard.errors import InputError
from pipeguard.runtime.questions import HOUR_SECONDS, QUESTIONS_PER_HOUR
from pipeguard.state.proposals import propose
from pipeguard.state.recorder import Recorder
from pipeguard.state.store import open_store
from pipeguard.ui.cards import ProposalCard, find_waiting
from pipeguard.ui.desktop import LOOK_SECONDS, Desktop, write_notification
from tests.launch.processes import PATIENCE_SECONDS, is_running, until
from tests.state.samples import silent, verdict
from tests.ui.conftest import PageTerminal
from tests.ui.samples import SECRET, fill, stop
from tests.ui.test_door import ask

NOTIFIED = re.compile(r"summary: '(.*)'\n\s*body: '(.*(?:\n.*)?)'")
HOSTILE = "<b>x</b> <a href='http://evil.example/'>www.evil.example</a> &amp; \u202e\x1b[31m"

pytestmark = [
    pytest.mark.needs(program)
    for program in ("Xvfb", "dbus-daemon", "dunst", "trayer", "xdotool", "libxcb-cursor")
]

MENU_SECONDS = 1.0


class Screen:
    """A desktop: its notifications, its tray and its browser's addresses."""

    def __init__(self, folder: Path) -> None:
        self._printed, self._opened = folder / "printed", folder / "opened"

    def notifications(self) -> list[tuple[str, str]]:
        """The title and the text of each."""
        return NOTIFIED.findall(self._printed.read_text())

    def click_notification(self) -> None:
        """Click on the newest."""
        subprocess.run(["dunstctl", "action"], check=True)

    def opened(self) -> list[str]:
        """The addresses that the browser was to open."""
        return self._opened.read_text().split() if self._opened.exists() else []

    def windows(self) -> list[str]:
        """The windows of the icon and of its menu, if that is open."""
        return _run("xdotool", "search", "--onlyvisible", "--class", "^pipeguard$").split()

    def click_icon(self) -> None:
        """Click on the icon."""
        self._click_icon(1)

    def open_page(self) -> None:
        """Click on the icon until the page is opened once more."""
        count = len(self.opened())

        def opens() -> bool:
            self._click_icon(1)
            sleep(MENU_SECONDS)
            return len(self.opened()) > count

        until(opens, "the page is opened")

    def choose(self, key: str) -> None:
        """Choose from the icon's menu by the letter that is underlined."""

        def closes() -> bool:
            _run("xdotool", "key", key)
            sleep(MENU_SECONDS)  # to close: a second key would take the choice back
            return len(self.windows()) < 2

        until(self._opens_menu, "the menu is open")
        # It is drawn before it listens; what it hears first closes it.
        until(closes, "it is chosen")

    def _opens_menu(self) -> bool:
        """Click as a person does, again after a while: while a menu closes, a click is lost."""
        if len(self.windows()) != 2:
            self._click_icon(3)
            sleep(MENU_SECONDS)
        return len(self.windows()) == 2

    def _click_icon(self, button: int) -> None:
        until(lambda: len(self.windows()) == 1, "the icon is there, and no menu")
        (icon,) = self.windows()
        _run("xdotool", "mousemove", "--window", icon, "5", "5", "click", f"{button}")


def _run(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60).stdout


@pytest.fixture
def screen(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    """A desktop with nothing on it."""
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/opened\n')
    browser.chmod(0o700)
    monkeypatch.setenv("BROWSER", str(browser))
    with ExitStack() as stack:

        def start(*words: str, said_on: int = -1, output: int | None = None) -> str:
            """Start a program for the time of a test; return the line from its descriptor."""
            process = subprocess.Popen(
                words, stdout=output, stderr=subprocess.DEVNULL, pass_fds=[writer]
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)
            if said_on < 0:
                return ""
            assert select.select([reader], [], [], PATIENCE_SECONDS)[0], f"{words[0]} did not start"
            return os.read(reader, 1000).decode().strip()

        reader, writer = os.pipe()
        stack.callback(os.close, reader)
        stack.callback(os.close, writer)
        words = ("dbus-daemon", "--session", "--nofork", f"--print-address={writer}")
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", start(*words, said_on=writer))
        size = ("-screen", "0", "800x600x24", "-nolisten", "tcp")
        number = start("Xvfb", "-displayfd", f"{writer}", *size, said_on=writer)
        monkeypatch.setenv("DISPLAY", f":{number}")
        with open(tmp_path / "printed", "wb") as printed:
            start("dunst", "-print", output=printed.fileno())
        start("trayer", "--edge", "top", "--align", "left", "--widthtype", "request")
        until(lambda: "false" in _run("dunstctl", "is-paused"), "a daemon shows notifications")
        yield Screen(tmp_path)


def test_what_waits_is_notified_once_and_the_icon_works(store: Path, screen: Screen) -> None:
    fill(store)  # before the page looks: else it may tell of it in two notifications
    terminal = PageTerminal("ui", "--no-browser", "--tray")
    here = terminal.link().partition("/enter")[0]
    until(lambda: len(screen.windows()) == 1, "the icon is there")
    until(lambda: len(screen.notifications()) == 1, "what waits is notified")
    title, text = screen.notifications()[0]
    assert title == "PipeGuard needs your decision"
    assert text == "A call waits: weather\nHolds up an agent, and 5 more"
    screen.click_notification()
    until(lambda: screen.opened() == [f"{here}/#BBBBBBBB.c1"], "the card is opened")
    screen.click_icon()
    until(lambda: len(screen.opened()) == 2, "the page is opened")
    assert screen.opened()[1] == terminal.link()
    assert [ask(terminal.link())[0] for _ in range(2)] == [303, 403]
    screen.choose("p")  # pause
    screen.open_page()  # the page hears of clicks in their order
    stop(store, "DDDDDDDD.c1", SECRET._replace(content="0" * 32, tool="second"))
    sleep(3 * LOOK_SECONDS)
    assert len(screen.notifications()) == 1
    screen.choose("p")
    until(lambda: len(screen.notifications()) == 2, "what came meanwhile is notified")
    assert screen.notifications()[1][1] == "A call was stopped: weather\nStopped, perhaps wrongly"
    screen.choose("q")  # quit
    until(lambda: not is_running(terminal.process), "the page ends")
    until(lambda: not screen.windows(), "the icon is gone")
    terminal.end()


def notify(store: Path, desktop: Desktop) -> None:
    with open_store(store) as opened:
        waiting = find_waiting(opened)
    asyncio.run(desktop.notify(waiting))


def test_a_notification_has_no_markup_and_nobody_elses_text(store: Path, screen: Screen) -> None:
    recorder = Recorder(store, HOSTILE, "AAAAAAAA", log=silent)
    recorder.record(verdict("AAAAAAAA.c1", b"{}", (SECRET._replace(excerpt=HOSTILE),)))
    recorder.close()
    notify(store, Desktop(store, print, with_tray=False))
    until(lambda: len(screen.notifications()) == 1, "it is shown")
    (name,) = re.findall("A call was stopped: (.*)\n", screen.notifications()[0][1])
    assert not set("<>&/.:\x1b\u202e") & set(name)
    assert "⟨U+202E⟩" in name
    with open_store(store) as opened:
        propose(opened, "<b>linear</b>", '{"command": "npx"}', "builder", "https://evil.example")
        cards = [each for each in find_waiting(opened) if isinstance(each, ProposalCard)]
    assert write_notification(cards)[1] == "A proposal\nHeld until you decide"


def test_notifications_are_limited_and_what_was_left_out_is_told_of_later(
    store: Path, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    desktop = Desktop(store, print, with_tray=False)
    for number in range(QUESTIONS_PER_HOUR + 2):
        stop(store, f"FULL{number:04}.c1", SECRET._replace(content=f"{number:032x}"))
        notify(store, desktop)
        notify(store, desktop)
    until(lambda: len(screen.notifications()) >= QUESTIONS_PER_HOUR, "they are shown")
    assert len(screen.notifications()) == QUESTIONS_PER_HOUR
    monkeypatch.setattr("pipeguard.ui.desktop.monotonic", lambda: monotonic() + HOUR_SECONDS + 1)
    notify(store, desktop)
    until(lambda: len(screen.notifications()) > QUESTIONS_PER_HOUR, "the rest is shown")
    assert screen.notifications()[-1][1].endswith("perhaps wrongly, and 1 more")


def test_without_a_daemon_the_page_says_why_nothing_is_notified(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent")
    fill(store)
    terminal = PageTerminal("ui", "--no-browser", "--notify")
    until(lambda: "No notification could be shown" in terminal.text, "it says so")
    terminal.end()


def test_the_extra_and_a_screen_have_to_be_there(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(InputError, match="Leave out --tray"):
        Desktop(store, print, with_tray=True)
    monkeypatch.setattr(installation, "EXTRAS", {"desktop": ("no.such.module",)})
    with pytest.raises(InputError, match=r"need mcp-pipeguard\[desktop\]"):
        Desktop(store, print, with_tray=False)


def test_a_page_loads_nothing_that_it_was_not_asked_for(terminal: PageTerminal) -> None:
    assert terminal.link()
    loaded = Path(f"/proc/{terminal.process}/maps").read_text()
    assert "aiohttp" in loaded
    assert not re.search("PySide6|dbus_fast|tantivy", loaded)
