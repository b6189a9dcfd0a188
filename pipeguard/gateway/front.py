"""The gateway's side towards its clients: Sessions that hold the protocol.

They judge no text: what a client sends is judged by the Session of the server that it is for, and
what comes back has passed there.
"""

from __future__ import annotations

from pipeguard.core.finding import Action, Finding, Verdict
from pipeguard.core.rules.policy import Policy
from pipeguard.core.session.guard import Engines, Guard
from pipeguard.log import Log

NAME = "gateway"


def front_guard(engines: Engines, policy: Policy) -> Guard:
    """A guard for conversations with clients, under the limits of a policy."""
    guard = Guard(NAME, engines, policy, {})
    guard.inspects = False
    return guard


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
