"""`pipeguard ui`: the web page on which a person sees what happens, and decides."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import click

from pipeguard.cli._person import Person
from pipeguard.errors import InputError
from pipeguard.state.page_address import publish_address
from pipeguard.state.paths import store_path

if TYPE_CHECKING:
    from pipeguard.ui.desktop import Desktop
    from pipeguard.ui.door import Door

HIGHEST_PORT = 65_535


@click.command("ui", short_help="Open the web page on which you see what waits, and decide.")
@click.option(
    "--port",
    type=click.IntRange(0, HIGHEST_PORT),
    default=0,
    help="Of the page's address (default: any that is free).",
)
@click.option("--no-browser", is_flag=True, help="Print the link, and open no browser.")
@click.option("--notify", is_flag=True, help="Show notifications of what waits, on your desktop.")
@click.option("--tray", is_flag=True, help="The same, and an icon that counts what waits.")
def command(*, port: int, no_browser: bool, notify: bool, tray: bool) -> None:
    """Open a page of this machine that shows what waits for you, and takes your decisions.

    It is for all servers that PipeGuard guards here. The link works once; press Enter for another.
    An answer that lets something pass asks for a number, which this terminal shows. Ctrl-C ends the
    page; servers and gateways go on.

    \b
    Examples:
      pipeguard ui
      pipeguard ui --port 7419 --no-browser
      pipeguard ui --tray
    """  # noqa: D301  click reads the mark
    by = f"{Person.at_terminal().name}, on the page"
    desktop = None
    if notify or tray:
        from pipeguard.ui.desktop import Desktop

        desktop = Desktop(store_path(), click.echo, with_tray=tray)
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(port, by, desktop, is_browser_wanted=not no_browser))


async def _serve(port: int, by: str, desktop: Desktop | None, *, is_browser_wanted: bool) -> None:
    from aiohttp import web

    from pipeguard.ui.app import make_app
    from pipeguard.ui.door import Door
    from pipeguard.ui.page import Page

    door = Door(click.echo)
    page = Page(store_path(), door, by)
    runner = web.AppRunner(make_app(page), access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        try:
            await site.start()
        except OSError as error:
            raise InputError(
                f"port {port} cannot be used: {error.strerror}.\n  Leave out --port for a free one."
            ) from None
        address = f"127.0.0.1:{runner.addresses[0][1]}"
        page.hosts = frozenset({address, f"localhost:{address.rpartition(':')[2]}"})
        _show_link(door, address, is_browser_wanted=is_browser_wanted)
        work = _follow_terminal(door, address)
        if desktop is not None:
            open_page = partial(_show_link, door, address, is_browser_wanted=True)
            work = desktop.accompany(work, address, open_page)
        with publish_address(f"http://{address}"):
            await work
    finally:
        await runner.cleanup()


def _show_link(door: Door, address: str, *, is_browser_wanted: bool) -> None:
    """Print a new link, and open it."""
    link = f"http://{address}/enter?key={door.make_link_key()}"
    click.echo(f"The page is at this link, which works once:\n  {link}")
    if is_browser_wanted:
        import webbrowser

        with suppress(webbrowser.Error):
            webbrowser.open(link)
    click.echo("Press Enter for another link, Ctrl-C to end the page.")


async def _follow_terminal(door: Door, address: str) -> None:
    """Print a link for each line that the person types, until the end of the input."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await loop.connect_read_pipe(lambda: protocol, sys.stdin)
    try:
        while await reader.readline():
            _show_link(door, address, is_browser_wanted=False)
    finally:
        transport.close()
