"""A view that is drawn again and again: on a terminal in place, elsewhere one after the other."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import sleep

ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # xterm: another screen, no cursor
HOME, LINE_END, REST = "\x1b[H", "\x1b[K", "\x1b[J"
QUIT = b"qQ\x03\x04"  # and Ctrl-C and Ctrl-D


class Screen:
    """Where the view is drawn; to be had from `opened_screen`."""

    def __init__(self, *, is_terminal: bool) -> None:
        self._is_terminal = is_terminal

    def draw(self, lines: list[str]) -> None:
        """Show lines in place of those before; what does not fit is cut, and counted."""
        if not self._is_terminal:
            sys.stdout.write("\n".join(lines) + "\n")
            sys.stdout.flush()
            return
        size = os.get_terminal_size(1)  # not COLUMNS, which stays as the window changes
        width, height = size.columns or 80, size.lines or 24
        if len(lines) > height > 1:
            lines = [*lines[: height - 1], f"and {len(lines) - height + 1} more lines"]
        shown = [line[: width - 1] + LINE_END for line in lines]
        sys.stdout.write(HOME + "\n".join(shown) + REST)
        sys.stdout.flush()

    def wait(self, seconds: float) -> bool:
        """Wait before the next view; False where the user wants no more."""
        if not self._is_terminal or not _has_keys():
            sleep(seconds)
            return True
        ready, _, _ = select.select([0], [], [], seconds)
        if not ready:
            return True
        keys = os.read(0, 64)
        return bool(keys) and not any(key in QUIT for key in keys)


def _has_keys() -> bool:
    return sys.platform != "win32" and os.isatty(0)


@contextmanager
def opened_screen() -> Iterator[Screen]:
    """A screen of our own, which leaves the terminal as it was."""
    if not sys.stdout.isatty():
        try:
            yield Screen(is_terminal=False)
        except KeyboardInterrupt:
            pass
        except BrokenPipeError:  # the reader has what it wanted; nor is there more at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return
    with _keys_at_once(), _ended_as_by_key():
        sys.stdout.write(ENTER)
        try:
            yield Screen(is_terminal=True)
        except KeyboardInterrupt:
            pass
        finally:
            sys.stdout.write(LEAVE)
            sys.stdout.flush()


@contextmanager
def _keys_at_once() -> Iterator[None]:
    """Read keys as they are pressed, without showing them."""
    if sys.platform == "win32" or not os.isatty(0):
        yield
        return
    import termios
    import tty

    before = termios.tcgetattr(0)
    tty.setcbreak(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


@contextmanager
def _ended_as_by_key() -> Iterator[None]:
    """Take SIGTERM for Ctrl-C, so that the terminal is left as it was."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
