"""`pipeguard ui`: the web page on which a person watches events, and decides."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import click

from pipeguard.allocator import return_large_blocks
from pipeguard.cli._emit import choice, flag
from pipeguard.cli._page_host import HAS_ATTACHING, LINK, PageHost, attach, is_running
from pipeguard.errors import InputError
from pipeguard.launch.person import Person
from pipeguard.state.paths import store_path

if TYPE_CHECKING:
    from pipeguard.ui.desktop import Desktop

HIGHEST_PORT = 65_535


@click.command("ui", short_help="Open the web page on which you see what waits, and decide.")
@click.option(
    "--port",
    type=click.IntRange(0, HIGHEST_PORT),
    help="Of the page's address (0, and the default: any that is free).",
)
@flag("--no-browser", "Print the link, and open no browser.")
@flag("--notify", "Show notifications of what waits, on your desktop.")
@flag("--tray", "The same, and an icon that counts what waits.")
@choice(
    "--service",
    ["install", "remove", "run"],
    "Have systemd run the page while you are logged in; remove that again; or run it so.",
)
def command(
    *, port: int | None, no_browser: bool, notify: bool, tray: bool, service: str | None
) -> None:
    """Open a page of this machine that shows what waits for you, and takes your decisions.

    It is for all servers that PipeGuard guards here. The link works once; press Enter for another.
    An answer that lets something pass asks for a number, which this terminal shows. Ctrl-C ends the
    page; servers and gateways go on.

    If the page runs as a service, or in `pipeguard serve --listen`, this terminal is attached to it
    instead, unless you give --port: it shows a link, and the numbers until Ctrl-C.

    \b
    Examples:
      pipeguard ui
      pipeguard ui --port 7419 --no-browser
      pipeguard ui --tray
      pipeguard ui --service install
    """  # noqa: D301  click reads the mark
    if service is not None and not HAS_ATTACHING:
        raise InputError(
            "the page runs as a service only on Linux, where PipeGuard can tell which terminal may"
            " show its numbers.\n  Here it runs in a terminal:  pipeguard ui"
        )
    if service in {"install", "remove"}:
        from pipeguard.cli import _page_service

        if service == "install":
            _page_service.install(port)
        elif _page_service.remove():
            click.echo("The page no longer runs as a service.")
        else:
            click.echo("The page does not run as a service.")
        return
    person = None if service else Person.at_terminal()
    desktop = _make_desktop(port, tray=tray) if person and (notify or tray) else None
    with suppress(KeyboardInterrupt):
        if person is None or port is not None or not attach():
            return_large_blocks(arenas=1)
            is_browser_wanted = not no_browser
            asyncio.run(_serve(port or 0, person, desktop, is_browser_wanted=is_browser_wanted))


def _make_desktop(port: int | None, *, tray: bool) -> Desktop:
    if port is None and is_running():
        raise InputError(
            "another process serves the page, and cannot open it from this desktop.\n"
            "  Open one of your own:  pipeguard ui --port 0 " + ("--tray" if tray else "--notify")
        )
    from pipeguard.ui.desktop import Desktop

    return Desktop(store_path(), click.echo, with_tray=tray)


async def _serve(
    port: int, person: Person | None, desktop: Desktop | None, *, is_browser_wanted: bool
) -> None:
    from aiohttp import web

    try:
        listening = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise InputError(
            f"port {port} cannot be used: {error.strerror}.\n  Leave out --port for a free one."
        ) from None
    host = PageHost(person)
    host.origin = f"http://127.0.0.1:{listening.getsockname()[1]}"
    try:
        if person is None:
            await host.listen()
        await web.SockSite(await host.load(), listening).start()
        if person is None:
            ended = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
            await ended.wait()
        else:
            _show_link(host, is_browser_wanted=is_browser_wanted)
            work = _follow_terminal(host)
            if desktop is not None:
                open_page = partial(_show_link, host, is_browser_wanted=True)
                work = desktop.accompany(work, host.origin.partition("//")[2], open_page)
            await work
    finally:
        await host.close()
        listening.close()


def _show_link(host: PageHost, *, is_browser_wanted: bool) -> None:
    """Print a new link, and open it."""
    link = host.make_link()
    host.show(f"{LINK}{link}")
    if is_browser_wanted:
        import webbrowser

        with suppress(webbrowser.Error):
            webbrowser.open(link)
    host.show("Press Enter for another link, Ctrl-C to end the page.")


async def _follow_terminal(host: PageHost) -> None:
    """Print a link for each line that the person types, until the end of the input."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await loop.connect_read_pipe(lambda: protocol, sys.stdin)
    try:
        while await reader.readline():
            _show_link(host, is_browser_wanted=False)
    finally:
        transport.close()
