"""Opens channels to a guarded server, wherever it is: started here, or at an address."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

from pipeguard.config.options import WrapOptions
from pipeguard.errors import PipeGuardError
from pipeguard.isolation import ServerStarter
from pipeguard.launch.child import Child
from pipeguard.launch.command import Exit
from pipeguard.log import say
from pipeguard.runtime.endpoints import (
    identify_upstream,
    named_variables,
    read_login,
    read_remote,
    read_transport,
)
from pipeguard.runtime.numbers import read_number, read_variables
from pipeguard.runtime.run import Run, start_thread
from pipeguard.runtime.stdio import (
    EXIT_SECONDS,
    GRACE_SECONDS,
    MOST_GRACE_SECONDS,
    STDERR_SECONDS,
    GuardedServer,
)
from pipeguard.runtime.target_server import STDERR, TargetServer
from pipeguard.runtime.transports import transport as transport_named
from pipeguard.transports.bridge import AsyncAdapter, BlockingAdapter
from pipeguard.transports.channel import AsyncChannel, Channel, ChannelClosed, RemoteChannel
from pipeguard.transports.judging import with_value
from pipeguard.transports.stderr import StderrCopy
from pipeguard.transports.stdio import LineChannel

if TYPE_CHECKING:
    from pipeguard.transports.http.client.upstream import Remote

_Result = TypeVar("_Result")


def in_own_thread(name: str, work: Callable[[], _Result]) -> asyncio.Future[_Result]:
    """Do slow work in a thread that does not delay the end of this process."""
    done: concurrent.futures.Future[_Result] = concurrent.futures.Future()
    done.set_running_or_notify_cancel()

    def run() -> None:
        try:
            done.set_result(work())
        except (PipeGuardError, OSError) as error:
            done.set_exception(error)
        finally:
            if not done.done():  # releases the waiter; the thread's end shows the error
                done.set_exception(RuntimeError(f"the thread {name!r} failed"))

    start_thread(name, run)
    return asyncio.wrap_future(done)


class RemoteDialler:
    """Opens channels to a server at an address; to be made on the loop where they live.

    Args:
        remote: the server.
        transport: its name, as `runtime.endpoints.read_transport` returns it.

    Attributes:
        http: connections to the server.
    """

    def __init__(self, remote: Remote, transport: str) -> None:
        from pipeguard.transports.http.client.upstream import connect  # with an HTTP library

        self.remote, self.transport, self.http = remote, transport, connect(remote)
        self._open_channel = transport_named(transport).open_channel

    async def dial(self) -> RemoteChannel:
        """Open a channel; send nothing before its first frame."""
        return self._open_channel(self.remote, self.http)

    async def close(self) -> None:
        """Close the connections."""
        await self.http.close()


async def remote_dialler(options: WrapOptions, limit_bytes: int) -> RemoteDialler:
    """Open channels to the server that the options name; to be called on the loop where they live.

    Raises:
        PolicyError: an option is wrong.
    """
    login = read_login(options)
    if "--listen" in options.values and login is not None and await login.header() is None:
        login = None  # clients over HTTP may log in themselves
    remote = read_remote(options, limit_bytes, login)
    return RemoteDialler(remote, read_transport(options, remote.url))


class LocalDialler:
    """Starts a new server for each conversation, with its permitted variables.

    Args:
        options: of `wrap`.
        limit_bytes: of one message.
        mask: of its standard error.
        run: records its events.
        is_shared: True if several clients share each server that is started.

    Attributes:
        on_exit: called with how a server ended by itself, as `exit code 3`, after its last output.
        grace_seconds: for a server to end.
        run: as it was given.
        running: the channels of the servers that run.
    """

    def __init__(
        self,
        options: WrapOptions,
        limit_bytes: int,
        mask: Callable[[bytes], bytes],
        run: Run,
        *,
        is_shared: bool,
    ) -> None:
        """Read the options.

        Raises:
            PipeGuardError: an option is wrong, or a secret does not exist.
        """
        ours = named_variables(options.lists.get("--token-env", ()))
        variables, missing = read_variables(options, ours)
        for name in missing:
            say(f"--env {name}: this variable is not set.")
        self._starter = ServerStarter(options, variables, is_shared=is_shared)
        self._starter.attach(run)
        self.run = run
        self.grace_seconds = read_number(options, "--grace", GRACE_SECONDS, MOST_GRACE_SECONDS)
        self._limit, self._mask = limit_bytes, mask
        self.on_exit: Callable[[str], object] = str
        self.running: set[_ChildChannel] = set()

    async def dial(self) -> AsyncChannel:
        """Start a server.

        Raises:
            ChannelClosed: it could not be started.
        """
        try:
            child = await self._start_server()
        except PipeGuardError as error:
            if error.for_user() != str(error):
                shown = self._mask(f"{error.for_user()}\n".encode())  # a log of its own has it
                if shown:
                    say(shown.decode("utf-8", "replace").rstrip())
            raise ChannelClosed(str(error)) from None
        stderr = StderrCopy(child.stderr_fd, STDERR, self._mask)
        start_thread("stderr", stderr.run)
        lines = LineChannel(child.stdout_fd, child.stdin_fd, self._limit)
        channel = _ChildChannel(self, child, lines, stderr)
        self.running.add(channel)
        return channel

    async def _start_server(self) -> Child:
        """Start a server in a thread, because making a container takes a while."""
        starting = in_own_thread("start", self._start)
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:  # it is no longer wanted
            starting.add_done_callback(_close_unwanted)
            raise

    def _start(self) -> Child:
        child = self._starter.start()
        try:
            child.wait_started()
        except BaseException:
            child.close()
            raise
        return child

    async def close(self) -> None:
        """End the running servers."""
        await asyncio.gather(*(channel.close() for channel in list(self.running)))
        await asyncio.to_thread(self._starter.hang_up)


def _close_unwanted(starting: asyncio.Future[Child]) -> None:
    if not starting.cancelled() and starting.exception() is None:
        start_thread("unwanted server", starting.result().close)


class _ChildChannel(AsyncAdapter):
    """A channel to a server that was started here, which ends with it."""

    def __init__(
        self, dialler: LocalDialler, child: Child, lines: Channel, stderr: StderrCopy
    ) -> None:
        super().__init__(lines, start_thread)
        self._dialler, self._child, self._stderr = dialler, child, stderr
        self._ending: asyncio.Future[object] | None = None

    async def close(self) -> None:
        """End the server within its grace, and free its descriptors."""
        if self._ending is None:
            loop, ended = asyncio.get_running_loop(), self._reader_ended
            self._ending = loop.run_in_executor(None, self._end, ended)
            self._dialler.running.discard(self)
        await asyncio.shield(self._ending)
        await super().close()

    def _end(self, ended_itself: bool) -> None:  # noqa: FBT001  an executor passes it by place
        ended = self._child.wait(EXIT_SECONDS) if ended_itself else None
        self._child.end(0.0 if self._dialler.run.stopped else self._dialler.grace_seconds)
        self.join()
        self._stderr.finish(STDERR_SECONDS)
        self._child.close()
        if ended is not None:
            self._dialler.on_exit(ended.describe())


# --- a client that speaks stdio, and a server at an address ------------------------------

JOIN_SECONDS = 5.0


def guard_remote(options: WrapOptions, client_fd: int) -> GuardedServer:
    """Make the guard of a server at an address.

    Raises:
        PipeGuardError: it cannot be guarded.
    """
    server = RemoteServer(options)
    launched = identify_upstream(options.values["--upstream"])
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
        # Report what is wrong before anything is loaded.
        self._transport = read_transport(options, read_remote(options, 1).url)
        self._channel: BlockingAdapter | None = None
        self._running: Thread | None = None

    def channel(self, limit_bytes: int) -> Channel:
        """Open a channel, on a loop in a thread of its own."""
        login = read_login(self._options) if self._logs_in else None
        remote = read_remote(self._options, limit_bytes, login)
        self._loop = asyncio.new_event_loop()
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
            if not self._running.is_alive():
                self._loop.close()

    async def _drain(self, grace_seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds):
                await self._opened.drain()
