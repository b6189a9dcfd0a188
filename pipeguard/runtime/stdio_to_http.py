"""A guarded server at an address, for a client that speaks stdio."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from threading import Thread

from pipeguard.config.options import WrapOptions
from pipeguard.identity.server_name import identify_remote
from pipeguard.launch.command import Exit
from pipeguard.runtime.connect import RemoteDialler
from pipeguard.runtime.endpoints import (
    name_remote,
    read_login,
    read_remote,
    read_transport,
    read_url,
)
from pipeguard.runtime.run import start_thread
from pipeguard.runtime.stdio import GuardedServer, TargetServer
from pipeguard.transports.bridge import BlockingAdapter
from pipeguard.transports.channel import Channel, RemoteChannel
from pipeguard.transports.http.client.upstream import Remote
from pipeguard.transports.judging import with_value
from pipeguard.transports.stdio import LineChannel

JOIN_SECONDS = 5.0


def guard_remote(options: WrapOptions, client_fd: int) -> GuardedServer:
    """Make the guard of a server at an address.

    Raises:
        PipeGuardError: it cannot be guarded.
    """
    server = RemoteServer(options)
    url = read_url(options.values["--upstream"])
    launched = identify_remote(str(url), name_remote(url))
    return GuardedServer(server, launched, options, lambda limit: _ParsedLines(0, client_fd, limit))


class _ParsedLines(LineChannel):
    """The client's lines with their values, which the channel to the server reads as well."""

    def read(self) -> bytes | None:
        frame = super().read()
        return None if frame is None else with_value(frame)


class RemoteServer(TargetServer):
    """A server at an address: only its frames are visible, and it lives on after we hang up."""

    def __init__(self, options: WrapOptions, *, logs_in: bool = True) -> None:
        """Check the options.

        Args:
            options: of the command line.
            logs_in: use our login, if there is one.

        Raises:
            PolicyError: an option is wrong.
        """
        self._options = options
        self._logs_in = logs_in
        self._transport = read_transport(options, read_url(options.values["--upstream"]))
        read_remote(options, os.environ, 1)  # report what is wrong before anything is loaded
        self._loop = asyncio.new_event_loop()
        self._channel: BlockingAdapter | None = None
        self._running: Thread | None = None

    def channel(self, limit_bytes: int) -> Channel:
        """Open a channel, on a loop in a thread of its own."""
        login = read_login(self._options) if self._logs_in else None
        remote = read_remote(self._options, os.environ, limit_bytes, login)
        self._running = start_thread("network", self._loop.run_forever)
        opening = asyncio.run_coroutine_threadsafe(self._open(remote), self._loop)
        self._dialler, self._opened = opening.result()
        self._channel = BlockingAdapter(self._loop, self._opened)
        return self._channel

    async def _open(self, remote: Remote) -> tuple[RemoteDialler, RemoteChannel]:
        dialler = RemoteDialler(remote, self._transport)
        return dialler, await dialler.dial()

    def end(self, grace_seconds: float) -> Exit:
        """Hang up once every request is answered, or the grace is over."""
        if self._channel is not None:
            draining = asyncio.run_coroutine_threadsafe(self._drain(grace_seconds), self._loop)
            draining.result(grace_seconds + JOIN_SECONDS)
            self._channel.close()
            asyncio.run_coroutine_threadsafe(self._dialler.close(), self._loop).result(JOIN_SECONDS)
        return Exit(0)

    def close(self) -> None:
        """End the loop."""
        if self._running is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._running.join(JOIN_SECONDS)
        if self._running is None or not self._running.is_alive():
            self._loop.close()

    async def _drain(self, grace_seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds):
                await self._opened.drain()
