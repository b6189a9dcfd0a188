"""`pipeguard top`: what the servers do now, in a terminal or for a script."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import sleep
from typing import NamedTuple

import click

from pipeguard.cli._sources import read_token
from pipeguard.errors import PipeGuardError
from pipeguard.state.activity import ServerActivity
from pipeguard.unicode.display import visible, visible_lines

COLUMNS = ("SERVER", "STATE", "CALLS/S", "P50 MS", "P99 MS", "BLOCKED", "HELD", "WAITING")
MOST_LOOKS = 1000  # at /metrics that are remembered


ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # xterm: another screen, no cursor
HOME, LINE_END, REST = "\x1b[H", "\x1b[K", "\x1b[J"
QUIT = b"qQ\x03\x04"  # and Ctrl-C and Ctrl-D


class Screen:
    """The screen on which the view is drawn; `opened_screen` makes it."""

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


class _ActivityView(NamedTuple):
    """The view at one moment.

    Attributes:
        source: where it is from, for people.
        servers: what each did; None where that cannot be known now.
        why: why it cannot be known; else empty.
        seconds: for which a gateway's figures are known, at most those asked for; None for all.
    """

    source: str
    servers: list[ServerActivity] | None
    why: str = ""
    seconds: float | None = None


@click.command("top")
@click.option("--url", help="Of a gateway that listens (default: what is in the audit).")
@click.option("--token-env", metavar="NAME", help="The variable with a token for --url.")
@click.option(
    "--window", type=click.FloatRange(1, 3600), default=60.0, help="Seconds to look back (60)."
)
@click.option(
    "--interval", type=click.FloatRange(0.2, 3600), default=2.0, help="Seconds between views (2)."
)
@click.option("--once", is_flag=True, help="Show one view, and end, as without a terminal.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, a line for each view.")
def command(
    url: str | None,
    token_env: str | None,
    window: float,
    interval: float,
    **flags: bool,
) -> None:
    """Show what each server does now: calls, their times, what was blocked, what waits for you.

    `held` counts what did not go on only since a definition waits, as a call of a new tool.

    Without --url, by the audit: every server that this user guards, with `wrap` or `serve`, over
    any transport; its state is `active` if anything went through in the last seconds (--window).
    With --url, by the figures of that gateway, which also knows whether a server is up; times are
    estimated from a histogram, and at first go back a minute. End it with q or Ctrl-C. Without a
    terminal it shows one view; with --json, a line for each until you end it.

    \b
    Examples:
      pipeguard top
      pipeguard top --once --json
      pipeguard top --url http://127.0.0.1:8080 --token-env GATEWAY_TOKEN

    \b
    Exit codes:
      0  ended by you, or after one view
      1  with one view: the gateway does not answer
      2  a wrong option
      4  the store cannot be read
    """  # noqa: D301  click reads the mark
    as_json = flags["as_json"]
    is_once = flags["once"] or not (as_json or sys.stdout.isatty())
    token = read_token(url, token_env)
    look = _by_audit(window) if url is None else _by_figures(url, token, window)
    if is_once:
        view = look()
        if view.why:
            raise PipeGuardError(view.why)
        click.echo(_json(view, window) if as_json else "\n".join(_table(view, window)))
        return
    with opened_screen() as screen:
        is_wanted = True
        while is_wanted:
            view = look()
            screen.draw([_json(view, window)] if as_json else _table(view, window))
            is_wanted = screen.wait(interval)


def _by_audit(window: float) -> Callable[[], _ActivityView]:
    from pipeguard.state.activity import recent_activity
    from pipeguard.state.paths import store_path
    from pipeguard.state.store import Store

    def look() -> _ActivityView:
        with Store.open(store_path()) as store:
            return _ActivityView("the audit", recent_activity(store, time.time(), window))

    return look


def _by_figures(url: str, token: str, window: float) -> Callable[[], _ActivityView]:
    from pipeguard.gateway.scraped_activity import Scrape, measure_activity, scrape

    looks: deque[Scrape] = deque(maxlen=MOST_LOOKS)

    def look() -> _ActivityView:
        try:
            if not looks:
                looks.append(scrape(url, token, time.monotonic(), window))
            looks.append(scrape(url, token, time.monotonic()))
        except PipeGuardError as error:
            return _ActivityView(url, None, str(error))
        while len(looks) > 2 and looks[1].time <= looks[-1].time - window:
            looks.popleft()
        seconds = looks[-1].time - looks[0].time
        return _ActivityView(url, measure_activity(looks[0], looks[-1]), seconds=seconds)

    return look


def _json(view: _ActivityView, window: float) -> str:
    servers = None if view.servers is None else [server._asdict() for server in view.servers]
    fields = {"source": view.source, "window_seconds": window, "servers": servers}
    return json.dumps({**fields, "why": view.why} if view.why else fields)


def _table(view: _ActivityView, window: float) -> list[str]:
    seconds = round(window if view.seconds is None else min(view.seconds, window), 1)
    title = f"pipeguard top: {visible(view.source)}, the last {seconds:g} s"
    if view.servers is None:
        return [title, "", *visible_lines(view.why).split("\n")]
    if not view.servers:
        return [title, "", "Nothing has gone through, and nothing waits."]
    rows = [COLUMNS, *map(_row, view.servers)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, state, *numbers in rows:
        cells = [name.ljust(widths[0]), state.ljust(widths[1])]
        cells += [text.rjust(width) for text, width in zip(numbers, widths[2:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return [title, "", *lines]


def _row(server: ServerActivity) -> tuple[str, ...]:
    return (
        visible(server.server),
        visible(server.state),
        f"{server.calls_per_second:.1f}",
        _milliseconds(server.p50_ms),
        _milliseconds(server.p99_ms),
        str(server.blocked),
        str(server.held),
        str(server.waiting),
    )


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
