"""Notifications of pending decisions, and the tray icon, in addition to the page.

Both come with the extra `desktop`, and are loaded only if an option asks for them. A notification
has our words and the user's name of a server, and no text that a server or an agent wrote. Its link
opens the card in a browser that is signed in already, as a client's question does.
"""

import asyncio
import logging
import os
import sys
import webbrowser
from asyncio.subprocess import PIPE
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic

from pipeguard.errors import InputError, StateError
from pipeguard.installation import require_extra
from pipeguard.runtime.questions import make_hourly_limit
from pipeguard.state.store import open_store
from pipeguard.ui.card import Card
from pipeguard.ui.cards import find_waiting
from pipeguard.unicode.display import NAME_CHARS, show

TRAY = (sys.executable, "-E", "-P", "-m", "pipeguard.ui.tray")
LOOK_SECONDS = 0.5
LONGEST_SECONDS = 10.0  # without a look: a call's wait ends without a change of the store
# Desktops take a notification's text for markup, and what looks like an address for a link (Desktop
# Notifications Specification, Markup): a name is drawn without the characters of both.
_PLAIN = str.maketrans("<>&:/.", "＜＞＆：／․")


class Desktop:
    """The notifications of one page, and its tray icon.

    Args:
        store: the store's file.
        say: prints a line on the terminal.
        with_tray: whether there is an icon, too.

    Attributes:
        address: the page's address, as `127.0.0.1:7419`.

    Raises:
        InputError: the extra is not installed, or nothing can show an icon.
    """

    def __init__(self, store: Path, say: Callable[[str], None], *, with_tray: bool) -> None:
        require_extra("desktop", "notifications and the tray icon", InputError)
        is_linux = sys.platform == "linux"
        if with_tray and is_linux and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
            raise InputError("there is no desktop here that shows an icon.\n  Leave out --tray.")
        from desktop_notifier import DesktopNotifier

        self._store, self._say, self._with_tray = store, say, with_tray
        self._notifier, self._limit = (
            DesktopNotifier("PipeGuard", None),
            make_hourly_limit(),
        )
        logging.getLogger("desktop_notifier.backends.base").addFilter(self._complain)
        self._told = set[str]()
        self._count: int | None = None
        self._seen, self._looked, self._is_paused = -1, 0.0, False
        self._tray: asyncio.StreamWriter | None = None
        self.address = ""

    def _complain(self, record: logging.LogRecord) -> bool:
        """Explain in one line why a notification failed: the library logs it, with a trace."""
        error = record.exc_info[1] if record.exc_info else None
        self._say(f"No notification could be shown: {error or record.getMessage()}")
        return False

    async def accompany(
        self, work: Coroutine[None, None, None], address: str, open_page: Callable[[], None]
    ) -> None:
        """Follow the store until the work ends, or until the person quits by the icon.

        Args:
            work: the page's work.
            address: the page's address, as `127.0.0.1:7419`.
            open_page: opens the page by a link of its own.
        """
        self.address = address
        works = [work, self._follow_store()]
        if self._with_tray:
            works.append(self._follow_tray(open_page))
        tasks = [asyncio.create_task(each) for each in works]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
        finally:
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow_store(self) -> None:
        with open_store(self._store) as store:
            while True:
                try:
                    await self._refresh(store.change_counter())
                except StateError:
                    self._count = None
                    self._tell_tray()
                await asyncio.sleep(LOOK_SECONDS)

    async def _refresh(self, change: int) -> None:
        if change == self._seen and monotonic() - self._looked < LONGEST_SECONDS:
            return
        waiting = await asyncio.to_thread(self._look)
        self._seen, self._looked = change, monotonic()
        self._count = len(waiting)
        self._tell_tray()
        await self.notify(waiting)

    def _look(self) -> list[Card]:
        with open_store(self._store) as store:
            return find_waiting(store)

    async def notify(self, waiting: Sequence[Card]) -> None:
        """Show all cards that are new since the last time in one notification.

        While paused, or after an hour's limit, it keeps new cards for a later notification.
        """
        known = [card for card in waiting if _keys(card) & self._told]
        new = [card for card in waiting if card not in known]
        self._told = set[str]().union(*map(_keys, known))
        if new and not self._is_paused and not self._limit.seconds_to_wait(monotonic()):
            self._told.update(*map(_keys, new))
            await self._send(new)

    async def _send(self, cards: Sequence[Card]) -> None:
        from desktop_notifier import Button

        def look() -> None:
            loop.run_in_executor(None, webbrowser.open, link)

        loop, link = asyncio.get_running_loop(), f"http://{self.address}/#{cards[0].id}"
        buttons = [Button("Look at it", look)]
        await self._notifier.send(*write_notification(cards), on_clicked=look, buttons=buttons)

    async def _follow_tray(self, open_page: Callable[[], None]) -> None:
        # In a session of its own, for Ctrl-C is for the page, which then ends the icon.
        tray = await asyncio.create_subprocess_exec(
            *TRAY, stdin=PIPE, stdout=PIPE, start_new_session=True
        )
        self._tray = tray.stdin
        assert tray.stdout is not None  # noqa: S101  a pipe, as above
        try:
            self._tell_tray()
            while word := (await tray.stdout.readline()).decode().strip():
                if word == "quit":
                    return
                if word == "open":
                    asyncio.get_running_loop().run_in_executor(None, open_page)
                else:
                    self._is_paused, self._seen = not self._is_paused, -1
        finally:
            self._tray = None
            with suppress(ProcessLookupError):
                tray.kill()
            await tray.wait()
        self._say("The tray icon has ended. The page keeps running.")
        await asyncio.Event().wait()

    def _tell_tray(self) -> None:
        if self._tray is not None:
            count = -1 if self._count is None else self._count
            self._tray.write(f"{count} {self._is_paused:d}\n".encode())


def write_notification(cards: Sequence[Card]) -> tuple[str, str]:
    """Write the title and text of a notification of pending decisions, the most urgent first."""
    first, more = cards[0], len(cards) - 1
    name = "" if not first.names_server else f": {show(first.server, NAME_CHARS).translate(_PLAIN)}"
    others = f", and {more} more" if more else ""
    return "PipeGuard needs your decision", f"{first.what}{name}\n{first.group}{others}"


def _keys(card: Card) -> set[str]:
    """Return the keys of a card, at least one of which is stable while its decision is pending."""
    return {card.id, card.dismissal} - {""}
