"""The life of one server: started, watched, started again when it falls, asleep while unused.

After each failure the next start is later, and rare after many.
"""

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable
from contextlib import suppress
from enum import StrEnum
from math import inf
from typing import TypeVar

from pipeguard.errors import PipeGuardError
from pipeguard.firewall.session.replies import what_happened
from pipeguard.gateway.client_request import Unavailable
from pipeguard.log import Log
from pipeguard.unicode.display import cut, visible_lines


class State(StrEnum):
    """The state of a server."""

    STARTING = "starting"
    READY = "ready"
    ASLEEP = "asleep"  # it is started when it is needed
    DOWN = "down"  # it is started again after a while
    STOPPED = "stopped"


UP = (State.READY, State.ASLEEP)  # it can be called, once it is started if it is asleep


def definitions_wait(count: int) -> str:
    """Describe the number of waiting definitions."""
    return "1 definition waits" if count == 1 else f"{count} definitions wait"


T = TypeVar("T")
MOST_REASON_CHARS = 300  # of why a server is down, possibly in its own words
FIRST_DELAY_SECONDS, MOST_DELAY_SECONDS = 0.5, 60.0  # between two starts of one that fails
JITTER = 0.25  # of a delay, either way: servers that fell together do not rise together
MOST_FAILURES = 5  # in a row, after which a server is tried rarely
STEADY_SECONDS = 60.0  # that a server runs before its failures are forgotten


class Circuit:
    """The consecutive failures of one server.

    After `MOST_FAILURES`, the server is tried once in `MOST_DELAY_SECONDS`, until it has run for
    `STEADY_SECONDS`.

    Attributes:
        failures: in a row.
    """

    def __init__(self) -> None:
        self.failures = 0

    def fail(self, ran_seconds: float) -> float:
        """Count a failure; return the wait before the next start.

        Args:
            ran_seconds: for which it was up.
        """
        if ran_seconds > STEADY_SECONDS:
            self.failures = 0
        self.failures += 1
        doubled: float = FIRST_DELAY_SECONDS * 2 ** (self.failures - 1)
        delay = MOST_DELAY_SECONDS if self.failures >= MOST_FAILURES else doubled
        jitter = random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  no secret
        return min(delay, MOST_DELAY_SECONDS) * jitter


