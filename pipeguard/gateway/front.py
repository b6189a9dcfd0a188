"""The gateway's side towards its clients: Sessions that hold the protocol.

They judge no text: what a client sends is judged by the Session of the server that it is for, and
what comes back has passed there.
"""

from __future__ import annotations

from collections.abc import Callable

from pipeguard.core.finding import Action, Finding, Verdict
from pipeguard.core.protocol import request_headers
from pipeguard.core.protocol.json_values import JsonObject
from pipeguard.core.rules.policy import Policy
from pipeguard.core.session.guard import Engines, Guard
from pipeguard.log import Log
from pipeguard.transports.http.server.sessions import Mirrored, Sessions

NAME = "gateway"
MAX_SESSIONS = 1000
IDLE_SECONDS = 1800.0


def front_guard(engines: Engines, policy: Policy) -> Guard:
    """A guard for conversations with clients, under the limits of a policy."""
    guard = Guard(NAME, engines, policy, {})
    guard.inspects = False
    return guard


class FrontSessions(Sessions):
    """The Sessions of the gateway's clients.

    Args:
        guard: of all of them, from `front_guard`.
        definition_of: the definition of a tool by the name under which clients call it; None
            where there is none.
    """

    def __init__(self, guard: Guard, definition_of: Callable[[str], JsonObject | None]) -> None:
        super().__init__(guard, guard.name, MAX_SESSIONS, IDLE_SECONDS)
        self._definition_of = definition_of
        self._read: dict[str, tuple[JsonObject, Mirrored]] = {}

    def mirrored(self, tool: str) -> Mirrored:
        """The headers that repeat a tool's parameters (2026-07-28), with their paths."""
        definition = self._definition_of(tool)
        if definition is None:
            self._read.pop(tool, None)
            return {}
        known = self._read.get(tool)
        if known is None or known[0] is not definition:
            known = self._read[tool] = definition, request_headers.mirrored_by(definition)
        return known[1]


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
                self._log("warning", "refused", rule=finding.rule, why=finding.note)

    def refusal(self, finding: Finding, client: str) -> None:
        """Report HTTP requests that may not come in.

        Args:
            finding: why, and how many.
            client: the address of the first one's client.
        """
        self._log("warning", "refused", rule=finding.rule, why=finding.note, client=client)
