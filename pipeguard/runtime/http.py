"""A server behind an address of ours: who may come in, what answers, and how it ends.

Puts the parts together on one event loop, in the main thread. Nothing here judges.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import NamedTuple

from pipeguard.config.options import WrapOptions
from pipeguard.core.finding import Verdict
from pipeguard.core.protocol.places import Surface
from pipeguard.core.protocol.strict_json import STACK_BYTES
from pipeguard.errors import LaunchError, StateError
from pipeguard.identity.server_name import Launched, launched, launched_at
from pipeguard.launch.child import Command
from pipeguard.launch.environment import child_environment, parent_environment, refers
from pipeguard.log import say
from pipeguard.runtime.connect import LocalDialler, RemoteDialler
from pipeguard.runtime.endpoints import (
    entrance_of,
    login_of,
    name_of,
    named_variables,
    remote_of,
    server_context,
    transport_of,
    url_of,
)
from pipeguard.runtime.numbers import number_of
from pipeguard.runtime.run import Mask, Run
from pipeguard.runtime.stdio import GRACE_SECONDS, MOST_GRACE_SECONDS
from pipeguard.transports.backlog import SPARE_BYTES, Backlog
from pipeguard.transports.channel import Dialler
from pipeguard.transports.http.client.multiplexer import Multiplexer
from pipeguard.transports.http.client.upstream import connect
from pipeguard.transports.http.server.fallback import Chooser
from pipeguard.transports.http.server.listener import MCP, MESSAGES, Endpoint, Front, listen
from pipeguard.transports.http.server.metadata import Metadata
from pipeguard.transports.http.server.refusals import Refusals
from pipeguard.transports.http.server.relay import Relay
from pipeguard.transports.http.server.sessions import Conversations
from pipeguard.transports.http.server.sse_and_websocket import Talks
from pipeguard.transports.http.server.streamable import Posted
from pipeguard.transports.judging import Judge

MAX_SESSIONS = 1000
IDLE_SECONDS = 1800.0
SWITCH_SECONDS = 0.001  # instead of 0.005
_THREADS = 128  # that wait for servers to end; each holds one of them
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of malloc.h
_LARGE_BLOCK_BYTES = 2**18
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def serve(options: WrapOptions) -> int:
    """Answer clients at an address until somebody wants an end.

    Returns:
        0 after SIGTERM or SIGINT.

    Raises:
        PipeGuardError: it could not begin, or the audit cannot be written and policy says to stop.
    """
    with asyncio.Runner(loop_factory=_loop) as runner:
        return runner.run(_Served(options).run())


def _loop() -> asyncio.AbstractEventLoop:
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()


class _Behind(NamedTuple):
    """What answers, and what ends with it."""

    endpoint: Endpoint
    dialler: Dialler
    login: Metadata | None = None
    is_ready: Callable[[], bool] = lambda: True


class _Served:
    """One listener, from its start to its end."""

    def __init__(self, options: WrapOptions) -> None:
        self._options = options
        self._failure: StateError | None = None
        self._judge = Judge(self._record)

    async def run(self) -> int:
        """Listen until the end is asked for."""
        options = self._options
        self._loop = loop = asyncio.get_running_loop()
        threading.stack_size(STACK_BYTES)
        loop.set_default_executor(ThreadPoolExecutor(_THREADS))
        self._ended = loop.create_future()
        self._run = run = Run(self._launched(), options, self._changed)
        limit = run.guard.policy.limits.frame_bytes
        self._backlog = Backlog(limit + SPARE_BYTES)
        entrance, port = entrance_of(options, os.environ, limit)
        context = server_context(options)
        most = int(number_of(options, "--max-sessions", MAX_SESSIONS))
        idle = number_of(options, "--idle-timeout", IDLE_SECONDS)
        self._conversations = Conversations(run.guard, run.name, most, idle)
        listening = self._bound(entrance.host, port)
        for surface in Surface:
            run.guard.load(surface)
        behind = await self._behind(limit, most, idle)
        talks = Talks(self._conversations, behind.dialler.dial, self._judge, MESSAGES, limit, most)
        owners = self._conversations.owners
        entrance = entrance._replace(
            port=listening.getsockname()[1], owners=owners, backlog=self._backlog
        )
        refusals = Refusals(run.refuse)
        front = Front(
            entrance,
            behind.endpoint,
            talks,
            lambda: not self._ended.done() and behind.is_ready(),
            refusals,
            behind.login,
        )
        with _on_signal(loop, self._ended):
            await front.open(listening, context)
            run.begin()
            _settle()
            say(f"listening on {_shown(listening, tls=context is not None)}")
            await self._ended
            front.refuse()
            # First what is behind: so whoever waits is answered before connections end.
            await asyncio.gather(behind.endpoint.close(), talks.close())
            await behind.dialler.close()
            await front.close()
            refusals.close()
        run.close()
        if self._failure is not None:
            raise self._failure
        return 0

    def _launched(self) -> Launched:
        if self._options.command:
            return launched(self._options.command, self._options.values.get("--cwd"))
        url = url_of(self._options.values["--upstream"])
        return launched_at(str(url), name_of(url))

    def _bound(self, host: str, port: int) -> socket.socket:
        try:
            return listen(host, port)
        except OSError as error:
            what = self._options.values["--listen"]
            raise LaunchError(f"--listen {what}: {error.strerror or error}.", 1) from None

    async def _behind(self, limit: int, most: int, idle: float) -> _Behind:
        """What answers: a relay where both sides speak Streamable HTTP, else channels."""
        if self._options.command:
            dialler: Dialler = self._local(limit)
            if "--shared" in self._options.flags:
                dialler = Multiplexer(dialler)
            posted = self._posted(dialler, most, idle)
            return _Behind(posted, dialler, is_ready=posted.is_ready)
        url = url_of(self._options.values["--upstream"])
        login = login_of(self._options)
        own = login if login is not None and await login.header() is not None else None
        remote = remote_of(self._options, os.environ, limit, own)
        transport = transport_of(self._options, url)
        http = connect(remote)
        distant = RemoteDialler(remote, transport, http)
        metadata = Metadata(remote, http, MCP) if remote.passes_credentials else None
        if transport in ("sse", "websocket"):
            posted = self._posted(distant, most, idle)
            return _Behind(posted, distant, metadata, posted.is_ready)
        relay = Relay(remote, http, self._conversations, self._judge, self._backlog)
        if transport == "streamable-http":
            return _Behind(relay, distant, metadata)
        older = RemoteDialler(remote, "sse", http)
        chooser = Chooser(relay, self._posted(older, most, idle), distant.is_older)
        return _Behind(chooser, distant, metadata)

    def _posted(self, dialler: Dialler, most: int, idle: float) -> Posted:
        waits = not isinstance(dialler, Multiplexer)
        kept = self._backlog
        return Posted(self._conversations, dialler.dial, self._judge, most, idle, kept, waits=waits)

    def _local(self, limit: int) -> Dialler:
        inherits = "--inherit-env" in self._options.flags
        asked = named_variables(self._options.lists.get("--token-env", ()))
        environment = child_environment(
            {name: value for name, value in os.environ.items() if name not in asked},
            None if inherits else parent_environment(),
            extra=self._options.lists.get("--env", ()),
            inherit_all=inherits,
        )
        for missing in environment.missing:
            say(f"--env {missing}: there is no such variable to pass.")
        variables = environment.variables
        if refers(variables):
            from pipeguard.auth.secrets import all_resolved

            variables = all_resolved(variables)
        command = Command(self._options.command, variables, self._options.values.get("--cwd"))
        grace = number_of(self._options, "--grace", GRACE_SECONDS, MOST_GRACE_SECONDS)
        return LocalDialler(command, limit, grace, Mask(self._run.engines))

    def _record(self, verdict: Verdict) -> None:
        """Write a verdict down.

        Raises:
            StateError: it cannot be, and nothing may pass then.
        """
        if not self._run.record(verdict):
            self._failure = StateError("the audit cannot be written, and the policy says to stop.")
            if not self._ended.done():
                self._ended.set_result(None)
            raise self._failure

    def _changed(self, kinds: frozenset[str]) -> None:
        """In the recorder's thread."""
        self._loop.call_soon_threadsafe(self._conversations.relist, kinds)


