"""`pipeguard serve`, from its start to its end: over stdio, or for clients at an address.

Puts the gateway behind a front, follows its sources, and ends all of it on a signal. Nothing here
judges.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

from pipeguard.config.effective_policy import load_wrap_policy
from pipeguard.config.options import WrapOptions
from pipeguard.core.finding import Direction
from pipeguard.core.session.session import Session
from pipeguard.errors import PipeGuardError
from pipeguard.gateway.front import FrontRecord, FrontSessions, front_guard
from pipeguard.gateway.gateway import Changes, Gateway
from pipeguard.gateway.listening import Front, GatewayListener
from pipeguard.gateway.server_settings import ServerSettings
from pipeguard.gateway.sources import Sources, Stamp
from pipeguard.gateway.tool_calls import ToolMode
from pipeguard.log import Log, say
from pipeguard.rulebook.cache import load_engines
from pipeguard.runtime.listening import (
    ending_on_signals,
    new_loop,
    prepare_threads,
    tune_process,
)
from pipeguard.runtime.progress import COMPILING, say_if_slow
from pipeguard.runtime.run import start_thread
from pipeguard.state.paths import store_file
from pipeguard.state.store import Store
from pipeguard.state.tokens import TokenReader, TokenScope
from pipeguard.transports.bridge import AsyncAdapter
from pipeguard.transports.channel import AsyncChannel, ChannelClosed
from pipeguard.transports.judging import Judge
from pipeguard.transports.pump import pump
from pipeguard.transports.stdio import LineChannel

GRACE_SECONDS = 5.0  # to answer what is in flight when the client hangs up
LAST_SECONDS = 1.0  # to tell the client that what is left is not answered
WATCH_SECONDS = 1.0  # between two looks at the sources
TICK_SECONDS = 0.5  # between two checks for overdue requests


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What `pipeguard serve` was asked for.

    Attributes:
        sources: where the servers come from.
        mode: how agents get to the tools; None as the file says.
        wrap: options of `wrap` that apply here: of listening, policy and log.
    """

    sources: Sources
    mode: ToolMode | None
    wrap: WrapOptions

    def common(self) -> dict[str, str]:
        """The options that apply to each server."""
        names = ("--policy", "--log-level", "--log-format", "--grace")
        return {name: self.wrap.values[name] for name in names if name in self.wrap.values}


def serve(options: ServeOptions, client_fd: int | None) -> int:
    """Answer clients until the one over stdio hangs up, or a signal comes.

    Args:
        options: what was asked for.
        client_fd: where frames for a client over stdio go; None to listen at an address.

    Returns:
        0.

    Raises:
        PipeGuardError: it could not begin.
    """
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(_Serving(options).run(client_fd))


class _Serving:
    """One run of the gateway."""

    def __init__(self, options: ServeOptions) -> None:
        self._options = options
        self._log = Log(
            options.wrap.values.get("--log-level"), options.wrap.values.get("--log-format")
        )
        self._listener: GatewayListener | None = None
        self._tokens: TokenReader | None = None

    async def run(self, client_fd: int | None) -> int:
        """Serve until the end."""
        options = self._options
        loop = asyncio.get_running_loop()
        prepare_threads(loop)
        ended = loop.create_future()
        policy = load_wrap_policy(options.wrap)
        stamp = options.sources.stamp()
        file = options.sources.read(os.environ)
        with say_if_slow(COMPILING):
            engines = load_engines()
        record = FrontRecord(self._log)
        guard = front_guard(engines, policy)
        if client_fd is None:
            self._tokens = TokenReader(Store.open(store_file()), say)
        mode = options.mode or file.mode
        self._gateway = Gateway(engines, mode, options.common(), self._scope_of)
        sessions = FrontSessions(guard, self._gateway.definition_of)
        self._front = Front(sessions, Judge(record.verdict), record)
        if self._tokens is not None:
            digests = self._tokens.digests if self._tokens.has_any() else None
            self._listener = GatewayListener(options.wrap, self._gateway, self._front, digests)
        with ending_on_signals(loop, ended):
            await self._apply(file.servers)
            watching = asyncio.create_task(self._watch(stamp))
            try:
                if client_fd is not None:
                    await self._over_stdio(client_fd, ended)
                elif self._listener is not None:
                    await self._listener.run(ended)
            finally:
                watching.cancel()
                await self._gateway.close()
                if self._tokens is not None:
                    self._tokens.close()
        return 0

    def _scope_of(self, who: str) -> TokenScope | None:
        """What the client of a token may do: all, where the token is one of the options."""
        if self._tokens is None or not who:
            return TokenScope()
        token = self._tokens.valid().get(who)
        if token is not None:
            return token.scope
        is_given = self._listener is not None and self._listener.is_given(who)
        return TokenScope() if is_given else None

    # --- over stdio -----------------------------------------------------------------------

    async def _over_stdio(self, client_fd: int, ended: asyncio.Future[None]) -> None:
        sessions, judge, _ = self._front
        limit = sessions.guard.policy.limits.frame_bytes
        client = AsyncAdapter(LineChannel(0, client_fd, limit), start_thread)
        server = await self._gateway.dial()
        session = sessions.new(None)
        to_server = asyncio.create_task(pump(session, Direction.TO_SERVER, client, server, judge))
        to_client = asyncio.create_task(pump(session, Direction.TO_CLIENT, server, client, judge))
        expiring = asyncio.create_task(_expire(session, client))
        tune_process()
        await asyncio.wait((to_server, to_client, ended), return_when=asyncio.FIRST_COMPLETED)
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE_SECONDS):
                await server.drain()
        to_server.cancel()
        await server.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE_SECONDS):
                await asyncio.gather(to_server, to_client, return_exceptions=True)
        expiring.cancel()
        to_client.cancel()
        try:
            async with asyncio.timeout(LAST_SECONDS):
                for frame in session.abandon():
                    await client.write(frame)
        except TimeoutError:  # it reads nothing
            await client.close()
        except ChannelClosed:
            pass
        await client.finish()

    # --- its sources ----------------------------------------------------------------------

    async def _watch(self, stamp: Stamp) -> None:
        """Follow the sources: a broken edit changes nothing, and is reported once."""
        sources = self._options.sources
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                present = await asyncio.to_thread(sources.stamp)
                if present == stamp:
                    continue
                stamp = present
                file = await asyncio.to_thread(sources.read, os.environ)
            except PipeGuardError as error:
                say(f"the servers stay as they are, since their file is wrong: {error}")
                continue
            await self._apply(file.servers)
            if self._options.mode is None:
                self._gateway.mode = file.mode

    async def _apply(self, servers: Iterable[ServerSettings]) -> None:
        self._tell(await self._gateway.apply(servers))
        if self._listener is not None:
            self._listener.follow()

    def _tell(self, changes: Changes) -> None:
        """Tell people what became of the servers."""
        for what, names in (
            ("added", changes.added),
            ("started again with other settings", changes.changed),
            ("removed", changes.removed),
        ):
            if names:
                self._log("info", f"servers {what}", names=", ".join(names))
        for name, why in changes.failed.items():
            self._log("error", f"the server {name} is left out", why=why)


async def _expire(session: Session, client: AsyncChannel) -> None:
    """Answer the requests that have waited for longer than the policy allows."""
    while session.guard.policy.limits.timeout_seconds is not None:
        await asyncio.sleep(TICK_SECONDS)
        for frame in session.expire(monotonic()):
            await client.write(frame)
