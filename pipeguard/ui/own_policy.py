"""The user's own policy as it is now, and what it says about an event."""

from pathlib import Path

from pipeguard.config import policy_edit, user_policy
from pipeguard.config.policy_file import PolicyFile, PolicyScope, policy_text
from pipeguard.errors import PolicyError
from pipeguard.firewall.policy import DEFAULT_ASK_SECONDS
from pipeguard.state import exceptions, timestamps, trials


def is_exempt(event: exceptions.AuditedEvent) -> bool:
    """True if an exception of the user's policy now lets the stopped call or result pass."""
    stopped = [finding for finding in exceptions.stopping(event) if finding.get("place")]
    try:
        layer = read_own_policy().layer
    except PolicyError:
        return False  # it is invalid, as the page of the policy says
    return bool(stopped) and all(
        layer.exempts(trials.make_target(each, event.server), 0.0) for each in stopped
    )


def read_ask_seconds() -> float:
    """Return how long a call waits by the user's policy; the default if that is invalid."""
    try:
        policy = read_own_policy()
    except PolicyError:
        return DEFAULT_ASK_SECONDS
    return policy.limits.get("ask_seconds", DEFAULT_ASK_SECONDS)


def read_own_policy() -> PolicyFile:
    """Parse the user's policy.

    Raises:
        PolicyError: it is invalid.
    """
    return policy_edit.read_policy(user_policy.own_policy_path(), timestamps.today())[1]


def read_policy(path: str) -> str | None:
    """Return the text of a policy file, if the file exists."""
    return policy_text(path, PolicyScope.USER) if Path(path).exists() else None