def _settle() -> None:
    """What was loaded stays: it need not be looked through again for garbage.

    Scanning lets other threads run; they give back in a fifth of the usual time. What is freed
    goes back to the system: glibc would keep it, in an arena for each thread (mallopt(3)).
    """
    with suppress(AttributeError, OSError, TypeError):  # another library, or system
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, 2)
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _LARGE_BLOCK_BYTES)
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(SWITCH_SECONDS)


def _shown(listening: socket.socket, *, tls: bool) -> str:
    host, port = listening.getsockname()[:2]
    name = f"[{host}]" if ":" in host else host
    return f"{'https' if tls else 'http'}://{name}:{port}{MCP}"


@contextmanager
def _on_signal(loop: asyncio.AbstractEventLoop, ended: asyncio.Future[None]) -> Iterator[None]:
    """While signals ask for the end; a second one ends at once."""

    def end() -> None:
        if ended.done():
            os._exit(1)
        ended.set_result(None)

    if sys.platform == "win32":
        for number in _SIGNALS:
            signal.signal(number, lambda _number, _frame: loop.call_soon_threadsafe(end))
        yield
        return
    for number in (*_SIGNALS, signal.SIGHUP):
        loop.add_signal_handler(number, end)
    try:
        yield
    finally:
        for number in (*_SIGNALS, signal.SIGHUP):
            loop.remove_signal_handler(number)
