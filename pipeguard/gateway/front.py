"""The gateway's side towards its clients: Sessions that hold the protocol.

They judge no text: what a client sends is judged by the Session of the server that it is for, and
what comes back has passed there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pipeguard.detect.detector import Engines, make_guard
from pipeguard.firewall.finding import Action, Direction, Finding, Verdict
from pipeguard.firewall.policy import Policy
from pipeguard.firewall.protocol.json_values import JsonObject
from pipeguard.firewall.session.guard import Guard
from pipeguard.firewall.session.session import Session
from pipeguard.log import Log
from pipeguard.transports.http import request_headers
from pipeguard.transports.http.server.sessions import Mirrored, Sessions
from pipeguard.transports.judging import Judge, judge_frame

NAME = "gateway"
MAX_SESSIONS = 1000
IDLE_SECONDS = 1800.0
MOST_IN_PASS = 8  # frames of clients, judged in one pass of the loop


def front_guard(engines: Engines, policy: Policy) -> Guard:
    """A guard for conversations with clients, under the limits of a policy."""
    guard = make_guard(NAME, engines, policy, {})
    guard.inspects = False
    return guard


class FrontSessions(Sessions):
    """The Sessions of the gateway's clients.

    Args:
        guard: of all of them, from `front_guard`.
        definition_of: the definition of a tool by the name under which the client of a token calls
            it; None if that client has no such tool.
    """

    def __init__(
        self, guard: Guard, definition_of: Callable[[str, str], JsonObject | None]
    ) -> None:
        super().__init__(guard, guard.name, MAX_SESSIONS, IDLE_SECONDS)
        self._definition_of = definition_of
        self._read: dict[str, tuple[JsonObject, Mirrored]] = {}

    def mirrored(self, tool: str, who: str = "") -> Mirrored:
        """The headers that repeat a tool's parameters (2026-07-28), with their paths."""
        definition = self._definition_of(tool, who)
        if definition is None:
            self._read.pop(tool, None)
            return {}
        known = self._read.get(tool)
        if known is None or known[0] is not definition:
            known = self._read[tool] = definition, request_headers.mirrored_by(definition)
        return known[1]


class FrontJudge(Judge):
    """Judges the frames of the gateway's clients, several of them in a pass of the loop.

    They cost little here. If each waited for a pass, a call of a quiet server would wait for a
    pass for each call of a busy one that came before it.
    """

    def __init__(self, record: Callable[[Verdict], None]) -> None:
        super().__init__(record)
        self._judged = 0  # in this pass

    async def __call__(self, session: Session, direction: Direction, frame: bytes) -> Verdict:
        """Judge a frame, and record the verdict."""
        while self._judged >= MOST_IN_PASS:  # noqa: ASYNC110  each pass begins with none
            await asyncio.sleep(0)
        if not self._judged:
            asyncio.get_running_loop().call_soon(self._begin_pass)
        self._judged += 1
        verdict = await judge_frame(session, direction, frame, self.record)
        self.record(verdict)
        return verdict

    def _begin_pass(self) -> None:
        self._judged = 0


class FrontRecord:
    """Reports what the gateway itself refuses. What servers' Sessions decide, they record.

    Args:
        log: for people.
    """

    def __init__(self, log: Log) -> None:
        self._log = log

    def verdict(self, verdict: Verdict) -> None:
        """Report a message that broke the protocol."""
        if verdict.action is Action.BLOCK:
            for finding in verdict.findings:
                self._log(
                    "warning",
                    "refused",
                    rule=finding.rule,
                    why=finding.note,
                    event_id=verdict.event,
                )

    def refusal(self, finding: Finding, client: str) -> None:
        """Report HTTP requests that may not come in.

        Args:
            finding: why, and how many.
            client: the address of the first one's client.
        """
        self._log("warning", "refused", rule=finding.rule, why=finding.note, client=client)
