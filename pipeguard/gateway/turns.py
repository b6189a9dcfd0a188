"""Turns on the event loop, one server after the other: nobody waits for a server with much to do.

Judging takes time on the one loop that all servers share. Without turns, a call of a quiet server
would wait until the calls of a busy one, of which there may be thousands, have been judged.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from pipeguard.firewall.finding import Direction, Verdict
from pipeguard.firewall.session.session import Session
from pipeguard.transports.judging import Judge, judge_frame


class Turns:
    """Lets each server go on at once, but only one that waits in each pass of the loop.

    A server that has had its turn in a pass waits behind all others. For one loop.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # the next server's first
        self._had_turn: set[str] = set()  # in this pass
        self._is_scheduled = False

    async def wait(self, server: str) -> None:
        """Wait for a turn of a server's."""
        if server not in self._waiting and server not in self._had_turn:
            self._had_turn.add(server)
            self._schedule()
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(server, deque()).append(turn)
        self._schedule()
        await turn

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._give)

    def _give(self) -> None:
        """Give the next server one turn, and have it wait behind all others."""
        self._is_scheduled = False
        self._had_turn.clear()
        while self._waiting:
            server = next(iter(self._waiting))
            turns = self._waiting.pop(server)
            turn = turns.popleft()
            if turns:
                self._waiting[server] = turns
            if not turn.done():  # who waited may have been cancelled
                self._had_turn.add(server)
                turn.set_result(None)
                self._schedule()
                break


class TakingTurns(Judge):
    """Judges the frames of one server when it is its turn.

    Args:
        record: as for `Judge`.
        turns: shared by all servers.
        server: the server's name.
    """

    def __init__(self, record: Callable[[Verdict], None], turns: Turns, server: str) -> None:
        super().__init__(record)
        self._turns = turns
        self._server = server

    async def __call__(self, session: Session, direction: Direction, frame: bytes) -> Verdict:
        """Judge a frame, and record the verdict."""
        await self._turns.wait(self._server)
        verdict = await judge_frame(session, direction, frame, self.record)
        self.record(verdict)
        return verdict