class ServerLife(ABC):
    """Keeps one server running; a subclass starts it, watches it and ends it.

    Args:
        log: for people; it gets a line for each change of state.
        idle_seconds: the time without work after which it is put to sleep; None for a server that
            is started at once, and always runs.

    Attributes:
        state: of the server.
        reason: why it cannot be used now and what to do; never for a model.
        began: when it was first started, on the loop's clock.
        ending: how its process ended by itself, such as `exit code 3`; empty if it did not.
    """

    def __init__(self, log: Log, idle_seconds: float | None = None) -> None:
        self.state = State.STOPPED
        self._loop = asyncio.get_running_loop()
        self.began = self._used_at = self._loop.time()
        self.ending = ""
        self._log = log
        self._idle_seconds = idle_seconds
        self.reason = "it was not started yet"
        self._next_start: float | None = None
        self._circuit = Circuit()
        self._settled = asyncio.Event()  # by its first start
        self._tried = asyncio.Event()  # once the start under way succeeded or failed
        self._woken = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None

    @abstractmethod
    async def _begin(self) -> None:
        """Start the server; raises Unavailable, PipeGuardError or OSError."""

    @abstractmethod
    async def _watch(self) -> str:
        """Wait until it is down, and return why; empty if it has been idle."""

    @abstractmethod
    async def _hang_up(self) -> None:
        """End it."""

    @abstractmethod
    async def _recall(self) -> bool:
        """Load known facts about it, without starting it; False if there are none."""

    @property
    def why(self) -> str:
        """Explain, for clients and models, why it cannot be used now; empty if it can."""
        return "" if self.state in UP else what_happened(self.reason)

    @property
    def has_settled(self) -> bool:
        """True once its first start succeeded or failed."""
        return self._settled.is_set()

    def start(self, after: asyncio.Task[None] | None = None) -> None:
        """Start it, or have it started when it is first needed; and keep it running.

        Args:
            after: ends its predecessor of the same name.
        """
        if self._keeping is None:
            self.began = self._loop.time()
            self._turn(State.STARTING, "it is starting")
            self._keeping = asyncio.create_task(self._keep(after))

    async def stop(self) -> None:
        """End it for good."""
        if self._keeping is not None:
            self._keeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeping
        self._next_start = None
        self._turn(State.STOPPED, "it was stopped")
        self._tell()  # its start is no longer awaited

    async def settle(self) -> None:
        """Wait until its first start succeeded or failed."""
        await self._settled.wait()

    async def wake(self) -> None:
        """Start it if it is asleep; wait for a start in progress.

        Raises:
            Unavailable: it cannot be used.
        """
        self.use()
        while self.state in (State.ASLEEP, State.STARTING):
            if self.state is State.ASLEEP:
                self._turn(State.STARTING, "it is starting")
                self._tried.clear()
                self._woken.set()
            await self._tried.wait()
        if self.state is not State.READY:
            raise Unavailable(self.why)

    def use(self) -> bool:
        """Note new work; False if its open conversations are about to end."""
        self._used_at = self._loop.time()
        return self.state is State.READY

    def seconds_to_idle(self) -> float:
        """The remaining idle time until it is put to sleep."""
        if self._idle_seconds is None:
            return inf
        return self._used_at + self._idle_seconds - self._loop.time()

    async def _keep(self, after: asyncio.Task[None] | None) -> None:
        if after is not None:
            await asyncio.wait({after})
        if self._idle_seconds is not None and await self._settle_step(self._recall()) is True:
            self._turn(State.ASLEEP)
            self._tell()
        while True:
            if self.state is State.ASLEEP:
                await self._woken.wait()
            self._woken.clear()
            began = self._loop.time()
            outcome = await self._settle_step(self._start_and_watch())
            why = outcome if isinstance(outcome, str) else str(outcome) or type(outcome).__name__
            before = self.state
            if why:  # one that is asleep may have been woken already, and its start is to come
                self._after(why, self._loop.time() - began)
                self._tell()
            await self._settle_step(self._hang_up())
            if why:
                self._note_end(before)
            if self._next_start is not None:
                await asyncio.sleep(self._next_start - self._loop.time())
            else:
                await self._settle_step(self._recall())

    def _tell(self) -> None:
        """Note that the start in progress is over."""
        self._settled.set()
        self._tried.set()

    async def _settle_step(self, step: Awaitable[T]) -> T | BaseException:
        """Run a step and return its outcome or failure: the server is restarted in any case."""
        running = asyncio.ensure_future(step)
        try:
            await asyncio.wait({running})
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        if running.cancelled():
            return asyncio.CancelledError("it was cancelled")
        error = running.exception()
        if error is None:
            return running.result()
        if not isinstance(error, (Unavailable, PipeGuardError, OSError)):
            context = {"message": "a server keeps failing", "exception": error}
            self._loop.call_exception_handler(context)
        return error

    async def _start_and_watch(self) -> str:
        self.ending = ""
        await self._begin()
        self._next_start = None
        self._turn(State.READY)
        self.use()
        self._tell()
        why = await self._watch()
        if not why:  # at once, so that no client begins to use it
            self._turn(State.ASLEEP)
        return why

    def _after(self, why: str, ran_seconds: float) -> None:
        """React to its end."""
        self._next_start = self._loop.time() + self._circuit.fail(ran_seconds)
        reason = cut(visible_lines(why[: MOST_REASON_CHARS + 1]), MOST_REASON_CHARS)
        self._turn(State.DOWN, reason)

    def _note_end(self, before: State) -> None:
        """Add how it ended, now that all of it has ended, and report that if it was up before."""
        if self.ending:
            happened, line_end, commands = self.reason.partition("\n")
            self.reason = f"{happened.removesuffix('.')}: {self.ending}{line_end}{commands}"
        if self.state is not before:
            self._log("warning", "the server is down and is started again", why=self.reason)

    def _turn(self, state: State, why: str = "") -> None:
        """Enter a state, and report it if it is new."""
        before, self.state, self.reason = self.state, state, why
        if state is before or State.STOPPED in (state, before):
            return
        if state is State.READY and before is State.DOWN:
            self._log("warning", "the server is ready again")
        elif state is State.READY:
            self._log("info", "the server is ready")
        elif state is State.ASLEEP:
            self._log("info", "the server is not running; it starts when it is needed")
